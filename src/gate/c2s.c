#include "gate/c2s.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "gate/bosh_session.h"
#include "gate/c2s_bound.h"
#include "gate/c2s_negotiate.h"
#include "gate/c2s_private.h"
#include "gate/c2s_rows.h"
#include "gate/c2s_sasl2.h"
#include "gate/component.h"
#include "gate/proxy65.h"
#include "home/message.h"
#include "home/node.h"
#include "http/server.h"
#include "im/budget.h"
#include "im/link.h"
#include "im/session.h"
#include "im/session_queue.h"
#include "io/conn.h"
#include "io/listen.h"
#include "io/timer.h"
#include "io/tls.h"
#include "xmpp/ns.h"
#include <assert.h>
#include <unistd.h>

struct log_area log_c2s = { .name = "c2s" };

slice stream_domain(const struct stream *s) { return s->worker->node->domains[s->domain]; }
struct c2s *stream_c2s(const struct stream *s) { return s->worker->node->gate_state; }
void stream_write(struct stream *s, slice element) { s->way->write(s, element); }

enum stream_action stream_now(struct stream *s, enum stream_input input)
{
    struct stream_step step = stream_step(s->way->role, (enum stream_state)s->state, input);
    ensure_debug(step.action != STREAM_NEVER);
    s->state = (uint8_t)step.state;
    return step.action;
}

static struct stream_step stream_meets(const struct stream *s, enum stream_input input)
{
    return stream_step(s->way->role, (enum stream_state)s->state, input);
}

bool stream_awaits_header(const struct stream *s)
{
    return stream_meets(s, STREAM_GOT_HEADER).action == STREAM_DO_HEADER;
}

bool stream_header_due(struct stream *s)
{
    struct stream_step step = stream_meets(s, STREAM_GOT_HEADER);
    if (step.action != STREAM_DO_HEADER)
        stream_fail(s, step.error, slice_of(step.text));
    return step.action == STREAM_DO_HEADER;
}

static_assert(sizeof(struct stream) <= 384, "with its connection at most 768 bytes");

/* Limits shared by all connections that were made under the same settings. Old ones are never
 * freed, because connections point to them; settings change rarely. */
struct shared_limits {
    struct shared_limits *older;
    struct conn_limits limits;
};

static struct conn_limits limits_now(void)
{
    /* the largest stanza must fit, or it could never be sent */
    uint32_t output_max = (uint32_t)setting_int(&c2s_output_max);
    uint32_t stanza = (uint32_t)setting_int(&c2s_bytes);
    return (struct conn_limits){ .input_bytes = stanza + 4096,
                                 .output_high = C2S_OUTPUT_HIGH,
                                 .output_max = output_max > stanza * 2 ? output_max : stanza * 2,
                                 .handshake_ms = (uint32_t)setting_int(&c2s_auth_timeout),
                                 .user_timeout_ms = (uint32_t)setting_int(&c2s_ping_timeout) };
}

/* Under the lock of c. */
static const struct conn_limits *limits_shared(struct c2s *c)
{
    struct conn_limits now = limits_now();
    if (c->limits == NULL || memcmp(&c->limits->limits, &now, sizeof now) != 0) {
        struct shared_limits *l = mem_new(struct shared_limits);
        *l = (struct shared_limits){ c->limits, now };
        c->limits = l;
    }
    return &c->limits->limits;
}

void stream_limits(struct stream *s)
{
    bool authed = s->state >= STREAM_AUTHED_OPEN;
    struct xml_limits l = { .unit_bytes =
                                (uint32_t)setting_int(authed ? &c2s_bytes : &c2s_bytes_before),
                            .depth = (uint16_t)setting_int(&c2s_depth),
                            .attrs = 64,
                            .name_bytes = 256 };
    xml_reader_set_limits(&s->reader, &l);
}

struct stream_auth *stream_auth_of(struct stream *s)
{
    if (s->auth == NULL) {
        s->auth = mem_new(struct stream_auth);
        s->auth->arena = arena_create(1024);
        s->auth->stream = s;
    }
    return s->auth;
}

