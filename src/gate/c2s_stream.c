#include "gate/c2s_stream.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/setting.h"
#include "gate/c2s.h"
#include "gate/c2s_attempts.h"
#include "gate/c2s_rows.h"
#include "gate/c2s_sasl.h"
#include "gate/stanza_limits.h"
#include "home/message.h"
#include "home/node.h"
#include "io/tls.h"
#include "session/link.h"
#include "xmpp/ns.h"
#include <assert.h>
#include <stdio.h>

struct log_area log_c2s = { .name = "c2s" };

#ifndef MUSTER_DEBUG
static_assert(sizeof(struct stream) <= 272, "idle sessions are many");
#endif
static_assert(offsetof(struct stream, x) == 0, "owner of the connection");

slice stream_domain(const struct stream *s) { return worker_node(s->x.worker)->domains[s->domain]; }
struct c2s *stream_c2s(const struct stream *s)
{
    return edge_own(worker_node(s->x.worker), &c2s_edge);
}
struct ip_text stream_address(const struct stream *s)
{
    return conn_info_text(xstream_peer(&s->x));
}

slice stream_account(const struct stream *s)
{
    const struct stream_auth *a = s->auth;
    if (s->jid.len > 0 || a == NULL)
        return s->jid;
    return a->bare.len > 0 ? a->bare : a->try.jid.len > 0 ? a->try.jid : a->from;
}

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
    uint32_t max = output_max > stanza * 2 ? output_max : stanza * 2;
    /* below the cap: what is still written in the belief that the client reads must fit */
    return (struct conn_limits){ .input_bytes = stanza + 4096,
                                 .output_high =
                                     max / 2 < C2S_OUTPUT_HIGH ? max / 2 : C2S_OUTPUT_HIGH,
                                 .output_max = max,
                                 .handshake_ms = (uint32_t)setting_int(&c2s_auth_timeout),
                                 .user_timeout_ms = (uint32_t)setting_int(&c2s_ping_timeout) };
}

const struct conn_limits *c2s_limits(struct c2s *c)
{
    struct conn_limits now = limits_now();
    pthread_mutex_lock(&c->lock);
    if (c->limits == NULL || memcmp(&c->limits->limits, &now, sizeof now) != 0) {
        struct shared_limits *l = mem_new(struct shared_limits);
        *l = (struct shared_limits){ c->limits, now };
        c->limits = l;
    }
    const struct conn_limits *limits = &c->limits->limits;
    pthread_mutex_unlock(&c->lock);
    return limits;
}

void c2s_limits_free(struct c2s *c)
{
    while (c->limits != NULL) {
        struct shared_limits *l = c->limits;
        c->limits = l->older;
        mem_free(&l);
    }
}

struct tls_ctx *c2s_tls(struct c2s *c)
{
    pthread_mutex_lock(&c->lock);
    struct tls_ctx *tls = tls_ctx_ref(c->tls);
    pthread_mutex_unlock(&c->lock);
    return tls;
}

void stream_limits(struct stream *s)
{
    bool authed = s->x.state >= STREAM_AUTHED_OPEN;
    struct xml_limits l = limits_of_client(setting_int(authed ? &c2s_bytes : &c2s_bytes_before),
                                           setting_int(&c2s_depth));
    xml_reader_set_limits(&s->x.reader, &l);
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
    if (a == NULL)
        return;
    attempts_failed(s);
    s->auth = NULL;
    ensure(a->op == NULL && a->device_op == NULL); /* they would come back to it */
    timer_cancel(&a->turn);
    sasl_destroy(&a->sasl);
    if (a->two != NULL)
        a->profile->forget(a);
    arena_destroy(&a->arena);
    mem_free(&a);
}

void stream_session_gone(struct stream *s, enum session_end why)
{
    struct session *session = s->session;
    uint64_t id = s->session_id;
    struct up up = { .kind = UP_GONE, .num = why };
    ensure(session == NULL || session_here(session));
    s->session = NULL;
    s->session_id = 0;
    if (s->jid_copy == NULL)
        s->jid = (slice){ 0 }; /* it belonged to the session */
    if (session != NULL)
        session_up(session, &up);
    else if (id != 0)
        link_send_up(s->x.worker, s->x.id, id, &up);
}

