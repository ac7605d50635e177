#include "app/edges.h"
#include "admin/api/api.h"
#include "admin/control.h"
#include "admin/health.h"
#include "app/node_file.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "cert/cert_revoke.h"
#include "cert/cert_trust.h"
#include "core/feature.h"
#include "core/gate.h"
#include "gate/c2s.h"
#include "gate/component.h"
#include "gate/proxy65.h"
#include "gate/recheck.h"
#include "gate/s2s/s2s.h"
#include "gate/web.h"
#include "http/server.h"
#include "notify/outbound.h"
#include "ops/jobs.h"
#include <assert.h>

/* Clients. */

static enum err c2s_make(void **own, const struct node_file *f, struct tls_ctx *tls,
                         struct why *why)
{
    size_t count = 0;
    struct c2s *c = NULL;
    struct c2s_listen *listens =
        arena_new(f->arena, struct c2s_listen, f->c2s.count + f->c2s_tls.count);
    for (size_t i = 0; i < f->c2s.count; i++, count++)
        listens[count] = (struct c2s_listen){ .address = f->c2s.item[i].address,
                                              .proxy = f->c2s.item[i].proxy != 0 };
    for (size_t i = 0; i < f->c2s_tls.count; i++, count++)
        listens[count] = (struct c2s_listen){ .address = f->c2s_tls.item[i].address,
                                              .tls = true,
                                              .proxy = f->c2s_tls.item[i].proxy != 0 };
    enum err e = c2s_create(&c, listens, count, tls, why);
    if (e == OK)
        c2s_set_trusted(c, cert_trusted(CERT_TRUST_CLIENTS));
    *own = c;
    return e;
}

static void edges_c2s_free(void *own)
{
    struct c2s *c = own;
    c2s_destroy(&c);
}

static void c2s_tls_new(void *own, struct tls_ctx *tls) { c2s_set_tls(own, tls); }

/* Components. */

static enum err component_make(void **own, const struct node_file *f, struct tls_ctx *tls,
                               struct why *why)
{
    const struct node_listen_list *list = &f->component;
    struct component_gate *g = NULL;
    struct component_listen *listens = arena_new(f->arena, struct component_listen, list->count);
    (void)tls;
    if (list->count == 0)
        return OK;
    for (size_t i = 0; i < list->count; i++)
        listens[i] = (struct component_listen){ list->item[i].address, list->item[i].proxy != 0 };
    enum err e = component_create(&g, listens, list->count, why);
    *own = g;
    return e;
}

static void edges_component_free(void *own)
{
    struct component_gate *g = own;
    component_destroy(&g);
}

/* Other servers. It is there without listeners, too, for streams to them. */

static enum err edges_s2s_make(void **own, const struct node_file *f, struct tls_ctx *tls,
                               struct why *why)
{
    size_t count = 0;
    struct s2s_gate *g = NULL;
    struct s2s_listen *listens =
        arena_new(f->arena, struct s2s_listen, f->s2s.count + f->s2s_tls.count);
    for (size_t i = 0; i < f->s2s.count; i++, count++)
        listens[count] = (struct s2s_listen){ .address = f->s2s.item[i].address,
                                              .proxy = f->s2s.item[i].proxy != 0 };
    for (size_t i = 0; i < f->s2s_tls.count; i++, count++)
        listens[count] = (struct s2s_listen){ .address = f->s2s_tls.item[i].address,
                                              .tls = true,
                                              .proxy = f->s2s_tls.item[i].proxy != 0 };
    enum err e = s2s_create(&g, listens, count, tls, cert_trusted(CERT_TRUST_FEDERATION), why);
    *own = g;
    return e;
}

static void edges_s2s_free(void *own)
{
    struct s2s_gate *g = own;
    s2s_destroy(&g);
}

static void s2s_tls_new(void *own, struct tls_ctx *tls) { s2s_set_tls(own, tls); }

/* The proxy for bytestreams. */

static enum err proxy65_make(void **own, const struct node_file *f, struct tls_ctx *tls,
                             struct why *why)
{
    const struct node_listen_list *list = &f->proxy65;
    struct proxy65 *p = NULL;
    struct proxy65_listen *listens = arena_new(f->arena, struct proxy65_listen, list->count);
    (void)tls;
    if (list->count == 0)
        return OK;
    for (size_t i = 0; i < list->count; i++)
        listens[i] = (struct proxy65_listen){ list->item[i].address, list->item[i].proxy != 0 };
    enum err e = proxy65_create(&p, listens, list->count, why);
    *own = p;
    return e;
}

static void proxy65_free(void *own)
{
    struct proxy65 *p = own;
    proxy65_destroy(&p);
}

/* HTTP, with the routes of all features. */

