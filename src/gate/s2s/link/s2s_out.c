#include "gate/s2s/link/s2s_out.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "gate/s2s/find/s2s_find.h"
#include "gate/s2s/find/s2s_lists.h"
#include "gate/s2s/link/s2s_asked.h"
#include "gate/s2s/link/s2s_in_sm.h"
#include "gate/s2s/link/s2s_proof.h"
#include "gate/s2s/link/s2s_take.h"
#include "gate/s2s/peer/s2s_keys.h"
#include "gate/s2s/peer/s2s_peer.h"
#include "gate/s2s/s2s_domains.h"
#include "gate/s2s/s2s_rows.h"
#include "gate/s2s/s2s_words.h"
#include "gate/stanza_limits.h"
#include "gate/stream_limits.h"
#include "io/tls.h"
#include "io/tls_client.h"
#include "remote/foreign.h"
#include "remote/remote_domains.h"
#include "xmpp/ns.h"
#include <stdio.h>
#include <string.h>

enum { ENDING_MS = 2000 };
enum { OUT_LANG_MAX = 35 /* bytes (RFC 5646 §4.4.1) */ };

/* How our domain was proved. */
enum out_auth { OUT_NOTHING, OUT_EXTERNAL, OUT_DIALBACK };

/* XEP-0198. The stream is up from OUT_ENABLING on, or without it. */
enum out_sm { OUT_NO_SM, OUT_RESUMING, OUT_ENABLING, OUT_COUNTS };

struct s2s_out {
    struct xstream x;      /* first: it is the owner of the connection */
    struct s2s_peer *peer; /* NULL: the stream has ended for it */
    uint64_t wrote_us;     /* loop time of the last stanza */
    uint8_t external;      /* enum s2s_external */
    uint8_t auth;          /* enum out_auth */
    uint8_t sm;            /* enum out_sm */
    uint8_t end;           /* enum peer_end; PEER_END_FRESH: not known yet */
    char *id;              /* that the server gave the stream; NULL: none yet */
    bool up, has_sm;
    bool has_both;      /* XEP-0288: the server offers it, and may use it */
    bool both;          /* ... and was asked for it: its stanzas come on this stream, too */
    uint32_t max_bytes; /* the largest stanza that it takes (XEP-0478); 0: it has not said */
    uint8_t lang_len;
    char lang[OUT_LANG_MAX]; /* of its header */
    slice host;              /* that was dialled, with its port */
    bool direct;             /* TLS from the first byte */
    uint32_t tls_version;    /* s2s_tls_version() of the certificates that it shows */
    uint64_t heard_us;       /* of remote_domain_heard() */
    bool draining;           /* it ends when what came on it is handled: nothing more is read */
    bool peer_ended;         /* ... as the server has ended its half */
    bool skipped;            /* something that came is not counted: nothing behind it is taken */
    struct s2s_asked asked;
    struct loop_defer ask; /* at the end of the tick */
    struct timer wait;     /* for the answer; for what drains; or for the end of the server */
};

static inline slice out_local(const struct s2s_out *o) { return s2s_peer_local(o->peer); }
static inline slice out_remote(const struct s2s_out *o) { return s2s_peer_remote(o->peer); }
static inline struct arena *out_scratch(const struct s2s_out *o)
{
    return loop_scratch(worker_loop(o->x.worker));
}

static void out_greet(struct xstream *x)
{
    const struct s2s_out *o = s2s_out_of(x);
    if (o->peer == NULL)
        return;
    xstream_open(x, &(struct xstream_header){ .ns = NS_SERVER,
                                              .from = out_local(o),
                                              .to = out_remote(o),
                                              .version = SLICE("1.0"),
                                              .dialback = true });
}

/* It counts the stanzas that come; NULL: none may come. */
static struct in_flow *out_flow(const struct xstream *x)
{
    const struct s2s_out *o = s2s_out_const(x);
    return o->peer == NULL || !o->both ? NULL : s2s_peer_flow(o->peer);
}

/* The stream is of no use, and why. */
#define OUT_ENDS(o, at, e, hard, ...)                                                              \
    do {                                                                                           \
        s2s_peer_blame((o)->peer, at, e, hard, __VA_ARGS__);                                       \
        xstream_close(&(o)->x, (slice){ 0 });                                                      \
    } while (0)

static void out_failed(struct xstream *x, enum stream_error e, slice text)
{
    struct s2s_out *o = s2s_out_of(x);
    if (o->peer == NULL)
        return;
    s2s_flow_last_ack(out_flow(x));
    o->end = PEER_END_BROKEN;
    s2s_peer_blame(o->peer, s2s_out_stage(o, e == XE_CONNECTION_TIMEOUT), SE_REMOTE_SERVER_TIMEOUT,
                   false, "we ended the stream: %s%s%.*s", stream_error_name(e),
                   text.len > 0 ? ": " : "", SLICE_ARG(text));
}