void stream_auth_free(struct stream *s)
{
    struct stream_auth *a = s->auth;
    s->auth = NULL;
    if (a == NULL)
        return;
    timer_cancel(&a->slow);
    sasl_destroy(&a->sasl);
    sasl2_free(a);
    arena_destroy(&a->arena);
    mem_free(&a);
}

const struct conn_info *stream_peer(const struct stream *s)
{
    return s->conn != NULL ? conn_info(s->conn) : bosh_peer(s->bosh);
}

/* The last time that the peer sent anything (loop time). */
static uint64_t last_read_us(const struct stream *s)
{
    return s->conn != NULL ? conn_last_read_us(s->conn) : bosh_last_us(s->bosh);
}

/* Waiting and going on. */

void stream_wait(struct stream *s)
{
    s->waiting = true;
    stream_hold(s, CONN_HOLD_STREAM);
}

void stream_go(struct stream *s)
{
    s->waiting = false;
    stream_release(s, CONN_HOLD_STREAM);
}

void stream_hold(struct stream *s, unsigned reason)
{
    if (s->conn != NULL)
        conn_hold(s->conn, reason);
}

void stream_release(struct stream *s, unsigned reason)
{
    if (s->conn != NULL)
        conn_release(s->conn, reason);
    else
        s->way->read_on(s);
}

/* The way over TCP: bytes of one XML document. */

static void tcp_open(struct stream *s, slice id, slice to)
{
    struct buf b;
    buf_init(&b, 16384);
    buf_printf(&b,
               "<?xml version='1.0'?><stream:stream xmlns='" NS_CLIENT "' xmlns:stream='" NS_STREAM
               "' id='%.*s' from='%.*s' version='1.0' xml:lang='en'",
               SLICE_ARG(id), SLICE_ARG(stream_domain(s)));
    if (to.len > 0) {
        buf_lit(&b, " to='");
        xml_escape(&b, to);
        buf_lit(&b, "'");
    }
    buf_lit(&b, ">");
    conn_write(s->conn, buf_slice(&b));
    buf_fini(&b);
}

static void tcp_write(struct stream *s, slice element) { conn_write(s->conn, element); }

static void tcp_stanza(struct stream *s, const struct down *d)
{
    char *at = conn_reserve(s->conn, stanza_write_max(d->st, d->note));
    conn_commit(s->conn, stanza_write(at, d->st, d->note));
}

static void tcp_end(struct stream *s)
{
    if (s->header_sent)
        conn_write(s->conn, SLICE("</stream:stream>"));
    conn_close(s->conn);
}

static const struct stream_way way_tcp = { .role = STREAM_FROM_CLIENT,
                                           .open = tcp_open,
                                           .write = tcp_write,
                                           .stanza = tcp_stanza,
                                           .end = tcp_end };

/* The end of a stream. */

void stream_session_gone(struct stream *s, enum session_end why)
{
    struct session *session = s->session;
    uint64_t id = s->session_id;
    struct up up = { .kind = UP_GONE, .num = why };
    s->session = NULL;
    s->session_id = 0;
    if (s->jid_copy == NULL)
        s->jid = (slice){ 0 }; /* it belonged to the session */
    if (session != NULL)
        session_up(session, &up);
    else if (id != 0)
        link_send_up(s->worker, s->id, s->session_node, id, &up);
}

void stream_close(struct stream *s, slice last)
{
    if (s->state == STREAM_CLOSED)
        return;
    if (last.len > 0)
        stream_write(s, last);
    stream_now(s, STREAM_CLOSE);
    negotiate_cancel(s); /* so that no answer to a look-up opens it again */
    s->way->end(s);
}

/* The JID, the account, or the name that the client claims, whichever is known. */
static slice stream_account(const struct stream *s)
{
    const struct stream_auth *a = s->auth;
    if (s->jid.len > 0 || a == NULL)
        return s->jid;
    return a->bare.len > 0 ? a->bare : a->try.jid.len > 0 ? a->try.jid : a->from;
}

