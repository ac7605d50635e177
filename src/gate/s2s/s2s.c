#include "gate/s2s/s2s.h"
#include "account/account.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "gate/s2s/find/s2s_find.h"
#include "gate/s2s/find/s2s_policy.h"
#include "gate/s2s/link/s2s_in.h"
#include "gate/s2s/link/s2s_in_sm.h"
#include "gate/s2s/peer/s2s_peer.h"
#include "gate/s2s/s2s_domains.h"
#include "gate/s2s/s2s_gate.h"
#include "gate/s2s/s2s_home.h"
#include "gate/s2s/s2s_rows.h"
#include "io/address.h"
#include "io/listen.h"
#include "io/resolve.h"
#include "io/tls.h"
#include "io/tls_trust.h"
#include "io/work.h"
#include "remote/foreign.h"
#include "session/session.h"
#include "xmpp/jid.h"
#include <string.h>
#include <unistd.h>

enum {
    HANDSHAKE_MS = 20000,
    OUTPUT_MAX = 32 << 20,
    USER_TIMEOUT_MS = 60000,
    /* When the server stops, to flush: more than what is under way has (s2s_in_stop()), and less
     * than the node waits for it. */
    STOP_MS = 1500
};

struct s2s_listener {
    struct listener *listener;
    struct s2s_gate *gate;
    unsigned flags; /* enum conn_flags */
};

void s2s_set_tls(struct s2s_gate *g, struct tls_ctx *tls)
{
    pthread_mutex_lock(&g->lock);
    struct tls_ctx *old = g->tls;
    g->tls = tls_ctx_ref(tls);
    atomic_fetch_add(&g->tls_changes, 1);
    pthread_mutex_unlock(&g->lock);
    tls_ctx_unref(&old);
}

void s2s_ask_certificate(struct s2s_gate *g, struct conn *c)
{
    struct tls_trust *trust = tls_trusted_get(g->trusted);
    conn_ask_certificate(c, trust, TLS_FOR_EITHER);
    tls_trust_unref(&trust);
}

/* The edge. */

/* Also where nothing federates: what waits goes back to its senders. */
static void s2s_find_pending(struct worker *w)
{
    if (worker_index(w) == 0)
        s2s_find_rows(w);
}

static void streams_abort(struct xstreams *all)
{
    LIST_EACH (it, &all->all) {
        struct xstream *x = CONTAINER_OF(it, struct xstream, node);
        if (x->state == STREAM_CLOSED)
            conn_abort(x->conn);
        else
            xstream_abort(x);
    }
}

/* A peer that does not read keeps its stream longer than the loop lives. */
static void s2s_stopped(struct timer *t, struct loop *loop)
{
    struct s2s_worker *sw = CONTAINER_OF(t, struct s2s_worker, stop);
    (void)loop;
    streams_abort(&sw->in);
    streams_abort(&sw->out);
    streams_abort(&sw->probes);
}

static void s2s_start(void *own, struct worker *w)
{
    struct s2s_worker *sw = s2s_worker(own, w);
    xstreams_init(&sw->in);
    xstreams_init(&sw->out);
    xstreams_init(&sw->probes);
    list_init(&sw->tests);
    s2s_domains_start(sw, w);
    s2s_in_map_init(&sw->in_by_id);
    s2s_flows_init(sw);
    s2s_find_init(sw, w);
    s2s_peers_init(sw);
}

static void tell_crowd(const struct sockaddr *peer)
{
    char text[ADDRESS_TEXT_BYTES];
    union address a;
    address_set(&a, peer);
    address_print(&a, text);
    *(strrchr(text, ':') != NULL ? strrchr(text, ':') : text) = '\0'; /* the port tells nothing */
    log_warn(&log_s2s, LOG_EV("s2s.crowd"), LOG_C("peer", text),
             LOG_C("hint", "this address has as many connections as "
                           "s2s.connections-per-address says, so it gets no more"));
}

static void listener_accepted(struct loop *loop, int fd, const struct sockaddr *peer, void *arg)
{
    struct s2s_listener *l = arg;
    struct peer_key key = { 0 };
    bool counted = (l->flags & CONN_PROXY) == 0; /* else its header tells the address */
    if (counted &&
        peers_enter(PEERS_S2S, peer, setting_int(&s2s_per_address), &key) != PEERS_ROOM) {
        metric_add(&s2s_refused, 1);
        tell_crowd(peer);
        peers_leave(&key);
        close(fd);
        return;
    }
    struct tls_ctx *tls = s2s_tls(l->gate);
    struct conn *c = conn_create(loop, fd, peer, l->flags, tls, &l->gate->limits);
    tls_ctx_unref(&tls);
    if (c == NULL) {
        peers_leave(&key);
        return;
    }
    if ((l->flags & CONN_TLS) != 0)
        s2s_ask_certificate(l->gate, c);
    s2s_in_start(l->gate, worker_here(), c, &key);
}

struct trust_reading {
    struct work work;
    struct tls_trust *trust;
};

static void trust_reading_run(struct work *work)
{
    tls_trust_prepare(CONTAINER_OF(work, struct trust_reading, work)->trust);
}