void stream_sm_failed(struct stream *s, enum stanza_error e)
{
    char text[200];
    snprintf(text, sizeof text,
             "<failed xmlns='" NS_SM "'><%s xmlns='" NS_STANZA_ERROR "'/></failed>",
             stanza_error_name(e));
    xstream_write(&s->x, slice_of(text));
}

bool stream_iq(struct stream *s, slice unit, struct stanza **out)
{
    struct stanza_source src = { .unit = unit,
                                 .work = worker_xml(s->x.worker),
                                 .from = { "", 0 }, /* it has no address yet */
                                 .reader = &s->x.reader };
    struct stanza *st;
    if (stanza_read(&st, &src, loop_scratch(worker_loop(s->x.worker))) != OK)
        return false;
    if (stanza_is_request(st)) {
        *out = st;
        return true;
    }
    stanza_unref(&st);
    return false;
}

bool stream_drop_output(struct stream *s)
{
    if (s->x.conn == NULL) {
        s->x.way->drop(&s->x);
        return false;
    }
    if (conn_output_bytes(s->x.conn) <= C2S_OUTPUT_HIGH)
        return false;
    log_info(&log_c2s, LOG_EV("stream.dropped"), LOG_I("bytes", conn_output_bytes(s->x.conn)),
             LOG_C("peer", stream_address(s).text), LOG_S("jid", stream_account(s)));
    xstream_abort(&s->x);
    return true;
}

bool stream_count_address(struct stream *s)
{
    const struct sockaddr *peer = &xstream_peer(&s->x)->peer.any;
    if (s->peer.len == 0)
        (void)peers_enter(PEERS_C2S, peer, setting_int(&c2s_connections), &s->peer);
    return !s->peer.beyond;
}

/* Life. */

static slice stream_key_of(const void *item)
{
    return (slice){ (const char *)&((const struct stream *)item)->x.id, sizeof(uint64_t) };
}

void c2s_worker_init(struct worker *w) { map_init(link_streams(w), stream_key_of); }

static void stream_adopt(struct worker *w, struct stream *s)
{
    struct gate_worker *g = *worker_gate(w);
    xstream_adopt(&s->x, w, &g->streams);
    map_put(link_streams(w), s);
}

static void c2s_stream_leave(struct stream *s)
{
    map_del(link_streams(s->x.worker), stream_key_of(s));
    xstream_leave(&s->x);
}

struct stream *stream_make(struct worker *w, const struct xstream_way *way, enum stream_role role,
                           struct conn *c)
{
    struct stream *s = mem_new(struct stream);
    const struct c2s *c2s = edge_own(worker_node(w), &c2s_edge);
    ensure(c2s != NULL && c2s->ops != NULL);
    s->x.ops = c2s->ops;
    s->x.way = way;
    s->x.role = (uint8_t)role;
    s->x.conn = c;
    xstream_init(&s->x, w, NULL);
    stream_adopt(w, s);
    stream_limits(s);
    metric_add(&c2s_streams, 1);
    xstream_timer(&s->x);
    return s;
}

void stream_free(struct stream *s)
{
    ensure(xstream_here(&s->x));
    stream_session_gone(s, END_LOST);
    s->x.ops->closing(&s->x);
    stream_auth_free(s);
    peers_leave(&s->peer);
    c2s_stream_leave(s);
    xml_reader_fini(&s->x.reader);
    metric_add(&c2s_streams, -1);
    mem_free(&s->jid_copy);
    mem_free(&s);
}

/* Migration: the connection, its TLS object and unread bytes go to the home of the account. */

bool stream_migrate(struct stream *s)
{
    struct worker *w = s->x.worker;
    uint32_t node;
    unsigned home = node_home(worker_node(w), s->auth->bare, &node);
    ensure(s->session_id == 0 && s->auth->bare.len > 0);
    if (node != worker_node(w)->id || home == worker_index(w) || !setting_bool(&c2s_migration) ||
        s->x.conn == NULL)
        return false;
    s->x.among->moved = true;
    c2s_stream_leave(s);
    conn_detach(s->x.conn);
    s->x.worker = NULL;
    home_send_to(w, 0, home, &arrive_message, &(struct arrive){ s });
    return true;
}

void stream_arrive(struct worker *w, struct stream *s)
{
    ensure(s->x.worker == NULL && s->x.conn != NULL);
    stream_adopt(w, s);
    xstream_timer(&s->x);
    conn_attach(s->x.conn, worker_loop(w));
}