bool stream_drop_output(struct stream *s)
{
    if (s->conn == NULL) {
        bosh_drop_output(s->bosh);
        return false;
    }
    if (conn_output_bytes(s->conn) <= C2S_OUTPUT_HIGH)
        return false;
    log_info(&log_c2s, LOG_EV("stream.dropped"), LOG_I("bytes", conn_output_bytes(s->conn)),
             LOG_C("peer", stream_peer(s)->peer_text), LOG_S("jid", stream_account(s)));
    stream_now(s, STREAM_LOST);
    negotiate_cancel(s);
    conn_abort(s->conn);
    return true;
}

void stream_fail(struct stream *s, enum stream_error e, slice text)
{
    stream_fail_with(s, e, text, (slice){ "", 0 });
}

void stream_fail_with(struct stream *s, enum stream_error e, slice text, slice app_xml)
{
    static const slice end = SLICE_INIT("</stream:error>");
    struct buf b;
    if (s->state == STREAM_CLOSED)
        return;
    if (!s->header_sent) /* RFC 6120 §4.9.1.2: the error needs a stream to be in */
        negotiate_send_header(s, (slice){ 0 });
    buf_init(&b, 16384);
    stream_error_write(&b, e, text);
    b.len -= end.len;
    buf_add(&b, app_xml);
    buf_add(&b, end);
    metric_add(&c2s_stream_errors, 1);
    log_info(&log_c2s, LOG_EV("stream.error"), LOG_C("condition", stream_error_name(e)),
             LOG_S("text", text), LOG_C("peer", stream_peer(s)->peer_text),
             LOG_S("jid", stream_account(s)));
    stream_close(s, buf_slice(&b));
    buf_fini(&b);
}

/* Rates: token buckets of one second, refilled when looked at. */

static void rate_refill(struct stream *s, uint64_t now)
{
    uint64_t us = now - s->filled_us;
    int64_t stanzas = setting_int(&c2s_stanza_rate), bytes = setting_int(&c2s_byte_rate);
    if (us > 1000000)
        us = 1000000;
    s->filled_us = now;
    int64_t st = s->stanza_tokens + (int64_t)us * (stanzas > INT32_MAX ? 0 : stanzas) / 1000000;
    int64_t by = s->byte_tokens + (int64_t)us * (bytes > INT32_MAX ? 0 : bytes) / 1000000;
    s->stanza_tokens = (int32_t)(st > stanzas ? stanzas : st);
    s->byte_tokens = (int32_t)(by > bytes ? bytes : by);
}

static bool rate_limited(void)
{
    return setting_int(&c2s_stanza_rate) != SETTING_NONE ||
           setting_int(&c2s_byte_rate) != SETTING_NONE;
}

enum { RATE_PAUSE_MS = 100 };

/* The one timer of a stream by what it waits for: the end of a pause, the end of login, idleness.
 */
void stream_timer(struct stream *s)
{
    uint64_t now = loop_now_us(s->worker->loop);
    uint64_t login_us = s->opened_us + (uint64_t)setting_int(&c2s_auth_timeout) * 1000;
    uint64_t ms = login_us > now ? (login_us - now) / 1000 : 0;
    if (s->rate_held)
        ms = RATE_PAUSE_MS;
    else if (s->state == STREAM_BOUND)
        ms = setting_int(&c2s_idle) == SETTING_NONE ? 600000 : (uint64_t)setting_int(&c2s_idle);
    timer_set(s->worker->loop, &s->timer, ms);
}

/* Not read for a while. */
static void rate_hold(struct stream *s)
{
    if (s->rate_held)
        return;
    s->rate_held = true;
    stream_hold(s, CONN_HOLD_RATE);
    stream_timer(s);
}

/* A client that was charged for more than it sent is not read until its bucket is refilled, at most
 * half a minute. */
enum { RATE_DEBT_S = 30 };

void stream_charge(struct stream *s, uint32_t bytes)
{
    int64_t rate = setting_int(&c2s_byte_rate), floor;
    if (rate == SETTING_NONE)
        return;
    floor = -rate * RATE_DEBT_S < INT32_MIN / 2 ? INT32_MIN / 2 : -rate * RATE_DEBT_S;
    int64_t left = (int64_t)s->byte_tokens - bytes;
    s->byte_tokens = (int32_t)(left < floor ? floor : left);
    s->in_debt = s->byte_tokens < 0;
    if (s->in_debt)
        rate_hold(s);
}