static void trust_reading_done(struct work *work)
{
    struct trust_reading *r = CONTAINER_OF(work, struct trust_reading, work);
    tls_trust_unref(&r->trust);
    mem_free(&r);
}

/* Before the first certificate is judged: its worker would stand still for so long. */
static void s2s_prepare_trust(struct s2s_gate *g, struct worker *w)
{
    const struct node *n = worker_node(w);
    bool any = false;
    for (unsigned i = 0; i < n->domain_count; i++)
        any |= s2s_federates(w, n->domains[i]);
    struct tls_trust *trust = any && worker_index(w) == 0 ? tls_trusted_get(g->trusted) : NULL;
    if (trust == NULL)
        return;
    struct trust_reading *r = mem_new(struct trust_reading);
    r->work = (struct work){ .run = trust_reading_run, .done = trust_reading_done };
    r->work.may_skip = true;
    r->trust = trust;
    if (tls_trust_is_prepared(trust) || work_submit(worker_work(w), worker_loop(w), &r->work) != OK)
        trust_reading_done(&r->work);
}

static void s2s_open(void *own, struct worker *w)
{
    struct s2s_gate *g = own;
    s2s_prepare_trust(g, w);
    for (size_t i = 0; i < g->count; i++)
        if (listener_attach(g->listen[i].listener, worker_loop(w), listener_accepted,
                            &g->listen[i]) != OK)
            log_error(&log_s2s, LOG_EV("listen.failed"), LOG_I("worker", worker_index(w)),
                      LOG_C("hint", "this worker cannot accept connections; restart the server"));
    s2s_find_pending(w);
}

/* It may have been the home of domains whose messages wait in the database of this one, too. */
static void s2s_node_gone(void *own, struct worker *w, uint32_t node)
{
    (void)node;
    if (!s2s_worker(own, w)->out.stopped)
        s2s_find_pending(w);
}

static void s2s_stop(void *own, struct worker *w)
{
    struct s2s_gate *g = own;
    struct s2s_worker *sw = s2s_worker(g, w);
    for (size_t i = 0; i < g->count; i++)
        listener_detach(g->listen[i].listener, worker_loop(w));
    sw->in.stopped = sw->out.stopped = sw->probes.stopped = true;
    outgoing_find_stop(&sw->pending);
    while (!list_empty(&sw->tests)) { /* one may end another */
        struct s2s_test *t = CONTAINER_OF(sw->tests.next, struct s2s_test, node);
        t->stop(t);
    }
    LIST_EACH (it, &sw->probes.all)
        xstream_fail(CONTAINER_OF(it, struct xstream, node), XE_SYSTEM_SHUTDOWN, (slice){ 0 });
    LIST_EACH (it, &sw->in.all)
        s2s_in_stop(s2s_in_of(CONTAINER_OF(it, struct xstream, node)));
    s2s_peers_each(w, (slice){ 0 }, s2s_peer_stop);
    sw->stop.fn = s2s_stopped;
    timer_set(worker_loop(w), &sw->stop, STOP_MS);
}

static bool s2s_idle_worker(void *own, struct worker *w)
{
    const struct s2s_worker *sw = s2s_worker(own, w);
    return sw->in.count == 0 && sw->out.count == 0 && sw->probes.count == 0;
}

static void s2s_relieve(void *own, struct worker *w)
{
    xstreams_release(&s2s_worker(own, w)->in);
    xstreams_release(&s2s_worker(own, w)->out);
    xstreams_release(&s2s_worker(own, w)->probes);
}

static void s2s_end(void *own, struct worker *w)
{
    struct s2s_worker *sw = s2s_worker(own, w);
    timer_cancel(&sw->stop);
    outgoing_find_stop(&sw->pending);
    s2s_domains_stop(sw);
    if (sw->peers.key != NULL)
        s2s_peers_fini(sw);
    pace_end(&sw->find_pace);
    resolver_destroy(&sw->resolver);
    map_fini(&sw->in_by_id);
    s2s_flows_fini(sw);
}

/* Rooms of a service that is switched off or taken away tell their occupants elsewhere that they
 * have left, and what was taken before is answered. */
static bool s2s_speaks_for(struct worker *w, slice local, const struct stanza *st)
{
    ensure(local.len > 0);
    bool ends = st->kind == STANZA_PRESENCE && st->type == TYPE_UNAVAILABLE,
         answers = st->type == TYPE_ERROR || st->type == TYPE_RESULT;
    return ends || answers ? s2s_was_ours(w, local) : s2s_is_ours(w, local);
}

/* Where a stanza that leaves is judged. */
static struct edge_word s2s_foreign_word(void *own, struct worker *w, slice domain,
                                         const struct stanza *st)
{
    slice local = jid_split(stanza_from(st)).domain;
    (void)own;
    if (st->from_len == 0 || !s2s_speaks_for(w, local, st))
        return (struct edge_word){ .error = SE_REMOTE_SERVER_NOT_FOUND };
    if (!s2s_federates(w, local))
        return (struct edge_word){ .error = SE_REMOTE_SERVER_NOT_FOUND };
    if (!s2s_may(w, local, domain))
        return (struct edge_word){ .error = SE_NOT_ALLOWED };
    return foreign_leaves(w, st);
}

