#include "gate/recheck.h"
#include "base/ensure.h"
#include "base/metric.h"
#include "base/setting.h"
#include "core/feature.h"
#include "gate/c2s.h"
#include "gate/c2s_stream.h"
#include "gate/s2s/link/s2s_in.h"
#include "gate/s2s/link/s2s_out.h"
#include "gate/s2s/s2s.h"
#include "gate/s2s/s2s_gate.h"
#include "home/edge.h"
#include "home/node.h"
#include "io/loop.h"
#include "io/pace.h"
#include "io/timer.h"
#include "io/tls_revoke.h"

enum { MINUTE_MS = 60000, DAY_MS = 86400000 };

static void recheck_changed(struct worker *w, const struct setting *s);

static struct setting recheck_every = {
    .name = "tls.recheck-every",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = MINUTE_MS,
    .min = 1000,
    .max = DAY_MS,
    .changed = recheck_changed,
    .doc = "How often the certificates of open streams are looked at again. Streams of servers, "
           "and of clients that have logged in with a certificate, end if it is revoked by then.",
};
static struct metric recheck_ended = {
    .name = "muster_tls_revoked_streams",
    .kind = METRIC_COUNTER,
    .help = "Open streams that ended because the certificate of the peer was revoked.",
};

/* A look walks through the streams of one kind after the other. */
enum peers { LOOK_CLIENTS, LOOK_FROM_SERVERS, LOOK_TO_SERVERS, LOOK_KINDS };

struct look {
    struct timer timer;
    struct pace pace;
    struct worker *worker;
    unsigned peers; /* enum peers */
    uint32_t left;  /* streams of those that were not looked at; 0: it begins */
    bool under_way;
};

static struct look looks[2 * NODE_WORKERS_MAX]; /* by loop: a process may have two nodes */

static struct xstreams *look_streams(const struct look *l)
{
    struct s2s_gate *servers = s2s_gate_of(l->worker);
    if (l->peers == LOOK_CLIENTS) {
        struct gate_worker *clients = *worker_gate(l->worker);
        return clients != NULL ? &clients->streams : NULL;
    }
    if (servers == NULL)
        return NULL;
    return l->peers == LOOK_FROM_SERVERS ? &s2s_worker(servers, l->worker)->in
                                         : &s2s_worker(servers, l->worker)->out;
}

static struct tls_trusted *look_trusted(const struct look *l)
{
    const struct c2s *clients = edge_own(worker_node(l->worker), &c2s_edge);
    if (l->peers == LOOK_CLIENTS)
        return clients != NULL ? clients->trusted : NULL;
    return s2s_gate_of(l->worker)->trusted;
}

/* While nothing is trusted, as of clients unless there is a store, no list and no authority counts.
 */
static bool look_may_find(const struct look *l)
{
    enum tls_context context = l->peers == LOOK_CLIENTS ? TLS_CLIENTS : TLS_SERVERS;
    struct tls_trusted *trusted = look_trusted(l);
    struct tls_trust *trust = trusted != NULL ? tls_trusted_get(trusted) : NULL;
    enum tls_revocation how = tls_revocation_get(context);
    bool may = trust != NULL && (tls_trust_has_lists(trust) || how >= TLS_REVOKE_ASKED ||
                                 (how == TLS_REVOKE_STAPLED && tls_revoke_was_seen()));
    tls_trust_unref(&trust);
    return may;
}

static bool look_is_about(const struct look *l, const struct xstream *x)
{
    const struct tls_peer *peer;
    if (x->state != STREAM_BOUND || x->conn == NULL || x->end_sent)
        return false;
    peer = conn_tls_peer(x->conn);
    return peer != NULL && peer->verdict == TLS_VERIFIED &&
           (l->peers != LOOK_CLIENTS || ((const struct stream *)x)->certified);
}

/* A pinned certificate counts also when its domain connects again, so its stream goes on. */
static bool look_is_pinned(const struct look *l, const struct xstream *x)
{
    return l->peers == LOOK_FROM_SERVERS ? s2s_in_is_pinned(s2s_in_of(x))
           : l->peers == LOOK_TO_SERVERS ? s2s_out_is_pinned(s2s_out_of(x))
                                         : false;
}