/* Takes tokens from the bucket. When it is empty, the client is not read until it has filled a
 * little. */
static void rate_spend(struct stream *s, int32_t stanzas, size_t bytes)
{
    if (!rate_limited())
        return;
    if (setting_int(&c2s_stanza_rate) != SETTING_NONE)
        s->stanza_tokens -= stanzas;
    if (setting_int(&c2s_byte_rate) != SETTING_NONE)
        s->byte_tokens -= (int32_t)bytes;
    if (s->stanza_tokens > 0 && s->byte_tokens > 0)
        return;
    uint64_t now = loop_now_us(s->worker->loop);
    if (now - s->filled_us >= 1000)
        rate_refill(s, now);
    bool empty = (setting_int(&c2s_stanza_rate) != SETTING_NONE && s->stanza_tokens <= 0) ||
                 (setting_int(&c2s_byte_rate) != SETTING_NONE && s->byte_tokens <= 0);
    if (empty)
        rate_hold(s);
}

/* Input. */

/* An element before the stream is bound. */
static void login_unit(struct stream *s, slice unit)
{
    const struct xml_root *root = &s->worker->xml->root;
    slice ns = xml_ns(&s->reader, unit, root->ns_stream, root->ns);
    struct elem e;
    enum stream_input input = elem_parse(&e, unit, SLICE(NS_CLIENT))
                                  ? stream_input_of(ns, e.name, s->secure)
                                  : STREAM_GOT_UNREADABLE;
    struct stream_step step = stream_meets(s, input);
    switch (step.action) {
    case STREAM_FAIL:
        stream_fail(s, step.error, slice_of(step.text));
        break;
    case STREAM_DO_SM:
        bound_sm_early(s, &e);
        break;
    case STREAM_DO_BIND:
        bound_bind(s, unit, &step);
        break;
    default:
        negotiate_unit(s, &e, unit, &step);
        break;
    }
}

void stream_end_by_client(struct stream *s)
{
    stream_session_gone(s, END_CLOSED);
    stream_close(s, (slice){ 0 });
}

bool stream_takes_input(const struct stream *s)
{
    return !s->waiting && !s->held && stream_reads(s->way->role, s->state) && !s->rate_held &&
           (s->conn == NULL || (!s->slow && conn_loop(s->conn) != NULL));
}

size_t stream_read(struct stream *s, slice data, int32_t *stanzas)
{
    size_t used = 0;
    enum xml_unit u = xml_read(&s->reader, s->worker->xml, data, &used);
    slice unit = { data.ptr, used };
    switch (u) {
    case XML_ERROR:
        stream_fail(s, stream_error_of_xml((int)s->reader.error), slice_of(s->reader.what));
        break;
    case XML_STREAM:
        if (stream_header_due(s))
            negotiate_header(s, unit);
        break;
    case XML_STANZA:
        ++*stanzas;
        if (s->state == STREAM_BOUND)
            bound_unit(s, unit);
        else
            login_unit(s, unit);
        break;
    case XML_END:
        stream_end_by_client(s);
        break;
    case XML_MORE:
    case XML_SPACE:
        break;
    }
    return used;
}

void stream_spend(struct stream *s, int32_t stanzas, size_t bytes)
{
    rate_spend(s, stanzas, bytes);
    budget_grew(s->worker, bytes);
    if (s->worker->over_budget)
        rate_hold(s);
}

static size_t on_input(struct conn *c, slice data)
{
    struct stream *s = conn_owner(c);
    struct worker *w = s->worker;
    struct gate_worker *g = w->gate;
    size_t done = 0;
    int32_t stanzas = 0;

    if (w->pressure) {
        conn_hold(c, CONN_HOLD_PRESSURE);
        return 0;
    }
    s->pinged = false;
    g->moved = false;
    while (done < data.len && !g->moved && stream_takes_input(s)) {
        size_t used = stream_read(s, slice_from(data, done), &stanzas);
        done += used;
        if (used == 0)
            break;
    }
    if (!g->moved && s->state != STREAM_CLOSED)
        stream_spend(s, stanzas, done);
    return done;
}