static void out_heard(struct xstream *x, const struct elem *error)
{
    struct s2s_out *o = s2s_out_of(x);
    struct elem condition;
    const char *said = s2s_said(error, &condition, out_scratch(o));
    o->end = PEER_END_BROKEN;
    if (o->peer == NULL)
        return;
    if (o->auth != OUT_NOTHING)
        remote_domain_seen(x->worker, out_remote(o), DOMAIN_BROKEN);
    if (said == NULL)
        return;
    if (s2s_is_offended(condition.name))
        o->end = PEER_END_THEIRS;
    if (slice_is(condition.name, "see-other-host"))
        s2s_peer_see_other(o->peer, elem_text(&condition, out_scratch(o)));
    bool unknown = !o->up && slice_is(condition.name, "host-unknown");
    enum s2s_stage at = s2s_out_stage(o, false);
    s2s_peer_blame(o->peer, o->up ? at : s2s_stage_said(at, condition.name),
                   unknown ? SE_REMOTE_SERVER_NOT_FOUND : SE_REMOTE_SERVER_TIMEOUT, false, "%s",
                   said);
}

/* Without XEP-0198, an end that answers ours says that all was read that came before ours (RFC 6120
 * §4.4); so does the end of the connection, behind both. */
static bool out_end_confirms(const struct s2s_out *o, enum xstream_end why)
{
    return o->sm == OUT_NO_SM && o->x.end_sent && (why == XSTREAM_ENDED || o->peer_ended) &&
           o->end == PEER_END_ORDERLY && conn_has_arrived(o->x.conn);
}

static void out_gone(struct xstream *x, enum xstream_end why)
{
    struct s2s_out *o = s2s_out_of(x);
    bool ended = why == XSTREAM_ENDED || (why == XSTREAM_LOST && o->peer_ended);
    if (ended)
        s2s_flow_last_ack(out_flow(x));
    if (o->peer == NULL)
        return;
    if (o->end == PEER_END_FRESH)
        o->end = ended                   ? PEER_END_ORDERLY
                 : s2s_is_broken(x, why) ? PEER_END_THEIRS
                                         : PEER_END_BROKEN;
    if (!ended && o->auth != OUT_NOTHING)
        remote_domain_seen(x->worker, out_remote(o), DOMAIN_BROKEN);
    if (why == XSTREAM_BROKEN)
        s2s_peer_blame(o->peer, s2s_out_stage(o, false), SE_REMOTE_SERVER_TIMEOUT, false,
                       "the connection failed: %s", conn_error(x->conn));
    if (o->up && out_end_confirms(o, why))
        s2s_peer_confirm_all(o->peer);
}

static void out_closing(struct xstream *x)
{
    struct s2s_out *o = s2s_out_of(x);
    struct s2s_peer *p = o->peer;
    o->peer = NULL;
    timer_cancel(&o->wait);
    loop_defer_cancel(&o->ask);
    if (p == NULL)
        return;
    if (!o->up)
        o->end = PEER_END_FRESH;
    else if (o->end == PEER_END_FRESH)
        o->end = PEER_END_ORDERLY;
    s2s_peer_lost(p, (enum peer_end)o->end);
}

/* The end of the stream (RFC 6120 §4.4). Nothing more is written. Stanzas that have come are
 * handled and acknowledged first. Then our half ends, and the server has some time to confirm what
 * it got and to end its own. */

static void out_sends_end(struct s2s_out *o)
{
    if (o->sm >= OUT_ENABLING && !s2s_asked_for_all(&o->asked))
        xstream_write(&o->x, SLICE("<r xmlns='" NS_SM "'/>"));
    s2s_flow_last_ack(out_flow(&o->x));
    xstream_send_end(&o->x);
    s2s_peer_set_session(o->peer, (slice){ 0 }, 0); /* it ends with the stream (XEP-0198 §5) */
    timer_set(worker_loop(o->x.worker), &o->wait, ENDING_MS);
    if (o->draining)
        xstream_go(&o->x);
    o->draining = false;
}

static void out_has_drained(struct s2s_out *o)
{
    ensure(o->draining && o->up);
    if (o->peer_ended)
        xstream_end(&o->x, XSTREAM_ENDED);
    else
        out_sends_end(o);
}

void s2s_out_end(struct s2s_out *o)
{
    ensure(o->up);
    if (o->x.end_sent || o->draining)
        return;
    if (!s2s_flow_is_due(out_flow(&o->x))) {
        out_sends_end(o);
        return;
    }
    o->draining = true;
    xstream_wait(&o->x);
    timer_set(worker_loop(o->x.worker), &o->wait, ENDING_MS);
}

/* The server has ended its half: it hears first what became of its last stanzas, and the end of the
 * connection says what became of ours. */
