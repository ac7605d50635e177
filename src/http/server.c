/* The server as a whole: listeners, routes, certificates. */
#include "http/server.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "http/http_private.h"

enum err http_create(struct http_server **out, const struct http_listen *listens, size_t count,
                     struct tls_ctx *tls, struct why *why)
{
    struct http_server *s = mem_new(struct http_server);
    enum err e = OK;
    pthread_mutex_init(&s->lock, NULL);
    s->tls = tls != NULL ? tls_ctx_ref(tls) : NULL; /* none without a TLS listener: tests */
    for (size_t i = 0; i < count && e == OK; i++) {
        struct http_listener *l = &s->listen[i];
        if (i == HTTP_LISTENERS_MAX) {
            why_set(why, "listen: %zu HTTP addresses, allowed at most %d", count,
                    HTTP_LISTENERS_MAX);
            e = E_LIMIT;
            break;
        }
        e = listener_open(&l->listener, slice_of(listens[i].address), why);
        l->server = s;
        l->group = listens[i].group;
        l->flags =
            (listens[i].tls ? CONN_TLS | CONN_HTTP : 0u) | (listens[i].proxy ? CONN_PROXY : 0u);
        s->listen_count += e == OK;
        if (e == OK && l->group == NULL) /* where the links of pages lead */
            http_note_port(listener_port(l->listener), listens[i].tls);
    }
    *out = s;
    if (e != OK)
        http_destroy(out);
    return e;
}

void http_destroy(struct http_server **ps)
{
    struct http_server *s = *ps;
    *ps = NULL;
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->listen_count; i++)
        listener_close(&s->listen[i].listener);
    http_addresses_fini(s);
    tls_ctx_unref(&s->tls);
    pthread_mutex_destroy(&s->lock);
    mem_free(&s);
}

void http_add_routes(struct http_server *s, const struct http_route *rows)
{
    for (; rows != NULL && rows->handle != NULL; rows++) {
        ensure(s->route_count < HTTP_ROUTES_MAX);
        s->route[s->route_count++] = rows;
        http_route_know(rows);
    }
}

void http_set_crowded(struct http_server *s, bool (*crowded)(void)) { s->crowded = crowded; }

void http_set_tls(struct http_server *s, struct tls_ctx *tls)
{
    pthread_mutex_lock(&s->lock);
    struct tls_ctx *old = s->tls;
    s->tls = tls_ctx_ref(tls);
    pthread_mutex_unlock(&s->lock);
    tls_ctx_unref(&old);
}