static void s2s_foreign(void *own, struct worker *w, slice domain, struct stanza *st,
                        const struct edge_kept *kept)
{
    st = foreign_goes(st, &(struct edge_word){ .bare = kept->bare });
    domain = jid_split(stanza_to(st)).domain; /* that of the caller was of the stanza before */
    struct s2s_peer *pinger = s2s_worker(own, w)->pinger;
    if (pinger != NULL && s2s_peer_takes_ping(pinger, st))
        return;
    home_send(
        w, domain, &s2s_foreign_message,
        &(struct s2s_foreign){
            .st = st, .entry = kept->entry, .sender = kept->sender, .unshown = kept->unshown });
}

const struct edge s2s_edge = { .name = "s2s",
                               .start = s2s_start,
                               .open = s2s_open,
                               .stop = s2s_stop,
                               .idle = s2s_idle_worker,
                               .relieve = s2s_relieve,
                               .foreign_word = s2s_foreign_word,
                               .foreign = s2s_foreign,
                               .node_gone = s2s_node_gone,
                               .end = s2s_end };

enum verdict s2s_check(struct session *s, struct stanza **st, struct refusal *why)
{
    struct worker *w = s->account->worker;
    slice to = jid_split(stanza_to(*st)).domain;
    ensure(worker_is_here(w));
    if (to.len == 0 || s2s_gate_of(w) == NULL || s2s_is_ours(w, to))
        return PASS;
    slice local = jid_split(s->account->jid).domain;
    if (!s2s_federates(w, local) || s2s_may(w, local, to))
        return PASS;
    if (foreign_is_ending(*st)) /* the contact list changes, also if the edge sends nothing */
        return PASS;
    why->error = SE_NOT_ALLOWED;
    why->text = jid_is_address(to) && !setting_bool(&s2s_ip_literals)
                    ? SLICE("this server communicates with domains only, not with addresses in "
                            "numbers")
                    : SLICE("this server does not communicate with that domain");
    if ((*st)->type != TYPE_ERROR && (*st)->type != TYPE_RESULT)
        return REFUSE;
    s2s_dropped(*st, S2S_DROP_POLICY);
    return DROP;
}

void s2s_pairs_changed(struct worker *w)
{
    struct s2s_gate *g = s2s_gate_of(w);
    if (g == NULL)
        return;
    LIST_EACH (it, &s2s_worker(g, w)->in.all)
        s2s_in_policy_changed(s2s_in_of(CONTAINER_OF(it, struct xstream, node)));
    s2s_peers_each(w, (slice){ 0 }, s2s_peer_judge);
    s2s_prepare_trust(g, w);
}

void s2s_policy_changed(struct worker *w, const struct setting *s)
{
    (void)s;
    foreign_changed(w);
}

uint16_t s2s_port(const struct s2s_gate *g)
{
    for (size_t i = 0; i < g->count; i++)
        if ((g->listen[i].flags & (CONN_TLS | CONN_PROXY)) == 0)
            return (uint16_t)listener_port(g->listen[i].listener);
    return 0;
}

enum err s2s_create(struct s2s_gate **out, const struct s2s_listen *listens, size_t count,
                    struct tls_ctx *tls, struct tls_trusted *trusted, struct why *why)
{
    struct s2s_gate *g = mem_new(struct s2s_gate);
    enum err e = OK;
    g->trusted = trusted;
    pthread_mutex_init(&g->lock, NULL);
    g->tls = tls_ctx_ref(tls);
    g->listen = mem_zalloc((count + 1) * sizeof *g->listen);
    g->limits = (struct conn_limits){ .input_bytes = S2S_STANZA_BYTES_MAX + 4096,
                                      .output_high = S2S_OUTPUT_HIGH,
                                      .output_max = OUTPUT_MAX,
                                      .handshake_ms = HANDSHAKE_MS,
                                      .user_timeout_ms = USER_TIMEOUT_MS };
    for (size_t i = 0; i < count && e == OK; i++) {
        struct s2s_listener *l = &g->listen[i];
        if (i == S2S_LISTENERS_MAX) {
            why_set(why, "listen.s2s: %zu addresses, allowed at most %d", count, S2S_LISTENERS_MAX);
            e = E_LIMIT;
            break;
        }
        e = listener_open(&l->listener, slice_of(listens[i].address), why);
        l->gate = g;
        l->flags =
            CONN_SERVER | (listens[i].tls ? CONN_TLS : 0u) | (listens[i].proxy ? CONN_PROXY : 0u);
        g->count += e == OK;
    }
    *out = g;
    if (e != OK)
        s2s_destroy(out);
    return e;
}

void s2s_destroy(struct s2s_gate **pg)
{
    struct s2s_gate *g = *pg;
    *pg = NULL;
    if (g == NULL)
        return;
    for (size_t i = 0; i < g->count; i++)
        listener_close(&g->listen[i].listener);
    tls_ctx_unref(&g->tls);
    pthread_mutex_destroy(&g->lock);
    mem_free(&g->listen);
    mem_free(&g);
}
