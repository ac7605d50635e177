#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "gate/s2s/s2s_demand.h"
#include "gate/s2s/s2s_domains.h"
#include "gate/s2s/s2s_find.h"
#include "gate/s2s/s2s_in_sm.h"
#include "gate/s2s/s2s_out_ends.h"
#include "gate/s2s/s2s_out_private.h"
#include "gate/s2s/s2s_out_sm.h"
#include "gate/s2s/s2s_partner.h"
#include "gate/s2s/s2s_partner_keys.h"
#include "gate/s2s/s2s_proof.h"
#include "gate/s2s/s2s_rows.h"
#include "gate/s2s/s2s_share.h"
#include "gate/s2s/s2s_take.h"
#include "gate/s2s/s2s_words.h"
#include "gate/stanza_limits.h"
#include "gate/stream_limits.h"
#include "im/abroad.h"
#include "im/foreign.h"
#include "io/tls.h"
#include "io/tls_client.h"
#include "xmpp/ns.h"
#include <stdio.h>
#include <string.h>

enum { PATIENCE_MS = 2000 };

static void out_greet(struct xstream *x)
{
    const struct s2s_out *o = s2s_out_of(x);
    if (o->partner == NULL)
        return;
    xstream_open(x, &(struct xstream_header){ .ns = NS_SERVER,
                                              .from = out_local(o),
                                              .to = out_remote(o),
                                              .version = SLICE("1.0"),
                                              .dialback = true });
}

/* The stream is of no use, and why. */
#define OUT_ENDS(o, at, e, hard, ...)                                                              \
    do {                                                                                           \
        partner_blame((o)->partner, at, e, hard, __VA_ARGS__);                                     \
        xstream_close(&(o)->x, (slice){ 0 });                                                      \
    } while (0)

static void out_failed(struct xstream *x, enum stream_error e, slice text)
{
    struct s2s_out *o = s2s_out_of(x);
    if (o->partner == NULL)
        return;
    s2s_flow_last_ack(s2s_out_flow(x));
    partner_blame(o->partner, s2s_out_stage(o, e == XE_CONNECTION_TIMEOUT),
                  SE_REMOTE_SERVER_TIMEOUT, e != XE_CONNECTION_TIMEOUT,
                  "we ended the stream: %s%s%.*s", stream_error_name(e), text.len > 0 ? ": " : "",
                  SLICE_ARG(text));
    partner_hopes(o->partner); /* what answers may be something in its place, for a while */
}

static void out_heard(struct xstream *x, const struct elem *error)
{
    struct s2s_out *o = s2s_out_of(x);
    struct elem condition, text;
    slice words = { 0 };
    o->heard = true;
    if (o->partner == NULL)
        return;
    if (o->auth != OUT_NOTHING)
        abroad_seen(x->worker, out_remote(o), ABROAD_BROKEN);
    if (!elem_first(error, &condition))
        return;
    if (o->up && s2s_is_offended(condition.name))
        share_blames(o, partner_offends);
    if (slice_is(condition.name, "see-other-host"))
        partner_see_other(o->partner, elem_text(&condition, out_scratch(o)));
    if (elem_child(error, "text", NS_STREAM_ERROR, &text))
        words = elem_text(&text, out_scratch(o));
    bool unknown = !o->up && slice_is(condition.name, "host-unknown");
    enum s2s_stage at = s2s_out_stage(o, false);
    partner_blame(o->partner, o->up ? at : s2s_stage_said(at, condition.name),
                  unknown ? SE_REMOTE_SERVER_NOT_FOUND : SE_REMOTE_SERVER_TIMEOUT, unknown,
                  "the server says: %.*s%s%.*s",
                  (int)(condition.name.len < 64 ? condition.name.len : 64), condition.name.ptr,
                  words.len > 0 ? ": " : "", (int)(words.len < 128 ? words.len : 128), words.ptr);
    if (unknown) /* it may be set up in a moment: what is stored waits */
        partner_hopes(o->partner);
}

/* The server counts nothing, and its end says that it has read what was written to it (RFC 6120
 * §4.4): an end that answers ours does, unless it was asked before and has not answered. If the
 * server ends first, the end of its connection does, for partners whose pings it does not answer;
 * it can have been sent before our end came, so its system must have taken that. A server that has
 * ended instead of answering <enable/>, which was in front, has read nothing. */
