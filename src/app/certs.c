#include "app/certs.h"
#include "app/node_file.h"
#include "base/arena.h"
#include "io/tls.h"

/* The default certificate, then those of the domains. */
static enum err load(struct tls_ctx **out, const struct node_file *f, const char *certificate,
                     const char *key, struct why *why)
{
    struct arena *arena = arena_create(0);
    struct tls_cert *certs = arena_new(arena, struct tls_cert, f->certs.count + 1);
    size_t count = 0;
    if (certificate != NULL)
        certs[count++] = (struct tls_cert){ NULL, certificate, key };
    for (size_t i = 0; i < f->certs.count; i++) {
        const struct node_cert *c = &f->certs.item[i];
        certs[count++] = (struct tls_cert){ c->domain, c->certificate, c->key };
    }
    enum err e = tls_ctx_create(out, certs, count, why);
    arena_destroy(&arena);
    return e;
}

static enum err load_self_signed(struct tls_ctx **out, const struct node_file *f,
                                 struct arena *arena, struct why *why)
{
    const char *certificate = arena_printf(arena, "%s/self-signed-cert.pem", f->data);
    const char *key = arena_printf(arena, "%s/self-signed-key.pem", f->data);
    enum err e = tls_self_signed(certificate, key, f->domains.name, f->domains.count, why);
    return e == OK || e == E_EXISTS ? load(out, f, certificate, key, why) : e;
}

enum err certs_load(struct tls_ctx **out, const struct node_file *f, struct why *why)
{
    if (f->certificate != NULL)
        return load(out, f, f->certificate, f->key, why);
    struct arena *arena = arena_create(0);
    enum err e = load_self_signed(out, f, arena, why);
    arena_destroy(&arena);
    return e;
}

enum err certs_check(const struct node_file *f, struct why *why)
{
    struct tls_ctx *tls = NULL;
    if (f->certificate == NULL && f->certs.count == 0)
        return OK;
    enum err e = load(&tls, f, f->certificate, f->key, why);
    if (e == OK)
        tls_ctx_unref(&tls);
    return e;
}
