#include "gate/c2s.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/setting.h"
#include "codec/xml_write.h"
#include "gate/c2s_bound.h"
#include "gate/c2s_external.h"
#include "gate/c2s_negotiate.h"
#include "gate/c2s_rows.h"
#include "gate/c2s_sasl.h"
#include "gate/c2s_sasl2.h"
#include "gate/c2s_stream.h"
#include "home/message.h"
#include "home/node.h"
#include "io/listen.h"
#include "io/tls.h"
#include "session/link.h"
#include "session/session_queue.h"
#include "xmpp/ns.h"
#include <unistd.h>

/* An element before the stream is bound. */
static void c2s_element(struct xstream *x, const struct xstream_unit *u)
{
    struct stream *s = stream_of(x);
    switch (u->step.action) {
    case STREAM_DO_TLS:
        negotiate_tls(s);
        break;
    case STREAM_DO_NO_TLS:
        xstream_close(x, SLICE("<failure xmlns='" NS_TLS "'/>"));
        break;
    case STREAM_DO_SASL:
        sasl_unit(s, &u->elem);
        break;
    case STREAM_DO_SASL2:
        sasl2_unit(s, &u->elem);
        break;
    case STREAM_DO_EARLY:
        negotiate_early(s, u);
        break;
    case STREAM_DO_SM:
        bound_sm_early(s, &u->elem);
        break;
    case STREAM_DO_BIND:
        bound_bind(s, u);
        break;
    default:
        ensure_debug(false);
        break;
    }
}

static void c2s_greet(struct xstream *x) { negotiate_send_header(stream_of(x), (slice){ 0 }); }
static void c2s_header(struct xstream *x, slice unit) { negotiate_header(stream_of(x), unit); }
static void c2s_stanza(struct xstream *x, slice unit) { bound_unit(stream_of(x), unit); }
static void c2s_drained(struct xstream *x) { bound_drained(stream_of(x)); }

static void c2s_slow(struct xstream *x, bool on)
{
    bound_slow(stream_of(x), on);
    bound_output(stream_of(x), on ? xstream_output(x) : 0);
}

/* So that no answer to a look-up opens it again. */
static void c2s_closing(struct xstream *x)
{
    if (stream_of(x)->auth != NULL)
        sasl_cancel(stream_of(x));
}

static void c2s_gone(struct xstream *x, enum xstream_end why)
{
    static const enum session_end ends[] = { [XSTREAM_ENDED] = END_CLOSED,
                                             [XSTREAM_LOST] = END_LOST,
                                             [XSTREAM_BROKEN] = END_LOST,
                                             [XSTREAM_SLOW] = END_SLOW };
    struct stream *s = stream_of(x);
    if (why == XSTREAM_BROKEN)
        log_debug(&log_c2s, LOG_EV("conn.failed"), LOG_C("why", conn_error(x->conn)),
                  LOG_C("peer", stream_address(s).text), LOG_S("jid", s->jid));
    stream_session_gone(s, ends[why]);
}

static void c2s_failed(struct xstream *x, enum stream_error e, slice text)
{
    const struct stream *s = stream_of(x);
    metric_add(&c2s_stream_errors, 1);
    log_info(&log_c2s, LOG_EV("stream.error"), LOG_C("condition", stream_error_name(e)),
             LOG_S("text", text), LOG_C("peer", stream_address(s).text),
             LOG_S("jid", stream_account(s)));
}

static void c2s_free(struct xstream *x) { stream_free(stream_of(x)); }

/* Time: before authentication a deadline; afterwards idle clients are asked (XEP-0199 §4.3) and
 * dead ones closed. One timer a stream, lazy: traffic only stores the time (architecture §9). */

enum { IDLE_NEVER_MS = 600000 };

static uint64_t c2s_due_ms(const struct xstream *x)
{
    if (x->state != STREAM_BOUND)
        return xstream_left_ms(x, (uint64_t)setting_int(&c2s_auth_timeout));
    return setting_int(&c2s_idle) == SETTING_NONE ? IDLE_NEVER_MS
                                                  : (uint64_t)setting_int(&c2s_idle);
}