static bool out_drains(struct xstream *x)
{
    struct s2s_out *o = s2s_out_of(x);
    if (o->peer == NULL || !o->up || x->end_sent || o->draining)
        return false;
    if (!s2s_flow_is_due(out_flow(x)) && (o->sm != OUT_NO_SM || !s2s_peer_is_unconfirmed(o->peer)))
        return false;
    o->peer_ended = true;
    s2s_peer_event(o->peer, PEER_CLOSE);
    return true;
}

/* What came is not handled; or neither the answer to <r/> comes, nor the end of the server. */
static void out_waits_in_vain(struct timer *t, struct loop *loop)
{
    struct s2s_out *o = CONTAINER_OF(t, struct s2s_out, wait);
    (void)loop;
    if (o->draining) {
        out_has_drained(o);
        return;
    }
    if (!o->x.end_sent)
        s2s_peer_blame(o->peer, S2S_AT_NO_ANSWER, SE_REMOTE_SERVER_TIMEOUT, false,
                       "it does not confirm what it is sent (s2s.ack-timeout)");
    o->end = PEER_END_BROKEN;
    xstream_abort(&o->x);
}

void s2s_out_close(struct s2s_out *o)
{
    s2s_flow_last_ack(out_flow(&o->x));
    xstream_close(&o->x, (slice){ 0 });
}

/* The header of the server, and its certificate. */

static bool out_server_fits(struct s2s_out *o)
{
    struct why why;
    enum s2s_stage flaw = !o->x.secure
                              ? S2S_AT_NONE
                              : s2s_server_flaw(o->x.conn, out_remote(o), out_scratch(o), &why);
    if (flaw == S2S_AT_NONE)
        return true;
    OUT_ENDS(o, flaw, SE_REMOTE_SERVER_TIMEOUT, true, "%s", why.text);
    return false;
}

static void out_header(struct xstream *x, slice unit)
{
    struct s2s_out *o = s2s_out_of(x);
    if (!s2s_header_fits(x, unit, out_remote(o)) || !out_server_fits(o))
        return;
    s2s_keep_id(&o->id, x, unit);
    slice lang = xstream_attr(x, unit, SLICE("xml:lang"));
    o->lang_len = lang.len > OUT_LANG_MAX || xml_needs_escape(lang) ? 0 : (uint8_t)lang.len;
    if (o->lang_len > 0)
        memcpy(o->lang, lang.ptr, lang.len);
    xstream_now(x, STREAM_GOT_HEADER);
}

/* Both directions on one stream (XEP-0288). What the server sends on it is of the domain that we
 * have opened it to: its certificate says so; or only that it is where we find the server of that
 * domain, which is as much as dialback says. */
static bool out_may_be_both(struct s2s_out *o)
{
    struct why why;
    return setting_bool(&s2s_bidi) && o->x.secure &&
           (s2s_demand_of(out_remote(o)).dialback ||
            s2s_certificate_proves(o->x.conn, out_remote(o), out_scratch(o), &why));
}

static void out_ask_both(struct s2s_out *o)
{
    if (!o->has_both || o->both)
        return;
    o->both = true;
    s2s_write_both(&o->x);
}

/* Dialback. */

static bool out_begin_dialback(struct s2s_out *o)
{
    char key[DIALBACK_KEY_LEN + 1];
    struct dialback d = { .receiving = out_remote(o),
                          .originating = out_local(o),
                          .stream_id = slice_of(o->id) };
    if (o->id == NULL || !s2s_key(key, &d, out_scratch(o)))
        return false;
    s2s_write_key(&o->x, out_local(o), out_remote(o), slice_of(key));
    xstream_now(&o->x, STREAM_ASK_DIALBACK);
    return true;
}

static void out_ask_keys(struct s2s_out *o)
{
    struct s2s_question q;
    while (s2s_keys_next(o->peer, &q))
        s2s_write_question(&o->x, out_local(o), out_remote(o), q.stream_id, q.key);
}

static void out_authenticate(struct s2s_out *o)
{
    out_ask_both(o);
    if (o->external == EXTERNAL_OFFERED) {
        xstream_now(&o->x, STREAM_ASK_SASL);
        s2s_write_external(&o->x, out_local(o));
    } else if (!s2s_demand_of(out_remote(o)).dialback)
        OUT_ENDS(o, S2S_AT_AUTHENTICATION, SE_REMOTE_SERVER_TIMEOUT,
                 !s2s_external_passes((enum s2s_external)o->external), "%s",
                 s2s_without_dialback((enum s2s_external)o->external,
                                      s2s_peer_external_said(o->peer), out_scratch(o)));
    else if (!out_begin_dialback(o))
        OUT_ENDS(o, S2S_AT_AUTHENTICATION, SE_REMOTE_SERVER_TIMEOUT, true,
                 "no key for dialback can be made");
}