static bool out_ends_confirm(const struct s2s_out *o, enum xstream_end why)
{
    return o->sm == OUT_NO_SM && o->x.end_sent && s2s_out_has_arrived(o) &&
           why == (o->peer_ended ? XSTREAM_LOST : XSTREAM_ENDED);
}

static void out_gone(struct xstream *x, enum xstream_end why)
{
    struct s2s_out *o = s2s_out_of(x);
    bool ended = why == XSTREAM_ENDED || (why == XSTREAM_LOST && o->peer_ended);
    bool confirms = out_ends_confirm(o, why); /* before anything more is written */
    if (ended)
        s2s_flow_last_ack(s2s_out_flow(x));
    else if (o->partner != NULL && (o->both || o->up))
        partner_rejoins(o->partner);
    if (o->partner != NULL && o->auth != OUT_NOTHING && !ended)
        abroad_seen(x->worker, out_remote(o), ABROAD_BROKEN);
    if (o->partner != NULL && o->up && !ended && s2s_is_broken(x, why))
        share_blames(o, partner_breaks);
    if (o->partner != NULL && why == XSTREAM_BROKEN)
        partner_blame(o->partner, s2s_out_stage(o, false), SE_REMOTE_SERVER_TIMEOUT, false,
                      "the connection failed: %s", conn_error(x->conn));
    if (o->partner == NULL || !o->up || !ended || o->heard)
        return;
    share_each(o, partner_ended);
    if (confirms)
        share_each(o, o->peer_ended    ? partner_confirms_by_end
                      : o->asked_first ? partner_confirms_if_not_asked
                                       : partner_confirm_all);
}

static void out_closing(struct xstream *x)
{
    struct s2s_out *o = s2s_out_of(x);
    struct partner *p = o->partner;
    if (p != NULL)
        partner_parts(p);
    o->partner = NULL;
    timer_cancel(&o->patience);
    timer_cancel(&o->wait);
    timer_cancel(&o->quiet);
    loop_defer_cancel(&o->ask);
    if (p != NULL) {
        share_gone(o, p);
        partner_lost(p, o->up || o->anew);
    }
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
    slice id = xstream_attr(x, unit, SLICE("id"));
    if (!s2s_header_fits(x, unit, out_remote(o)) || !out_server_fits(o))
        return;
    mem_free(&o->id);
    if (id.len > 0 && id.len <= DIALBACK_ID_MAX) {
        o->id = mem_alloc(id.len + 1);
        memcpy(o->id, id.ptr, id.len);
        o->id[id.len] = '\0';
    }
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

bool s2s_out_prove(struct s2s_out *o, slice local)
{
    char key[DIALBACK_KEY_LEN + 1];
    struct dialback d = { .receiving = out_remote(o),
                          .originating = local,
                          .stream_id = slice_of(o->id) };
    if (o->id == NULL || !s2s_key(key, &d, out_scratch(o)))
        return false;
    s2s_write_key(&o->x, local, out_remote(o), slice_of(key));
    return true;
}

static bool out_begin_dialback(struct s2s_out *o)
{
    if (!s2s_out_prove(o, out_local(o)))
        return false;
    xstream_now(&o->x, STREAM_ASK_DIALBACK);
    return true;
}

static void out_ask_keys(struct s2s_out *o)
{
    struct partner_question q;
    while (partner_next_question(o->partner, &q))
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
                                      partner_external_said(o->partner), out_scratch(o)));
    else if (!out_begin_dialback(o))
        OUT_ENDS(o, S2S_AT_AUTHENTICATION, SE_REMOTE_SERVER_TIMEOUT, true,
                 "no key for dialback can be made");
}

/* The answers have not come in time. Stanzas wait for the next stream from its beginning, so it
 * authenticates first. */
static void out_impatient(struct timer *t, struct loop *loop)
{
    struct s2s_out *o = CONTAINER_OF(t, struct s2s_out, patience);
    (void)loop;
    if (o->x.state != STREAM_FEATURES)
        return;
    o->anew = true;
    xstream_close(&o->x, (slice){ 0 });
}