/* Time: before authentication a deadline; afterwards idle clients are asked (XEP-0199 §4.3) and
 * dead ones closed. One timer a stream, lazy: traffic only stores the time (architecture §9). */

enum { PING_BYTES_MAX = 32 * 1024 }; /* two addresses of 3,071 bytes, escaped */

/* A request that no session counts: for one on another worker, without XEP-0198. */
static void ping_by_stream(struct stream *s)
{
    struct buf b;
    buf_init(&b, PING_BYTES_MAX);
    buf_lit(&b, "<iq xmlns='" NS_CLIENT "' type='get' id='ping' from='");
    xml_escape(&b, stream_domain(s));
    buf_lit(&b, "' to='");
    xml_escape(&b, s->jid);
    buf_lit(&b, "'><ping xmlns='" NS_PING "'/></iq>");
    stream_write(s, buf_slice(&b));
    buf_fini(&b);
}

static void ping_client(struct stream *s)
{
    bool counts = s->session != NULL ? s->session->sm != 0 : s->sm_enabled;
    s->pinged = true;
    if (s->session != NULL && !counts) {
        struct stanza *ping = stanza_make(STANZA_IQ, TYPE_GET, stream_domain(s), s->jid,
                                          SLICE("ping"), SLICE("<ping xmlns='" NS_PING "'/>"));
        session_deliver(s->session, ping, 0, 0);
        stanza_unref(&ping);
    } else if (counts) {
        stream_write(s, SLICE("<r xmlns='" NS_SM "'/>")); /* an answer must come: XEP-0198 §4 */
    } else {
        ping_by_stream(s);
    }
}

static void idle_check(struct stream *s)
{
    uint64_t now = loop_now_us(s->worker->loop), silent = now - last_read_us(s);
    uint64_t idle = (uint64_t)setting_int(&c2s_idle) * 1000;
    uint64_t limit = idle + (uint64_t)setting_int(&c2s_ping_timeout) * 1000;
    if (setting_int(&c2s_idle) == SETTING_NONE) {
        timer_set(s->worker->loop, &s->timer, 600000);
        return;
    }
    if (silent >= limit && s->pinged) {
        stream_session_gone(s, END_LOST);
        stream_fail(s, XE_CONNECTION_TIMEOUT, SLICE("no answer to a ping"));
        return;
    }
    if (silent >= idle && !s->pinged)
        ping_client(s);
    /* looked at again after idle time at the latest: an answer may come at once */
    uint64_t next = silent < idle ? idle - silent : limit - silent < idle ? limit - silent : idle;
    timer_set(s->worker->loop, &s->timer, next / 1000 + 100);
}

static void on_timer(struct timer *t, struct loop *loop)
{
    struct stream *s = CONTAINER_OF(t, struct stream, timer);
    if (s->state == STREAM_CLOSED)
        return;
    if (s->rate_held) {
        rate_refill(s, loop_now_us(loop));
        s->in_debt =
            s->in_debt && s->byte_tokens < 0 && setting_int(&c2s_byte_rate) != SETTING_NONE;
        if (s->in_debt) {
            stream_timer(s);
            return;
        }
        s->rate_held = false;
        stream_release(s, CONN_HOLD_RATE);
        stream_timer(s);
    } else if (s->state != STREAM_BOUND) {
        stream_fail(s, XE_CONNECTION_TIMEOUT, SLICE("not authenticated in time"));
    } else {
        idle_check(s);
    }
}

/* Events of the connection. */