/* A request that no session counts: for one on another worker, without XEP-0198. */
static void ping_by_stream(struct stream *s)
{
    struct buf b;
    struct xml_write x;
    xml_begin(&x, &b, XML_PART_MAX);
    xml_open_with(&x, "iq", NS_CLIENT, "type", SLICE("get"));
    xml_attr(&x, "id", SLICE("ping"));
    xml_attr(&x, "from", stream_domain(s));
    xml_attr(&x, "to", s->jid);
    xml_empty(&x, "ping", NS_PING);
    xml_close(&x);
    xstream_write_buf(&s->x, &b);
}

static void ping_client(struct stream *s)
{
    bool counts = s->session != NULL ? s->session->sm != 0 : s->sm_enabled;
    s->x.pinged = true;
    if (s->session != NULL && !counts) {
        struct stanza *ping = stanza_make(STANZA_IQ, TYPE_GET, stream_domain(s), s->jid,
                                          SLICE("ping"), SLICE("<ping xmlns='" NS_PING "'/>"));
        session_deliver(s->session, ping, 0, 0);
        stanza_unref(&ping);
    } else if (counts) {
        xstream_write(&s->x,
                      SLICE("<r xmlns='" NS_SM "'/>")); /* an answer must come: XEP-0198 §4 */
    } else {
        ping_by_stream(s);
    }
}

static void c2s_idle_check(struct xstream *x)
{
    struct stream *s = stream_of(x);
    uint64_t now = loop_now_us(worker_loop(s->x.worker)), silent = now - xstream_last_us(x);
    uint64_t idle = (uint64_t)setting_int(&c2s_idle) * 1000;
    uint64_t limit = idle + (uint64_t)setting_int(&c2s_ping_timeout) * 1000;
    if (setting_int(&c2s_idle) == SETTING_NONE) {
        timer_set(worker_loop(x->worker), &x->timer, IDLE_NEVER_MS);
        return;
    }
    if (silent >= limit && s->x.pinged) {
        stream_session_gone(s, END_LOST);
        xstream_fail(&s->x, XE_CONNECTION_TIMEOUT, SLICE("no answer to a ping"));
        return;
    }
    if (silent >= idle && !s->x.pinged)
        ping_client(s);
    /* looked at again after idle time at the latest: an answer may come at once */
    uint64_t next = silent < idle ? idle - silent : limit - silent < idle ? limit - silent : idle;
    timer_set(worker_loop(x->worker), &x->timer, next / 1000 + 100);
}

/* A session is known to a stream that is bound, or that is closing and has not told it yet. */
static void c2s_check(const struct xstream *x)
{
    const struct stream *s = (const struct stream *)x;
    ensure(s->domain < worker_node(x->worker)->domain_count);
    ensure((x->conn == NULL) == (x->way->peer != NULL)); /* BOSH alone has none */
    ensure(s->session_id == 0 || x->state == STREAM_BOUND || x->state == STREAM_CLOSED);
    ensure(x->state != STREAM_BOUND || (s->session_id != 0 && s->jid.len > 0 && s->auth == NULL));
    ensure(s->jid_copy == NULL || (s->session == NULL && s->jid.ptr == s->jid_copy));
    ensure(s->session == NULL || s->session->id == s->session_id);
    ensure(s->session == NULL || s->session->account->worker == x->worker);
    ensure(s->auth == NULL || s->auth->stream == s);
}

static const struct xstream_rates c2s_rates = { &c2s_stanza_rate, &c2s_byte_rate };
static const struct xstream_ops c2s_ops = { .rates = &c2s_rates,
                                            .late = "not authenticated in time",
                                            .greet = c2s_greet,
                                            .header = c2s_header,
                                            .element = c2s_element,
                                            .stanza = c2s_stanza,
                                            .gone = c2s_gone,
                                            .closing = c2s_closing,
                                            .failed = c2s_failed,
                                            .drained = c2s_drained,
                                            .slow = c2s_slow,
                                            .due_ms = c2s_due_ms,
                                            .idle = c2s_idle_check,
                                            .free = c2s_free,
                                            .check = c2s_check };