void s2s_out_go_on(struct s2s_out *o)
{
    ensure(xstream_here(&o->x));
    if (o->peer == NULL || o->x.state != STREAM_FEATURES)
        return;
    if (s2s_peer_asks(o->peer))
        out_ask_keys(o);
    else
        out_authenticate(o);
}

/* Stanzas may be written now. <enable/> goes before them, and they count from there, also if the
 * answer is late. */
static void out_takes_stanzas(struct s2s_out *o)
{
    bool resumed = o->sm == OUT_COUNTS;
    o->up = true;
    xstream_timer(&o->x);
    if (!resumed && o->has_sm) {
        o->sm = OUT_ENABLING;
        xstream_write(&o->x, SLICE("<enable xmlns='" NS_SM "' resume='true'/>"));
    }
    if (!resumed)
        s2s_peer_set_session(o->peer, (slice){ 0 }, 0);
    s2s_peer_opened(o->peer, o->sm != OUT_NO_SM, !resumed);
}

/* Of a session whose stream had both directions, the other server hears what has come on that. */
static void out_resume(struct s2s_out *o)
{
    struct in_flow *f = out_flow(&o->x);
    struct buf b;
    struct xml_write w;
    o->sm = OUT_RESUMING;
    xml_begin(&w, &b, XML_PART_MAX);
    xml_open(&w, "resume", NS_SM);
    xml_attr_int(&w, "h", f == NULL ? 0 : s2s_flow_h(f));
    xml_attr(&w, "previd", s2s_peer_session(o->peer));
    xml_close(&w);
    xstream_write_buf(&o->x, &b);
}

void s2s_out_flow_rests(struct xstream *x)
{
    struct s2s_out *o = s2s_out_of(x);
    if (o->draining)
        out_has_drained(o);
}

/* It begins to take what the server sends, if that may send anything. */
static void out_begin_both(struct s2s_out *o)
{
    bool goes_on = s2s_peer_begins(o->peer, &o->x, o->both, o->has_sm);
    if (!goes_on)
        s2s_peer_set_session(o->peer, (slice){ 0 }, 0);
    if (!o->both)
        return;
    const struct xml_limits limits = limits_of_peer(setting_int(&s2s_stanza_bytes));
    xml_reader_set_limits(&o->x.reader, &limits);
}

static void out_is_up(struct s2s_out *o, enum out_auth how)
{
    ensure(o->auth == OUT_NOTHING && o->x.state == STREAM_BOUND);
    o->auth = (uint8_t)how;
    o->wrote_us = loop_now_us(worker_loop(o->x.worker));
    xstream_timer(&o->x);
    log_info(&log_s2s, LOG_EV("s2s.up"), LOG_S("domain", out_remote(o)),
             LOG_S("local", out_local(o)),
             LOG_C("auth", how == OUT_EXTERNAL ? "certificate" : "dialback"),
             LOG_C("tls", o->x.secure ? conn_tls_version(o->x.conn) : "none"),
             LOG_C("both", o->both ? "yes" : "no"), LOG_S("host", o->host),
             LOG_C("peer", conn_info_text(conn_info(o->x.conn)).text));
    out_begin_both(o);
    if (o->has_sm && s2s_peer_session(o->peer).len > 0)
        out_resume(o);
    else
        out_takes_stanzas(o);
}

/* XEP-0198. */

static void out_write_question(struct s2s_out *o)
{
    if (o->asked.open == 0)
        timer_set(worker_loop(o->x.worker), &o->wait, (uint64_t)setting_int(&s2s_ack_timeout));
    s2s_asked_one(&o->asked, s2s_peer_count(o->peer));
    xstream_write(&o->x, SLICE("<r xmlns='" NS_SM "'/>"));
}

static void out_ask(struct loop_defer *d)
{
    struct s2s_out *o = CONTAINER_OF(d, struct s2s_out, ask);
    bool ends = o->draining || o->x.end_sent;
    if (o->asked.open > 0 || o->sm < OUT_ENABLING || ends || !s2s_peer_is_unconfirmed(o->peer))
        return;
    out_write_question(o);
}

/* The last answer asks for the rest. */
static void out_ask_later(struct s2s_out *o)
{
    o->ask.fn = out_ask;
    if (o->sm >= OUT_ENABLING && o->asked.open == 0)
        loop_at_flush(worker_loop(o->x.worker), &o->ask);
}

static void out_ask_between(struct s2s_out *o)
{
    bool ends = o->draining || o->x.end_sent;
    if (o->sm >= OUT_ENABLING && ++o->asked.behind >= S2S_ASK_EACH && !ends)
        out_write_question(o);
}

/* XEP-0198 §4: a count that cannot be. */
static void out_miscounted(struct s2s_out *o, uint32_t h)
{
    char text[128];
    snprintf(text, sizeof text,
             "<handled-count-too-high xmlns='" NS_SM "' h='%u' send-count='%u'/>", h,
             s2s_peer_count(o->peer));
    s2s_peer_set_session(o->peer, (slice){ 0 }, 0);
    xstream_fail_with(&o->x, XE_UNDEFINED_CONDITION, SLICE("nothing was sent that this counts"),
                      slice_of(text));
}