void stream_event(struct conn *c, enum conn_event ev)
{
    struct stream *s = conn_owner(c);
    switch (ev) {
    case CONN_SECURED:
        negotiate_secured(s);
        break;
    case CONN_DRAINED:
        bound_drained(s);
        break;
    case CONN_HIGH:
        conn_hold(c, CONN_HOLD_OUTPUT);
        bound_slow(s, true);
        bound_output(s, conn_output_bytes(c));
        break; /* stop reading a client that reads slowly */
    case CONN_LOW:
        conn_release(c, CONN_HOLD_OUTPUT);
        bound_slow(s, false);
        bound_output(s, 0);
        break;
    case CONN_OVERFLOW:
        stream_fail(s, XE_POLICY_VIOLATION, SLICE("too much output waits: read faster"));
        stream_session_gone(s, END_SLOW);
        break;
    case CONN_EOF:
        stream_session_gone(s, END_LOST);
        stream_close(s, (slice){ 0 });
        break;
    case CONN_FAILED:
        log_debug(&log_c2s, LOG_EV("conn.failed"), LOG_C("why", conn_error(c)),
                  LOG_C("peer", conn_info(c)->peer_text), LOG_S("jid", s->jid));
        stream_session_gone(s, END_LOST);
        stream_now(s, STREAM_LOST);
        negotiate_cancel(s);
        conn_abort(c);
        break;
    }
}

/* Connections per address. */

bool stream_count_address(struct stream *s)
{
    const struct sockaddr *peer = (const struct sockaddr *)(const void *)&stream_peer(s)->peer;
    if (s->peer.len == 0)
        s->beyond = peers_enter(&stream_c2s(s)->peers, peer, setting_int(&c2s_connections),
                                &s->peer) != PEERS_ROOM;
    return !s->beyond;
}

void stream_closed(struct conn *c) { stream_free(conn_owner(c)); }

void stream_free(struct stream *s)
{
    struct worker *w = s->worker;
    struct gate_worker *g = w->gate;
    stream_session_gone(s, END_LOST);
    negotiate_cancel(s);
    stream_auth_free(s);
    peers_leave(&stream_c2s(s)->peers, &s->peer);
    timer_cancel(&s->timer);
    xml_reader_fini(&s->reader);
    list_remove(&s->node);
    g->count--;
    map_del(&w->streams, (slice){ (const char *)&s->id, sizeof s->id });
    metric_add(&c2s_streams, -1);
    mem_free(&s->jid_copy);
    mem_free(&s);
}

static const struct conn_ops ops = { on_input, stream_event, stream_closed };

static slice stream_key_of(const void *item)
{
    return (slice){ (const char *)&((const struct stream *)item)->id, sizeof(uint64_t) };
}

static void stream_adopt(struct worker *w, struct stream *s)
{
    struct gate_worker *g = w->gate;
    s->worker = w;
    s->id = ++w->next_id << 16 | w->index;
    list_append(&g->streams, &s->node);
    g->count++;
    map_put(&w->streams, s);
}

struct stream *stream_make(struct worker *w, const struct stream_way *way, struct conn *c)
{
    struct stream *s = mem_new(struct stream);
    s->way = way;
    s->conn = c;
    s->filled_us = s->opened_us = loop_now_us(w->loop);
    s->stanza_tokens = INT32_MAX / 2;
    s->byte_tokens = INT32_MAX / 2;
    rate_refill(s, s->filled_us);
    s->timer.fn = on_timer;
    stream_adopt(w, s);
    xml_reader_init(&s->reader, NULL);
    stream_limits(s);
    metric_add(&c2s_streams, 1);
    stream_timer(s);
    return s;
}

const struct conn_limits *c2s_limits(struct c2s *c)
{
    pthread_mutex_lock(&c->lock);
    const struct conn_limits *limits = limits_shared(c);
    pthread_mutex_unlock(&c->lock);
    return limits;
}