static void c2s_accepted(struct loop *loop, int fd, const struct sockaddr *peer, void *arg)
{
    struct c2s_listener *l = arg;
    enum peers_room room = PEERS_ROOM;
    struct peer_key key = { 0 };
    if ((l->flags & CONN_PROXY) == 0) /* else its header tells the address */
        room = peers_enter(PEERS_C2S, peer, setting_int(&c2s_connections), &key);
    if (room == PEERS_CLOSE) {
        metric_add(&c2s_refused, 1);
        close(fd);
        return;
    }
    struct tls_ctx *tls = c2s_tls(l->c2s);
    struct conn *c = conn_create(loop, fd, peer, l->flags, tls, c2s_limits(l->c2s));
    tls_ctx_unref(&tls);
    if (c == NULL) {
        peers_leave(&key);
        return;
    }
    struct stream *s = stream_make(worker_here(), &xstream_tcp, STREAM_FROM_CLIENT, c);
    s->peer = key;
    if ((l->flags & CONN_TLS) != 0)
        external_ask(l->c2s, c, (slice){ 0 });
    conn_start(c, &xstream_conn_ops, s);
}

static void arrive_run(struct worker *w, void *message, const struct message_from *from)
{
    struct stream *s = ((const struct arrive *)message)->stream;
    (void)from;
    stream_arrive(w, s);
    if (s->x.among->stopped)
        xstream_fail(&s->x, XE_SYSTEM_SHUTDOWN, (slice){ 0 });
    else if (s->x.state == STREAM_COMPLETING)
        sasl2_arrived(s);
}

static const struct message_field arrive_fields[] = { F_LOCAL(struct arrive, stream), { 0 } };
const struct message_row arrive_message = {
    .id = 11,
    .scope = MESSAGE_PROCESS,
    .name = "arrive",
    .size = sizeof(struct arrive),
    .fields = arrive_fields,
    .run = arrive_run,
};

/* Start and stop of a worker's part. */

static void c2s_start(void *own, struct worker *w)
{
    struct gate_worker *g = mem_new(struct gate_worker);
    (void)own;
    xstreams_init(&g->streams);
    list_init(&g->boshes);
    c2s_worker_init(w);
    *worker_gate(w) = g;
}

static void c2s_open(void *own, struct worker *w)
{
    struct c2s *c = own;
    for (size_t i = 0; i < c->count; i++)
        if (listener_attach(c->listen[i].listener, worker_loop(w), c2s_accepted, &c->listen[i]) !=
            OK)
            log_error(&log_c2s, LOG_EV("listen.failed"), LOG_I("worker", worker_index(w)),
                      LOG_C("hint", "this worker cannot accept connections; restart the server"));
}

/* Before a restart, a connection with stream management only ends. Clients take a stream that was
 * closed in order for the end of its session, and do not resume it (XEP-0198 §5). */
static void stop_stream(struct stream *s)
{
    bool silently =
        atomic_load(&worker_node(s->x.worker)->restarts) && s->sm_enabled && s->x.conn != NULL;
    if (silently && s->x.state == STREAM_BOUND) {
        xstream_now(&s->x, STREAM_LOST);
        conn_close(s->x.conn);
    } else {
        xstream_fail(&s->x, XE_SYSTEM_SHUTDOWN, (slice){ 0 }); /* first: it logs the JID */
    }
    stream_session_gone(s, END_SHUTDOWN);
}

static void c2s_stop(void *own, struct worker *w)
{
    struct c2s *c = own;
    struct gate_worker *g = *worker_gate(w);
    for (size_t i = 0; i < c->count; i++)
        listener_detach(c->listen[i].listener, worker_loop(w));
    g->streams.stopped = true;
    LIST_EACH (it, &g->streams.all)
        stop_stream(stream_of(CONTAINER_OF(it, struct xstream, node)));
}

static bool c2s_idle_worker(void *own, struct worker *w)
{
    (void)own;
    return ((const struct gate_worker *)*worker_gate(w))->streams.count == 0;
}