static bool out_count(const struct elem *e, struct arena *tmp, uint32_t *h)
{
    int64_t n;
    if (!slice_int(elem_attr(e, "h", tmp), &n) || n < 0 || n > UINT32_MAX)
        return false;
    *h = (uint32_t)n;
    return true;
}

static void out_answered(struct s2s_out *o, uint32_t h)
{
    if (s2s_asked_answered(&o->asked, h))
        timer_cancel(&o->wait);
    else
        timer_set(worker_loop(o->x.worker), &o->wait, (uint64_t)setting_int(&s2s_ack_timeout));
}

/* The answers to <r/>, <enable/> and <resume/>. false: nothing of the kind was asked. */
static bool out_acked(struct s2s_out *o, const struct elem *e)
{
    uint32_t h;
    if (o->sm != OUT_COUNTS || !out_count(e, out_scratch(o), &h))
        return false;
    if (o->asked.open > 0 && !o->x.end_sent)
        out_answered(o, h);
    if (!s2s_peer_confirmed(o->peer, h))
        out_miscounted(o, h);
    else
        out_ask_later(o);
    return true;
}

static bool out_enabled(struct s2s_out *o, const struct elem *e)
{
    struct arena *tmp = out_scratch(o);
    slice resume = elem_attr(e, "resume", tmp);
    int64_t max_s;
    if (o->sm != OUT_ENABLING)
        return false;
    o->sm = OUT_COUNTS;
    if (o->both)
        s2s_flow_enable(out_flow(&o->x));
    if (slice_is(resume, "true") || slice_is(resume, "1")) {
        s2s_peer_set_session(o->peer, elem_attr(e, "id", tmp),
                             slice_int(elem_attr(e, "max", tmp), &max_s) ? max_s : 0);
        xstream_can_be_resumed(&o->x);
    }
    return true;
}

/* <resume/> was answered. right: that count can be. */
static void out_goes_on(struct s2s_out *o, bool right, uint32_t h)
{
    if (!right)
        out_miscounted(o, h);
    else
        out_takes_stanzas(o);
}

static bool out_resumed(struct s2s_out *o, const struct elem *e)
{
    struct arena *tmp = out_scratch(o);
    uint32_t h;
    if (o->sm != OUT_RESUMING || !out_count(e, tmp, &h) ||
        !slice_eq(elem_attr(e, "previd", tmp), s2s_peer_session(o->peer)))
        return false;
    o->sm = OUT_COUNTS;
    xstream_can_be_resumed(&o->x);
    if (o->both)
        s2s_flow_goes_on(out_flow(&o->x));
    out_goes_on(o, s2s_peer_confirmed(o->peer, h), h);
    return true;
}

/* <enable/> or <resume/> was refused. A session that is over may say what of it has arrived. */
static bool out_sm_refused(struct s2s_out *o, const struct elem *e)
{
    uint32_t h;
    if (o->sm == OUT_ENABLING) {
        o->sm = OUT_NO_SM;
        o->asked.open = 0;
        if (!o->x.end_sent) /* else that is what ends the stream */
            timer_cancel(&o->wait);
        s2s_peer_uncounted(o->peer);
        return true;
    }
    if (o->sm != OUT_RESUMING)
        return false;
    o->sm = OUT_NO_SM;
    s2s_peer_begins(o->peer, &o->x, o->both, false);
    bool counts = out_count(e, out_scratch(o), &h);
    out_goes_on(o, !counts || s2s_peer_confirmed(o->peer, h), h);
    return true;
}

static bool out_sm(struct s2s_out *o, const struct elem *e)
{
    if (slice_is(e->name, "a"))
        return out_acked(o, e);
    if (slice_is(e->name, "enabled"))
        return out_enabled(o, e);
    if (slice_is(e->name, "resumed"))
        return out_resumed(o, e);
    if (slice_is(e->name, "failed"))
        return out_sm_refused(o, e);
    if (!slice_is(e->name, "r") || o->sm != OUT_COUNTS)
        return false;
    if (o->both)
        s2s_flow_tells(out_flow(&o->x));
    else if (!o->x.end_sent) /* it has sent us no stanza on this stream */
        xstream_write(&o->x, SLICE("<a xmlns='" NS_SM "' h='0'/>"));
    return true;
}

/* Features, and answers. */

static enum s2s_external out_external(const struct s2s_out *o, const struct elem *features)
{
    const struct s2s_demand demand = s2s_demand_of(out_remote(o));
    if (!o->x.secure || !demand.external)
        return EXTERNAL_NOT_WANTED;
    if (!s2s_offers_external(features, out_scratch(o)))
        return EXTERNAL_NOT_OFFERED;
    return demand.dialback ? s2s_peer_external(o->peer) : EXTERNAL_OFFERED;
}