static void accepted(struct loop *loop, int fd, const struct sockaddr *peer, void *arg)
{
    struct c2s_listener *l = arg;
    enum peers_room room = PEERS_ROOM;
    struct peer_key key = { 0 };
    if ((l->flags & CONN_PROXY) == 0) /* else its header tells the address */
        room = peers_enter(&l->c2s->peers, peer, setting_int(&c2s_connections), &key);
    if (room == PEERS_CLOSE) {
        metric_add(&c2s_refused, 1);
        close(fd);
        return;
    }
    pthread_mutex_lock(&l->c2s->lock);
    struct tls_ctx *tls = tls_ctx_ref(l->c2s->tls);
    const struct conn_limits *limits = limits_shared(l->c2s);
    pthread_mutex_unlock(&l->c2s->lock);
    struct conn *c = conn_create(loop, fd, peer, l->flags, tls, limits);
    tls_ctx_unref(&tls);
    if (c == NULL) {
        peers_leave(&l->c2s->peers, &key);
        return;
    }
    struct stream *s = stream_make(worker_here(), &way_tcp, c);
    s->peer = key;
    s->beyond = room == PEERS_REFUSE;
    conn_start(c, &ops, s);
}

/* Migration: the connection, its TLS object and unread bytes go to the home of the account. */

struct arrive {
    void *stream;
};

bool stream_migrate(struct stream *s)
{
    struct worker *w = s->worker;
    struct gate_worker *g = w->gate;
    uint32_t node;
    unsigned home = node_home(w->node, s->auth->bare, &node);
    if (node != w->node->id || home == w->index || !setting_bool(&c2s_migration) || s->conn == NULL)
        return false;
    timer_cancel(&s->timer);
    list_remove(&s->node);
    g->count--;
    map_del(&w->streams, (slice){ (const char *)&s->id, sizeof s->id });
    conn_detach(s->conn);
    s->worker = NULL;
    g->moved = true;
    home_send_to(w, 0, home, &arrive_message, &(struct arrive){ s });
    return true;
}