static void c2s_relieve(void *own, struct worker *w)
{
    (void)own;
    xstreams_release(&((struct gate_worker *)*worker_gate(w))->streams);
}

static void c2s_end(void *own, struct worker *w)
{
    struct gate_worker *g = *worker_gate(w);
    (void)own;
    if (g != NULL)
        map_fini(link_streams(w));
    mem_free(&g);
    *worker_gate(w) = NULL;
}

static bool stream_home_is(const struct worker *w, const struct stream *s, uint32_t node)
{
    uint32_t home;
    if (s->session_id == 0 || s->session != NULL)
        return false;
    (void)node_home_of_slot(worker_node(w), origin_slot(s->session_id), &home);
    return home == node;
}

static void c2s_node_gone(void *own, struct worker *w, uint32_t node)
{
    struct stream *s;
    (void)own;
    for (uint32_t i = 0; (s = map_next(link_streams(w), &i)) != NULL;)
        if (stream_home_is(w, s, node))
            bound_down(s, &(struct down){ .kind = DOWN_CLOSE, .end = END_SHUTDOWN });
}

const struct edge c2s_edge = { .name = "c2s",
                               .start = c2s_start,
                               .open = c2s_open,
                               .stop = c2s_stop,
                               .idle = c2s_idle_worker,
                               .relieve = c2s_relieve,
                               .node_gone = c2s_node_gone,
                               .end = c2s_end };

size_t c2s_output(const struct stream *s) { return xstream_output(&s->x); }
void c2s_down(struct stream *s, const struct down *d) { bound_down(s, d); }

uint16_t c2s_port(const struct node *n, bool *tls)
{
    const struct c2s *c = edge_own(n, &c2s_edge);
    for (int direct = 0; direct < 2 && c != NULL; direct++) {
        for (size_t i = 0; i < c->count; i++) {
            const struct c2s_listener *l = &c->listen[i];
            if ((l->flags & CONN_PROXY) != 0 || ((l->flags & CONN_TLS) != 0) != (direct == 1))
                continue;
            *tls = direct == 1;
            if (listener_port(l->listener) > 0)
                return (uint16_t)listener_port(l->listener);
        }
    }
    return 0;
}

enum err c2s_create(struct c2s **out, const struct c2s_listen *listens, size_t count,
                    struct tls_ctx *tls, struct why *why)
{
    struct c2s *c = mem_new(struct c2s);
    enum err e = OK;
    pthread_mutex_init(&c->lock, NULL);
    c->ops = &c2s_ops;
    c->tls = tls_ctx_ref(tls);
    for (size_t i = 0; i < count && e == OK; i++) {
        struct c2s_listener *l = &c->listen[i];
        if (i == C2S_LISTENERS_MAX) {
            why_set(why, "listen: %zu addresses, allowed at most %d", count, C2S_LISTENERS_MAX);
            e = E_LIMIT;
            break;
        }
        e = listener_open(&l->listener, slice_of(listens[i].address), why);
        l->c2s = c;
        l->flags = (listens[i].tls ? CONN_TLS : 0u) | (listens[i].proxy ? CONN_PROXY : 0u);
        c->count += e == OK;
    }
    *out = c;
    if (e != OK)
        c2s_destroy(out);
    return e;
}

void c2s_destroy(struct c2s **pc)
{
    struct c2s *c = *pc;
    *pc = NULL;
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->count; i++)
        listener_close(&c->listen[i].listener);
    map_fini(&c->boshes);
    c2s_limits_free(c);
    tls_ctx_unref(&c->tls);
    pthread_mutex_destroy(&c->lock);
    mem_free(&c);
}

void c2s_set_trusted(struct c2s *c, struct tls_trusted *trusted) { c->trusted = trusted; }

void c2s_set_tls(struct c2s *c, struct tls_ctx *tls)
{
    pthread_mutex_lock(&c->lock);
    struct tls_ctx *old = c->tls;
    c->tls = tls_ctx_ref(tls);
    pthread_mutex_unlock(&c->lock);
    tls_ctx_unref(&old);
}