/* The authentication of EXTERNAL restarts the stream: not while an answer is awaited. Peers can
 * make us ask at any time: what is not asked yet waits until the stanzas have a stream. */
void s2s_out_go_on(struct s2s_out *o)
{
    bool early = o->x.state == STREAM_FEATURES, up = o->up;
    ensure(xstream_here(&o->x));
    if (o->partner == NULL)
        return;
    if (early && partner_has_stanzas(o->partner)) {
        if (!partner_is_asking(o->partner)) {
            /* a question alone may have made it long ago */
            o->x.opened_us = loop_now_us(worker_loop(o->x.worker));
            xstream_timer(&o->x);
            out_authenticate(o);
        } else if (!timer_is_set(&o->patience))
            timer_set(worker_loop(o->x.worker), &o->patience, PATIENCE_MS);
    } else if (early || up || o->x.state == STREAM_CHECKING) {
        out_ask_keys(o);
    }
}

/* Stanzas may be written now. <enable/> goes before them, and they count from there, also if the
 * answer is late. */
void s2s_out_takes_stanzas(struct s2s_out *o)
{
    bool resumed = o->sm == OUT_COUNTS;
    o->up = true;
    xstream_timer(&o->x);
    if (!resumed && o->has_sm) {
        o->sm = OUT_ENABLING;
        xstream_write(&o->x, SLICE("<enable xmlns='" NS_SM "' resume='true'/>"));
    }
    if (!resumed)
        partner_set_session(o->partner, (slice){ 0 });
    partner_up(o->partner, o->sm != OUT_NO_SM, !resumed);
    if (o->partner != NULL) {
        s2s_out_go_on(o);
        share_opens(o->partner);
    }
}

struct in_flow *s2s_out_flow(const struct xstream *x)
{
    const struct s2s_out *o = s2s_out_const(x);
    return o->partner == NULL || !o->both ? NULL : partner_flow(o->partner);
}

/* Of a session whose stream had both directions, the other server hears what has come on that. */
static void out_resume(struct s2s_out *o)
{
    struct in_flow *f = s2s_out_flow(&o->x);
    struct buf b;
    struct xml_write w;
    o->sm = OUT_RESUMING;
    partner_asks_session(o->partner);
    o->resume_due = f != NULL && !s2s_flow_is_known(f);
    if (o->resume_due)
        return;
    xml_begin(&w, &b, XML_PART_MAX);
    xml_open(&w, "resume", NS_SM);
    xml_attr_int(&w, "h", f == NULL ? 0 : s2s_flow_h(f));
    xml_attr(&w, "previd", partner_session(o->partner));
    xml_close(&w);
    xstream_write_buf(&o->x, &b);
}

void s2s_out_flow_rests(struct xstream *x)
{
    struct s2s_out *o = s2s_out_of(x);
    if (o->resume_due && !s2s_flow_is_lost(s2s_out_flow(x)))
        out_resume(o);
    else if (o->draining)
        s2s_out_has_drained(o);
}

/* It begins to take what the server sends, if that may send anything. */
static void out_begin_both(struct s2s_out *o)
{
    bool goes_on = partner_begins(o->partner, &o->x, o->both, o->has_sm);
    if (!goes_on)
        partner_set_session(o->partner, (slice){ 0 });
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
    if (o->has_sm && partner_session(o->partner).len > 0)
        out_resume(o);
    else
        s2s_out_takes_stanzas(o);
}

/* Features, and answers. */

static enum s2s_external out_external(const struct s2s_out *o, const struct elem *features)
{
    const struct s2s_demand demand = s2s_demand_of(out_remote(o));
    if (!o->x.secure || !demand.external)
        return EXTERNAL_NOT_WANTED;
    if (!s2s_offers_external(features, out_scratch(o)))
        return EXTERNAL_NOT_OFFERED;
    return demand.dialback ? partner_external(o->partner) : EXTERNAL_OFFERED;
}