/* RFC 6120 §13.7.2.3. */
static void look_at(const struct look *l, struct xstream *x)
{
    static const enum tls_usage usages[] = { [LOOK_CLIENTS] = TLS_FOR_CLIENT,
                                             [LOOK_FROM_SERVERS] = TLS_FOR_EITHER,
                                             [LOOK_TO_SERVERS] = TLS_FOR_SERVER };
    struct tls_trusted *trusted = look_trusted(l);
    struct tls_trust *trust = trusted != NULL ? tls_trusted_get(trusted) : NULL;
    struct tls_peer peer;
    conn_judge_again(x->conn, trust, usages[l->peers], &peer);
    tls_trust_unref(&trust);
    if (peer.verdict != TLS_REVOKED || look_is_pinned(l, x))
        return;
    metric_add(&recheck_ended, 1);
    xstream_fail(x, XE_RESET, SLICE("the certificate is revoked"));
    if (l->peers == LOOK_CLIENTS)
        stream_session_gone(stream_of(x), END_REVOKED);
}

/* The next stream of this kind; false: it has to wait for its turn. Those that were looked at go to
 * the end of the list, so a look may pause anywhere. */
static bool look_at_next(struct look *l, struct list *streams)
{
    struct xstream *x = CONTAINER_OF(streams->next, struct xstream, node);
    bool about = look_is_about(l, x);
    ensure(l->left > 0 && l->under_way);
    if (about && !pace_take(&l->pace))
        return false;
    list_append(streams, list_pop(streams));
    l->left--;
    if (about)
        look_at(l, x);
    return true;
}

static void look_go_on(struct look *l)
{
    struct loop *loop = worker_loop(l->worker);
    for (unsigned seen = 0; l->peers < LOOK_KINDS && seen < RECHECK_SEEN; seen++) {
        struct xstreams *all = look_streams(l);
        if (!l->under_way)
            l->left = all != NULL && !all->stopped && look_may_find(l) ? all->count : 0;
        l->under_way = l->left > 0 && !list_empty(&all->all);
        if (!l->under_way)
            l->peers++;
        else if (!look_at_next(l, &all->all))
            return;
    }
    if (l->peers < LOOK_KINDS) {
        timer_set(loop, &l->timer, RECHECK_PAUSE_MS);
        return;
    }
    l->peers = LOOK_CLIENTS;
    timer_set(loop, &l->timer, (uint64_t)setting_int(&recheck_every));
}

static void look_is_due(struct timer *t, struct loop *loop)
{
    (void)loop;
    look_go_on(CONTAINER_OF(t, struct look, timer));
}

static void look_has_turn(struct pace *p) { look_go_on(CONTAINER_OF(p, struct look, pace)); }

static void recheck_changed(struct worker *w, const struct setting *s)
{
    struct look *l = &looks[loop_index(worker_loop(w))];
    (void)s;
    if (timer_is_set(&l->timer) && l->peers == LOOK_CLIENTS && !l->under_way)
        timer_set(worker_loop(w), &l->timer, (uint64_t)setting_int(&recheck_every));
}

static void recheck_open(void *own, struct worker *w)
{
    struct look *l = &looks[loop_index(worker_loop(w))];
    (void)own;
    *l = (struct look){ .timer = { .fn = look_is_due }, .worker = w };
    pace_init(&l->pace, worker_loop(w), RECHECK_EVERY_US, look_has_turn);
    timer_set(worker_loop(w), &l->timer, (uint64_t)setting_int(&recheck_every));
}

static void recheck_stop(void *own, struct worker *w)
{
    (void)own;
    struct look *l = &looks[loop_index(worker_loop(w))];
    timer_cancel(&l->timer);
    pace_end(&l->pace);
}

const struct edge recheck_edge = { .name = "recheck", .open = recheck_open, .stop = recheck_stop };

const struct feature recheck_feature = {
    .name = "recheck",
    .settings = (struct setting *const[]){ &recheck_every, NULL },
    .metrics = (struct metric *const[]){ &recheck_ended, NULL },
};
