#include "probe/edge.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/setting.h"
#include "gate/s2s/find/s2s_find.h"
#include "gate/s2s/find/s2s_policy.h"
#include "gate/s2s/s2s_domains.h"
#include "gate/s2s/s2s_probe.h"
#include "gate/s2s/s2s_rows.h"
#include "home/here.h"
#include "io/timer.h"
#include "xmpp/ns.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { DEFAULT_PORT = 5269, WHY_BYTES = 512 };

struct edge_try {
    struct s2s_test test; /* first */
    struct outside_edge want;
    struct s2s_gate *gate;
    struct s2s_find *find;
    struct s2s_probe *probe;
    struct timer limit;
    struct arena *arena; /* of the texts of `want` */
    const char *stage;   /* of the last step */
    slice place;         /* want.host, with its port */
    char said[WHY_BYTES];
};

static void edge_free(struct edge_try *t)
{
    list_remove(&t->test.node);
    timer_cancel(&t->limit);
    s2s_find_cancel(&t->find);
    s2s_probe_end(&t->probe);
    arena_destroy(&t->arena);
    mem_free(&t);
}

static void edge_end(struct edge_try *t, const char *stage, slice why)
{
    char text[WHY_BYTES];
    struct outside_edge want = t->want;
    int len = snprintf(text, sizeof text, "%.*s", SLICE_ARG(why));
    edge_free(t);
    want.done(want.arg, stage,
              (slice){ text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1 });
}

void edge_cancel(struct edge_try **at)
{
    struct edge_try *t = *at;
    *at = NULL;
    if (t != NULL)
        edge_free(t);
}

static void edge_stop(struct s2s_test *test)
{
    edge_end((struct edge_try *)test, "stream", SLICE("this server is being stopped"));
}

static void edge_late(struct timer *timer, struct loop *loop)
{
    struct edge_try *t = CONTAINER_OF(timer, struct edge_try, limit);
    (void)loop;
    ensure(t->probe != NULL || t->find != NULL);
    if (t->probe != NULL)
        edge_end(t, "stream", SLICE("the target has not answered in time"));
    else if (s2s_find_stage(t->find) == S2S_AT_DNS)
        edge_end(t, s2s_stage_name(S2S_AT_DNS), SLICE("the DNS has not answered in time"));
    else
        edge_end(t, s2s_stage_name(S2S_AT_TCP),
                 slice_of(arena_printf(t->arena, "%.*s: %s (errno %d)%s%s", SLICE_ARG(t->place),
                                       strerror(ETIMEDOUT), ETIMEDOUT, *t->said != '\0' ? "; " : "",
                                       t->said)));
}

static void edge_told(void *arg, enum s2s_stage stage, bool fine, slice text)
{
    struct edge_try *t = arg;
    t->stage = s2s_stage_name(stage == S2S_AT_ROUTE ? S2S_AT_TCP : stage);
    if (!fine)
        snprintf(t->said, sizeof t->said, "%.*s", SLICE_ARG(text));
}

static void edge_features(void *arg, const struct elem *e, bool authenticated)
{
    (void)e, (void)authenticated;
    edge_end(arg, NULL, (slice){ 0 });
}

static void edge_answer(void *arg, const struct elem *e) { (void)arg, (void)e; }

static void edge_ended(void *arg, enum s2s_stage stage, slice why)
{
    struct edge_try *t = arg;
    t->probe = NULL;
    edge_end(t, s2s_stage_name(stage), why);
}

static const struct s2s_probe_ops edge_ops = { edge_told,   edge_features, edge_answer,
                                               edge_answer, edge_ended,    NULL };

static void edge_found(void *arg, const struct s2s_found *found)
{
    struct edge_try *t = arg;
    if (found->conn == NULL) {
        t->find = NULL;
        edge_end(t, t->stage, *t->said != '\0' ? slice_of(t->said) : found->why);
        return;
    }
    t->probe = s2s_probe_start(
        t->gate, t->want.worker, found->conn,
        &(struct s2s_probe_want){ .ns = NS_SERVER,
                                  .tls = found->tls,
                                  .from = t->want.from,
                                  .to = t->want.domain,
                                  .name = t->want.domain,
                                  .alpn = "xmpp-server",
                                  .anonymous = true,
                                  .plain = setting_bool_of(&s2s_require_tls, t->want.domain)
                                               ? NULL
                                               : S2S_PLAIN_BY_SETTING },
        &edge_ops, t);
}

struct edge_try *edge_open(const struct outside_edge *want, struct outside_result *result)
{
    struct worker *w = want->worker;
    struct s2s_gate *g = s2s_gate_of(w);
    if (g == NULL || s2s_worker(g, w)->out.stopped)
        return NULL;
    struct edge_try *t = mem_new(struct edge_try);
    t->arena = arena_create(0);
    struct outside_host host;
    bool given = outside_host_read(&host, want->host, t->arena) && host.port > 0;
    uint16_t port = given ? host.port : outside_knows(w, host.host) ? s2s_port(g) : 0;
    result->unknown = port == 0;
    result->port = port == 0 ? DEFAULT_PORT : port;
    t->gate = g;
    t->want = *want;
    t->want.host = slice_dup(t->arena, host.address);
    t->place =
        given ? t->want.host
              : slice_of(arena_printf(t->arena, "%.*s:%u", SLICE_ARG(host.address), result->port));
    t->want.domain = slice_dup(t->arena, want->domain);
    /* A stream in the name of a domain of ours would be refused: it has no name then, which is
     * enough for the features (RFC 6120 §4.7.1). */
    t->want.from = s2s_is_ours(w, want->from) ? (slice){ 0 } : slice_dup(t->arena, want->from);
    t->stage = "dns";
    t->test.stop = edge_stop;
    t->limit.fn = edge_late;
    list_append(&s2s_worker(g, w)->tests, &t->test.node);
    timer_set(worker_loop(w), &t->limit, want->timeout_ms);
    t->find = s2s_find_host(g, w, &(struct s2s_find_at){ t->want.host, result->port, false },
                            edge_found, t);
    s2s_find_watch(t->find, edge_told);
    return t;
}

bool edge_start(const struct outside_edge *want, struct outside_result *result)
{
    return edge_open(want, result) != NULL;
}