static void out_features(struct s2s_out *o, const struct elem *e)
{
    struct elem child;
    bool starttls = elem_child(e, "starttls", NS_TLS, &child);
    o->has_sm = elem_child(e, "sm", NS_SM, &child);
    o->max_bytes = stream_limits_read(e, out_scratch(o));
    o->has_errors = elem_child(e, "dialback", NS_DIALBACK_FEATURE, &child) &&
                    elem_child(&child, "errors", NS_DIALBACK_FEATURE, &child);
    xstream_now(&o->x, STREAM_GOT_FEATURES);
    if (o->x.state == STREAM_AUTHED) {
        xstream_now(&o->x, STREAM_IS_BOUND);
        out_is_up(o, OUT_EXTERNAL);
    } else if (!o->x.secure && starttls) {
        xstream_now(&o->x, STREAM_ASK_TLS);
        xstream_write(&o->x, SLICE("<starttls xmlns='" NS_TLS "'/>"));
    } else if (!o->x.secure && !partner_may_be_plain(o->partner)) {
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
    static const slice alpn[] = { SLICE_INIT("xmpp-server") };
    struct s2s_gate *g = partner_gate(o->partner);
    struct tls_trust *trust = tls_trusted_get(g->trusted);
    o->tls_version = s2s_tls_version(g); /* before: a change behind it counts as one */
    struct tls_ctx *own = s2s_tls(g);
    conn_start_tls_client(
        o->x.conn,
        &(struct tls_call){ .server_name = s2s_server_name(out_remote(o), out_scratch(o)),
                            .alpn = alpn,
                            .alpn_count = 1,
                            .trust = trust,
                            .demand = TLS_REPORT,
                            .own = own,
                            .own_domain = s2s_ascii(out_local(o), out_scratch(o)) });
    tls_trust_unref(&trust);
    tls_ctx_unref(&own);
}

static void out_tls(struct s2s_out *o)
{
    xstream_now(&o->x, STREAM_GOT_PROCEED);
    out_start_tls(o);
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
        partner_external_failed(o->partner, how, said, o->tls_version);
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
    if (!slice_eq(local, out_local(o)))
        return share_result(o, local,
                            slice_is(type, "valid")
                                ? NULL
                                : s2s_key_refused(e, EXTERNAL_OFFERED, "", out_scratch(o)));
    if (o->x.state != STREAM_CHECKING)
        return false;
    if (slice_is(type, "valid")) {
        xstream_now(&o->x, STREAM_PASSED_ON);
        out_is_up(o, OUT_DIALBACK);
    } else {
        enum s2s_external before = (enum s2s_external)o->external;
        OUT_ENDS(o, S2S_AT_AUTHENTICATION, SE_REMOTE_SERVER_TIMEOUT,
                 !slice_is(type, "error") && !s2s_external_passes(before), "%s",
                 s2s_key_refused(e, before, partner_external_said(o->partner), out_scratch(o)));
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
    if (!partner_answer(o->partner, elem_attr(e, "id", tmp), v))
        return false;
    s2s_out_go_on(o);
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
        out_tls(o);
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
    if (!o->up || o->partner == NULL || o->x.end_sent || !slice_is(e->name, "iq") ||
        !slice_is(e->ns_uri, NS_SERVER) || !(slice_is(type, "result") || slice_is(type, "error")) ||
        !slice_eq(remote, out_remote(o)))
        return false;
    struct partner *p = share_partner(o, local);
    return p != NULL && partner_pongs(p, elem_attr(e, "id", tmp));
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
    else if (!s2s_out_sm(o, &e))
        xstream_fail(x, XE_UNSUPPORTED_STANZA_TYPE, SLICE("nothing was asked that this answers"));
}

/* It hears no more of what comes. If it counts, it sends that again. */
static bool out_takes(const struct s2s_out *o)
{
    return o->sm != OUT_COUNTS || !(o->x.end_sent || o->skipped);
}

/* Only of the domain that it was opened to, to those of ours that are proved on it. */
static bool out_may_send(struct xstream *x, slice remote, slice local)
{
    struct s2s_out *o = s2s_out_of(x);
    bool banned = (x->end_sent || !o->up) && s2s_ban(x->worker, local, remote) != NULL;
    o->skipped |= banned;
    if (banned || !out_takes(o))
        return false;
    if (slice_eq(remote, out_remote(o)) &&
        (slice_eq(local, out_local(o)) ||
         (share_may_send(o, local) && s2s_ban(x->worker, local, remote) == NULL))) {
        abroad_heard(x->worker, remote, &o->heard_us);
        return true;
    }
    xstream_fail(x, XE_INVALID_FROM, SLICE("this stream is not of these domains"));
    return false;
}

static void out_route(struct xstream *x, struct stanza *st) { s2s_flow_route(s2s_out_flow(x), st); }

/* A stanza that is not taken is not counted: h of the next stream would say that it was. */
static struct in_flow *out_counted(const struct xstream *x)
{
    return out_takes(s2s_out_const(x)) ? s2s_out_flow(x) : NULL;
}

static bool out_counts(const struct xstream *x) { return s2s_out_const(x)->sm == OUT_COUNTS; }

static void out_leaves(struct xstream *x)
{
    struct s2s_out *o = s2s_out_of(x);
    o->skipped = true;
    if (o->up)
        partner_ends(o->partner);
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

void s2s_out_is_full(struct s2s_out *o)
{
    if (conn_is_high(o->x.conn))
        share_each(o, partner_full);
}

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
    if (o->share != NULL)
        share_wrote(o);
    s2s_out_ask_between(o);
    s2s_out_ask_later(o);
    s2s_out_is_full(o);
}

static void out_slow(struct xstream *x, bool on)
{
    struct s2s_out *o = s2s_out_of(x);
    if (!on && o->up && o->partner != NULL)
        share_each(o, partner_room);
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
    bool waits = (partner_is_asking(o->partner) && quiet_ms < idle_ms + S2S_LOGIN_MS) ||
                 share_is_unconfirmed(o) || s2s_out_handles(o) || o->x.end_sent;
    if (!o->up) { /* it does not answer <resume/> */
        xstream_fail(x, XE_CONNECTION_TIMEOUT, SLICE("the stream was not resumed in time"));
        return;
    }
    if (quiet_ms >= idle_ms && !waits && o->both && o->sm != OUT_COUNTS)
        partner_ends(o->partner); /* what it writes meanwhile would be lost */
    else if (quiet_ms >= idle_ms && !waits)
        s2s_out_close(o);
    else
        timer_set(worker_loop(x->worker), &x->timer,
                  quiet_ms >= idle_ms ? 1000 : idle_ms - quiet_ms + 100);
}

static void out_free(struct xstream *x)
{
    struct s2s_out *o = s2s_out_of(x);
    ensure(o->partner == NULL && o->share == NULL);
    xstream_fini(x);
    metric_add_to(&s2s_streams, S2S_SENT, -1);
    mem_free(&o->id);
    slice_release(&o->host);
    mem_free(&o);
}

static void out_check(const struct xstream *x)
{
    const struct s2s_out *o = (const struct s2s_out *)x;
    ensure((o->partner == NULL) == (x->state == STREAM_CLOSED));
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
                                            .drains = s2s_out_drains,
                                            .gone = out_gone,
                                            .closing = out_closing,
                                            .failed = out_failed,
                                            .slow = out_slow,
                                            .due_ms = out_due_ms,
                                            .idle = out_idle,
                                            .free = out_free,
                                            .check = out_check };

struct s2s_out *s2s_out_start(struct partner *p, const struct s2s_found *found)
{
    struct worker *w = worker_here();
    struct s2s_out *o = mem_new(struct s2s_out);
    o->partner = p;
    o->direct = found->tls;
    o->host = slice_keep(found->host);
    o->patience.fn = out_impatient;
    s2s_out_ends_init(o);
    o->x.ops = &out_ops;
    o->x.way = &xstream_tcp;
    o->x.role = STREAM_TO_SERVER;
    o->x.conn = found->conn;
    xstream_init(&o->x, w,
                 &(struct xml_limits){
                     .unit_bytes = S2S_HEADER_BYTES, .depth = 32, .attrs = 64, .name_bytes = 256 });
    xstream_adopt(&o->x, w, &s2s_worker(partner_gate(p), w)->out);
    metric_add_to(&s2s_streams, S2S_SENT, 1);
    xstream_timer(&o->x);
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