static void arrive_run(struct worker *w, void *message, const struct message_from *from)
{
    struct stream *s = ((const struct arrive *)message)->stream;
    (void)from;
    stream_adopt(w, s);
    stream_timer(s);
    conn_attach(s->conn, w->loop);
    if (((struct gate_worker *)w->gate)->stopped)
        stream_fail(s, XE_SYSTEM_SHUTDOWN, (slice){ 0 });
    else if (s->state == STREAM_COMPLETING)
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

static void gate_start(struct worker *w)
{
    struct c2s *c = w->node->gate_state;
    struct gate_worker *g = mem_new(struct gate_worker);
    list_init(&g->streams);
    list_init(&g->boshes);
    map_init(&w->streams, stream_key_of);
    w->gate = g;
    if (c != NULL && c->components != NULL)
        component_start(c->components, w);
    if (c != NULL)
        proxy65_start(c->proxy65, w);
    if (c != NULL && c->http != NULL)
        http_worker_start(c->http, w->loop);
}

static void gate_open(struct worker *w)
{
    struct c2s *c = w->node->gate_state;
    for (size_t i = 0; c != NULL && i < c->count; i++)
        if (listener_attach(c->listen[i].listener, w->loop, accepted, &c->listen[i]) != OK)
            log_error(&log_c2s, LOG_EV("listen.failed"), LOG_I("worker", w->index),
                      LOG_C("hint", "this worker cannot accept connections; restart the server"));
    if (c != NULL && c->components != NULL)
        component_accept(c->components, w);
    if (c != NULL)
        proxy65_accept(c->proxy65, w);
    if (c != NULL && c->http != NULL)
        http_worker_accept(c->http, w->loop);
}

/* Before a restart, a connection with stream management only ends. Clients take a stream that was
 * closed in order for the end of its session, and do not resume it (XEP-0198 §5). */
static void stop_stream(struct stream *s)
{
    bool silently = atomic_load(&s->worker->node->restarts) && s->sm_enabled && s->conn != NULL;
    if (silently && s->state == STREAM_BOUND) {
        stream_now(s, STREAM_LOST);
        conn_close(s->conn);
    } else {
        stream_fail(s, XE_SYSTEM_SHUTDOWN, (slice){ 0 }); /* first: it logs the JID */
    }
    stream_session_gone(s, END_SHUTDOWN);
}

static void gate_stop(struct worker *w)
{
    struct c2s *c = w->node->gate_state;
    struct gate_worker *g = w->gate;
    for (size_t i = 0; c != NULL && i < c->count; i++)
        listener_detach(c->listen[i].listener, w->loop);
    g->stopped = true;
    LIST_EACH (it, &g->streams)
        stop_stream(CONTAINER_OF(it, struct stream, node));
    if (c != NULL && c->components != NULL)
        component_stop(c->components, w);
    if (c != NULL)
        proxy65_stop(c->proxy65, w);
    if (c != NULL && c->http != NULL)
        http_worker_stop(c->http, w->loop);
}

static bool gate_idle(struct worker *w)
{
    const struct gate_worker *g = w->gate;
    const struct c2s *c = w->node->gate_state;
    return g->count == 0 && g->bosh_requests == 0 &&
           (c == NULL || c->components == NULL || component_idle(c->components, w->index)) &&
           (c == NULL || proxy65_idle(c->proxy65)) &&
           (c == NULL || c->http == NULL || http_worker_idle(c->http, w->loop));
}

struct component_gate *component_gate_of(const struct worker *w)
{
    return ((const struct c2s *)w->node->gate_state)->components;
}

static void gate_remote(struct worker *w, uint64_t link, struct stanza *st)
{
    component_send(component_gate_of(w), w, link, st);
}

static void gate_pressure(struct worker *w, bool on)
{
    struct gate_worker *g = w->gate;
    if (on)
        return; /* a connection stops when it has input: see on_input() */
    LIST_EACH (it, &g->streams)
        stream_release(CONTAINER_OF(it, struct stream, node), CONN_HOLD_PRESSURE);
    struct c2s *c = w->node->gate_state;
    if (c != NULL && c->components != NULL)
        component_release(c->components, w);
}

static void gate_end(struct worker *w)
{
    bosh_worker_end(w);
    map_fini(&w->streams);
    struct gate_worker *g = w->gate;
    mem_free(&g);
    w->gate = NULL;
}

static size_t gate_output(const struct stream *s)
{
    return s->conn != NULL ? conn_output_bytes(s->conn) : bosh_output(s->bosh);
}

const struct gate_ops c2s_gate = { gate_start,  gate_open,     gate_stop,   gate_idle, bound_down,
                                   gate_output, gate_pressure, gate_remote, gate_end };

enum err c2s_create(struct c2s **out, const struct c2s_listen *listens, size_t count,
                    struct tls_ctx *tls, struct why *why)
{
    struct c2s *c = mem_new(struct c2s);
    enum err e = OK;
    pthread_mutex_init(&c->lock, NULL);
    peers_init(&c->peers);
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

enum err c2s_add_components(struct c2s *c, const struct component_listen *listens, size_t count,
                            struct why *why)
{
    return component_open(&c->components, listens, count, why);
}

enum err c2s_add_proxy65(struct c2s *c, const struct proxy65_listen *listens, size_t count,
                         struct why *why)
{
    return proxy65_open(&c->proxy65, listens, count, why);
}

void c2s_destroy(struct c2s **pc)
{
    struct c2s *c = *pc;
    *pc = NULL;
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->count; i++)
        listener_close(&c->listen[i].listener);
    peers_fini(&c->peers);
    map_fini(&c->boshes);
    while (c->limits != NULL) {
        struct shared_limits *l = c->limits;
        c->limits = l->older;
        mem_free(&l);
    }
    component_close(&c->components);
    proxy65_close(&c->proxy65);
    tls_ctx_unref(&c->tls);
    pthread_mutex_destroy(&c->lock);
    mem_free(&c);
}

enum { ANSWER_BYTES = 64 << 10 }; /* space for an answer over HTTP */

static bool crowded(void)
{
    struct worker *w = worker_here();
    budget_grew(w, ANSWER_BYTES);
    return w->over_budget;
}

void c2s_serve_http(struct c2s *c, struct http_server *http)
{
    c->http = http;
    http_set_crowded(http, crowded);
}

void c2s_set_tls(struct c2s *c, struct tls_ctx *tls)
{
    pthread_mutex_lock(&c->lock);
    struct tls_ctx *old = c->tls;
    c->tls = tls_ctx_ref(tls);
    pthread_mutex_unlock(&c->lock);
    tls_ctx_unref(&old);
}