static void out_features(struct s2s_out *o, const struct elem *e)
{
    struct elem child;
    bool starttls = elem_child(e, "starttls", NS_TLS, &child);
    o->has_sm = elem_child(e, "sm", NS_SM, &child);
    o->max_bytes = stream_limits_read(e, out_scratch(o));
    xstream_now(&o->x, STREAM_GOT_FEATURES);
    if (o->x.state == STREAM_AUTHED) {
        xstream_now(&o->x, STREAM_IS_BOUND);
        out_is_up(o, OUT_EXTERNAL);
    } else if (!o->x.secure && starttls) {
        xstream_now(&o->x, STREAM_ASK_TLS);
        xstream_write(&o->x, SLICE("<starttls xmlns='" NS_TLS "'/>"));
    } else if (!o->x.secure && !s2s_peer_may_be_plain(o->peer)) {
        OUT_ENDS(o, S2S_AT_TLS, SE_REMOTE_SERVER_TIMEOUT, true,
                 "it offers no TLS (s2s.require-tls)");
    } else {
        o->has_both = elem_child(e, "bidi", NS_BIDI_FEATURE, &child) && out_may_be_both(o);
        o->external = (uint8_t)out_external(o, e);
        s2s_out_go_on(o); /* many servers know dialback without saying so */
    }
}

static void out_start_tls(struct s2s_out *o)
{
    struct s2s_gate *g = s2s_peer_gate(o->peer);
    o->tls_version = s2s_tls_version(g); /* before: a change behind it counts as one */
    s2s_start_tls(&o->x, g, "xmpp-server", out_local(o), out_remote(o));
}

static void out_sasl(struct s2s_out *o, const struct elem *e)
{
    if (slice_is(e->name, "success")) {
        xstream_now(&o->x, STREAM_PASSED);
        xstream_restart(&o->x);
    } else if (slice_is(e->name, "failure")) {
        char said[EXTERNAL_SAID_MAX];
        enum s2s_external how = s2s_external_failed(said, e, out_scratch(o));
        o->external = (uint8_t)how;
        s2s_peer_external_failed(o->peer, how, said, o->tls_version);
        xstream_now(&o->x, STREAM_REFUSED);
        s2s_out_go_on(o);
    } else {
        xstream_fail(&o->x, XE_UNSUPPORTED_STANZA_TYPE, SLICE("not an answer of EXTERNAL"));
    }
}

/* `from` and `to` of an answer are the domain of the server and one of ours. */
static bool out_answers_us(struct s2s_out *o, const struct elem *e, slice *local)
{
    struct arena *tmp = out_scratch(o);
    slice from;
    return jid_prep_domain(elem_attr(e, "from", tmp), tmp, &from) == OK &&
           jid_prep_domain(elem_attr(e, "to", tmp), tmp, local) == OK &&
           slice_eq(from, out_remote(o));
}

static bool out_result(struct s2s_out *o, const struct elem *e, slice local)
{
    slice type = elem_attr(e, "type", out_scratch(o));
    if (!slice_eq(local, out_local(o)) || o->x.state != STREAM_CHECKING)
        return false;
    if (slice_is(type, "valid")) {
        xstream_now(&o->x, STREAM_PASSED_ON);
        out_is_up(o, OUT_DIALBACK);
    } else {
        enum s2s_external before = (enum s2s_external)o->external;
        OUT_ENDS(o, S2S_AT_AUTHENTICATION, SE_REMOTE_SERVER_TIMEOUT,
                 !slice_is(type, "error") && !s2s_external_passes(before), "%s",
                 s2s_key_refused(e, before, s2s_peer_external_said(o->peer), out_scratch(o)));
    }
    return true;
}

static bool out_verified(struct s2s_out *o, const struct elem *e)
{
    struct arena *tmp = out_scratch(o);
    slice type = elem_attr(e, "type", tmp);
    enum s2s_verdict v = slice_is(type, "valid")     ? S2S_VALID
                         : slice_is(type, "invalid") ? S2S_INVALID
                                                     : S2S_UNKNOWN;
    if (!s2s_keys_answer(o->peer, elem_attr(e, "id", tmp), v))
        return false;
    if (!s2s_keys_are_left(o->peer))
        s2s_out_close(o);
    return true;
}

/* An element that answers nothing ends the stream: the server has another one for its stanzas. */
static void out_answer(struct s2s_out *o, const struct elem *e)
{
    bool known = false;
    slice local;
    if (slice_is(e->ns_uri, NS_DIALBACK) && out_answers_us(o, e, &local)) {
        if (slice_is(e->name, "result"))
            known = out_result(o, e, local);
        else if (slice_is(e->name, "verify") && slice_eq(local, out_local(o)))
            known = out_verified(o, e);
    }
    if (!known)
        xstream_fail(&o->x, XE_UNSUPPORTED_STANZA_TYPE,
                     SLICE("nothing was asked that this answers"));
}