static enum err web_make(void **own, const struct node_file *f, struct tls_ctx *tls,
                         struct why *why)
{
    const struct {
        const struct node_listen_list *list;
        const char *group;
        bool tls;
    } kinds[] = { { &f->http, NULL, false },
                  { &f->https, NULL, true },
                  { &f->bosh, "bosh", false },
                  { &f->metrics, "metrics", false },
                  { &f->http_admin, "admin metrics", false },
                  { &f->https_admin, "admin metrics", true } };
    enum { KINDS = sizeof kinds / sizeof kinds[0] };
    size_t count = 0, all = 0;
    struct http_server *http = NULL;
    for (size_t k = 0; k < KINDS; k++)
        all += kinds[k].list->count;
    struct http_listen *listens = arena_new(f->arena, struct http_listen, all + 1);
    for (size_t k = 0; k < KINDS; k++)
        for (size_t i = 0; i < kinds[k].list->count; i++)
            listens[count++] = (struct http_listen){ .address = kinds[k].list->item[i].address,
                                                     .proxy = kinds[k].list->item[i].proxy != 0,
                                                     .tls = kinds[k].tls,
                                                     .group = kinds[k].group };
    enum err e = http_create(&http, listens, count, tls, why);
    *own = http;
    if (e != OK)
        return e;
    FEATURES_EACH (each, http)
        http_add_routes(http, each->http);
    return OK;
}

static void web_free(void *own)
{
    struct http_server *http = own;
    http_destroy(&http);
}

static void web_tls_new(void *own, struct tls_ctx *tls) { http_set_tls(own, tls); }

/* Operators. */

static enum err control_make(void **own, const struct node_file *f, struct tls_ctx *tls,
                             struct why *why)
{
    struct control *ctl = NULL;
    (void)tls;
    enum err e = control_create(&ctl, arena_printf(f->arena, "unix:%s", f->control), why);
    *own = ctl;
    return e;
}

static void control_free(void *own)
{
    struct control *ctl = own;
    control_destroy(&ctl);
}

/* The list. What an edge has on a worker may need that of those before it. */
static const struct edge_row {
    const struct edge *edge;
    /* *own NULL: the node file asks for none. NULL: it has none, and is always there. */
    enum err (*make)(void **own, const struct node_file *f, struct tls_ctx *tls, struct why *why);
    void (*free)(void *own);
    void (*set_tls)(void *own, struct tls_ctx *tls); /* NULL: it uses none */
} rows[] = {
    { &c2s_edge, c2s_make, edges_c2s_free, c2s_tls_new },
    { &component_edge, component_make, edges_component_free, NULL },
    { &s2s_edge, edges_s2s_make, edges_s2s_free, s2s_tls_new },
    { &proxy65_edge, proxy65_make, proxy65_free, NULL },
    { &bosh_edge, NULL, NULL, NULL },
    { &web_edge, web_make, web_free, web_tls_new },
    { &outbound_edge, NULL, NULL, NULL },
    { &cert_revoke_edge, NULL, NULL, NULL },
    { &recheck_edge, NULL, NULL, NULL },
    { &jobs_edge, NULL, NULL, NULL },
    { &api_edge, NULL, NULL, NULL },
    { &health_edge, NULL, NULL, NULL },
    { &control_edge, control_make, control_free, NULL },
};
#define EDGE_ROWS (sizeof rows / sizeof rows[0])
static_assert(EDGE_ROWS <= EDGES_MAX, "struct edges has room");

const struct gate_ops edges_gate = { .down = c2s_down, .output = c2s_output };

static const struct edge_row *edges_row_of(const struct edge *edge)
{
    for (unsigned i = 0; i < EDGE_ROWS; i++)
        if (rows[i].edge == edge)
            return &rows[i];
    ensure(false);
    return NULL;
}

enum err edges_make(struct edges *e, const struct node_file *f, struct tls_ctx *tls,
                    struct why *why)
{
    struct edge_made *next = e->made;
    enum err err = OK;
    for (unsigned i = 0; i < EDGE_ROWS && err == OK; i++) {
        void *own = NULL;
        if (rows[i].make != NULL)
            err = rows[i].make(&own, f, tls, why);
        if (err == OK && (own != NULL || rows[i].make == NULL))
            *next++ = (struct edge_made){ rows[i].edge, own };
    }
    return err;
}

void edges_set_tls(struct edges *e, struct tls_ctx *tls)
{
    for (const struct edge_made *m = e->made; m->edge != NULL; m++)
        if (edges_row_of(m->edge)->set_tls != NULL)
            edges_row_of(m->edge)->set_tls(m->own, tls);
}

void edges_destroy(struct edges *e)
{
    for (const struct edge_made *m = e->made; m->edge != NULL; m++)
        if (edges_row_of(m->edge)->free != NULL)
            edges_row_of(m->edge)->free(m->own);
    *e = (struct edges){ 0 };
}