static void out_element(struct xstream *x, const struct xstream_unit *u)
{
    struct s2s_out *o = s2s_out_of(x);
    switch (u->step.action) {
    case STREAM_DO_CHOOSE:
        out_features(o, &u->elem);
        break;
    case STREAM_DO_TLS:
        xstream_now(x, STREAM_GOT_PROCEED);
        out_start_tls(o);
        break;
    case STREAM_DO_SASL:
        out_sasl(o, &u->elem);
        break;
    case STREAM_DO_ANSWER:
        out_answer(o, &u->elem);
        break;
    default:
        ensure_debug(false);
        break;
    }
}

/* Of a stream of one direction: the answer to our ping is all that may come on it. */
static bool out_pong(struct s2s_out *o, const struct elem *e)
{
    struct arena *tmp = out_scratch(o);
    slice type = elem_attr(e, "type", tmp),
          remote = s2s_attr_domain(&o->x, elem_attr(e, "from", tmp)),
          local = s2s_attr_domain(&o->x, elem_attr(e, "to", tmp));
    if (!o->up || o->peer == NULL || o->x.end_sent || !slice_is(e->name, "iq") ||
        !slice_is(e->ns_uri, NS_SERVER) || !(slice_is(type, "result") || slice_is(type, "error")) ||
        !slice_eq(remote, out_remote(o)))
        return false;
    return slice_eq(local, out_local(o)) && s2s_peer_ponged(o->peer, elem_attr(e, "id", tmp));
}

static void out_other(struct xstream *x, slice unit)
{
    struct s2s_out *o = s2s_out_of(x);
    struct elem e;
    if (!xstream_elem(x, unit, &e))
        xstream_fail(x, XE_INVALID_XML, (slice){ 0 });
    else if (!o->both && out_pong(o, &e))
        return;
    else if (!slice_is(e.ns_uri, NS_SM))
        out_answer(o, &e);
    else if (!out_sm(o, &e))
        xstream_fail(x, XE_UNSUPPORTED_STANZA_TYPE, SLICE("nothing was asked that this answers"));
}

/* It hears no more of what comes. If it counts, it sends that again. */
static bool out_takes(const struct s2s_out *o)
{
    return o->sm != OUT_COUNTS || !(o->x.end_sent || o->skipped);
}

/* Only of the domain that it was opened to, to ours that is proved on it. */
static bool out_may_send(struct xstream *x, slice remote, slice local)
{
    struct s2s_out *o = s2s_out_of(x);
    bool banned = (x->end_sent || !o->up) && s2s_ban(x->worker, local, remote) != NULL;
    o->skipped |= banned;
    if (banned || !out_takes(o))
        return false;
    if (slice_eq(remote, out_remote(o)) && slice_eq(local, out_local(o))) {
        remote_domain_heard(x->worker, remote, &o->heard_us);
        return true;
    }
    xstream_fail(x, XE_INVALID_FROM, SLICE("this stream is not of these domains"));
    return false;
}

static void out_route(struct xstream *x, struct stanza *st) { s2s_flow_route(out_flow(x), st); }

/* A stanza that is not taken is not counted: h of the next stream would say that it was. */
static struct in_flow *out_counted(const struct xstream *x)
{
    return out_takes(s2s_out_const(x)) ? out_flow(x) : NULL;
}

static bool out_counts(const struct xstream *x) { return s2s_out_const(x)->sm == OUT_COUNTS; }

static void out_leaves(struct xstream *x)
{
    struct s2s_out *o = s2s_out_of(x);
    o->skipped = true;
    if (o->up)
        s2s_peer_event(o->peer, PEER_CLOSE);
}

static void out_stanza(struct xstream *x, slice unit)
{
    static const struct s2s_taker taker = { out_may_send, out_other,  out_route,
                                            out_counted,  out_counts, out_leaves };
    const struct s2s_out *o = s2s_out_of(x);
    if (o->both)
        s2s_take(x, unit, (slice){ o->lang, o->lang_len }, &taker);
    else
        out_other(x, unit);
}

/* Output and time. */

uint32_t s2s_out_max_bytes(const struct s2s_out *o) { return o->max_bytes; }

void s2s_out_write(struct s2s_out *o, const struct stanza *st, const struct stanza_note *note)
{
    ensure(o->up && o->x.state != STREAM_CLOSED && !o->x.end_sent);
    struct stanza *other = foreign_outward(o->x.worker, st);
    xstream_tcp.stanza(&o->x, other != NULL ? other : st, note);
    stanza_unref(&other);
    metric_add_to(&s2s_stanzas, S2S_SENT, 1);
    s2s_domain_stanza(out_remote(o), true);
    o->wrote_us = loop_now_us(worker_loop(o->x.worker));
    out_ask_between(o);
    out_ask_later(o);
    if (conn_is_high(o->x.conn))
        s2s_peer_full(o->peer, true);
}

static void out_slow(struct xstream *x, bool on)
{
    struct s2s_out *o = s2s_out_of(x);
    if (!on && o->up && o->peer != NULL)
        s2s_peer_full(o->peer, false);
}

static uint64_t out_due_ms(const struct xstream *x)
{
    return s2s_out_const(x)->up ? (uint64_t)setting_int(&s2s_idle)
                                : xstream_left_ms(x, S2S_LOGIN_MS);
}

static void out_idle(struct xstream *x)
{
    struct s2s_out *o = s2s_out_of(x);
    uint64_t last_us =
                 o->both && xstream_last_us(x) > o->wrote_us ? xstream_last_us(x) : o->wrote_us,
             quiet_ms = (loop_now_us(worker_loop(x->worker)) - last_us) / 1000;
    uint64_t idle_ms = (uint64_t)setting_int(&s2s_idle);
    bool waits = s2s_peer_is_unconfirmed(o->peer) || s2s_flow_is_due(out_flow(x)) || x->end_sent ||
                 o->draining;
    if (!o->up) /* it does not answer <resume/> */
        xstream_fail(x, XE_CONNECTION_TIMEOUT, SLICE("the stream was not resumed in time"));
    else if (quiet_ms >= idle_ms && !waits)
        s2s_peer_event(o->peer, PEER_CLOSE);
    else
        timer_set(worker_loop(x->worker), &x->timer,
                  quiet_ms >= idle_ms ? 1000 : idle_ms - quiet_ms + 100);
}

static void out_free(struct xstream *x)
{
    struct s2s_out *o = s2s_out_of(x);
    ensure(o->peer == NULL);
    xstream_fini(x);
    metric_add_to(&s2s_streams, S2S_SENT, -1);
    mem_free(&o->id);
    slice_release(&o->host);
    mem_free(&o);
}

static void out_check(const struct xstream *x)
{
    const struct s2s_out *o = (const struct s2s_out *)x;
    ensure((o->peer == NULL) == (x->state == STREAM_CLOSED));
    ensure((x->state == STREAM_BOUND) <= (o->auth != OUT_NOTHING));
    ensure(o->up <= (o->auth != OUT_NOTHING));
    ensure(o->asked.open == 0 || o->sm >= OUT_ENABLING);
    ensure(!o->draining || o->up);
}

static const struct xstream_rates out_rates = { &s2s_stanza_rate, &s2s_byte_rate };
static const struct xstream_ops out_ops = { .rates = &out_rates,
                                            .reads_last = true,
                                            .late = "it was not ready for stanzas in time",
                                            .greet = out_greet,
                                            .header = out_header,
                                            .element = out_element,
                                            .stanza = out_stanza,
                                            .heard = out_heard,
                                            .drains = out_drains,
                                            .gone = out_gone,
                                            .closing = out_closing,
                                            .failed = out_failed,
                                            .slow = out_slow,
                                            .due_ms = out_due_ms,
                                            .idle = out_idle,
                                            .free = out_free,
                                            .check = out_check };

struct s2s_out *s2s_out_start(struct s2s_peer *p, const struct s2s_found *found)
{
    struct worker *w = worker_here();
    struct s2s_out *o = mem_new(struct s2s_out);
    o->peer = p;
    o->direct = found->tls;
    o->host = slice_keep(found->host);
    o->wait.fn = out_waits_in_vain;
    o->x.ops = &out_ops;
    o->x.role = STREAM_TO_SERVER;
    s2s_begin(&o->x, found->conn, w, &s2s_worker(s2s_peer_gate(p), w)->out);
    metric_add_to(&s2s_streams, S2S_SENT, 1);
    if (found->tls)
        out_start_tls(o);
    conn_start(found->conn, &xstream_conn_ops, o);
    out_greet(&o->x);
    return o;
}

enum s2s_stage s2s_out_stage(const struct s2s_out *o, bool late)
{
    return s2s_stage_of(&o->x, o->direct, late);
}

uint64_t s2s_out_id(const struct s2s_out *o) { return o->x.id; }
const struct conn *s2s_out_conn(const struct s2s_out *o) { return o->x.conn; }
slice s2s_out_host(const struct s2s_out *o) { return o->host; }

bool s2s_out_is_pinned(const struct s2s_out *o)
{
    return o->x.conn != NULL && s2s_is_pinned(o->x.conn, out_remote(o), out_scratch(o));
}

void s2s_out_describe(const struct s2s_out *o, const char **tls, const char **auth)
{
    static const char *const names[] = {
        [OUT_NOTHING] = "", [OUT_EXTERNAL] = "certificate", [OUT_DIALBACK] = "dialback"
    };
    *tls = o->x.secure ? conn_tls_version(o->x.conn) : "";
    *auth = names[o->auth];
}
