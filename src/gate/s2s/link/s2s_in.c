#include "gate/s2s/link/s2s_in.h"
#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "gate/s2s/find/s2s_find.h"
#include "gate/s2s/find/s2s_lists.h"
#include "gate/s2s/link/s2s_in_back.h"
#include "gate/s2s/link/s2s_in_private.h"
#include "gate/s2s/link/s2s_in_sm.h"
#include "gate/s2s/link/s2s_proof.h"
#include "gate/s2s/link/s2s_take.h"
#include "gate/s2s/peer/s2s_peer_back.h"
#include "gate/s2s/s2s_domains.h"
#include "gate/s2s/s2s_rows.h"
#include "gate/s2s/s2s_words.h"
#include "gate/stream_limits.h"
#include "home/question.h"
#include "io/tls.h"
#include "remote/remote_domains.h"
#include "xmpp/ns.h"

enum {
    ENDING_MS = 2000, /* from our end of a stream to the peer's, or until all is handled */
    SASL_BYTES_MAX = 2048,
    STOPPING_MS = 1000, /* when the edge stops: see s2s.c */
    LANG_MAX = 35,      /* bytes (RFC 5646 §4.4.1) */
    SASL_FAILURES_MAX = 3
};

static slice in_id_of(const void *item)
{
    return (slice){ (const char *)&((const struct s2s_in *)item)->x.id, sizeof(uint64_t) };
}
void s2s_in_map_init(struct map *m) { map_init(m, in_id_of); }

/* The header. */

static void in_greet(struct xstream *x)
{
    struct s2s_in *s = s2s_in_of(x);
    rand_hex(s->id, IN_ID_BYTES);
    xstream_open(x, &(struct xstream_header){ .ns = NS_SERVER,
                                              .id = slice_of(s->id),
                                              .from = s->local.len > 0 ? s->local : (slice){ 0 },
                                              .version = SLICE("1.0"),
                                              .lang = SLICE("en"),
                                              .to = s->remote.len > 0 ? s->remote : (slice){ 0 },
                                              .dialback = true });
}

static void in_forget_header(struct s2s_in *s)
{
    slice_release(&s->remote);
    slice_release(&s->local);
    slice_release(&s->lang);
}

static void in_keep_header(struct s2s_in *s, slice remote, slice local, slice lang)
{
    in_forget_header(s);
    s->remote = slice_keep(remote);
    s->local = slice_keep(local);
    if (lang.len <= LANG_MAX && !xml_needs_escape(lang))
        s->lang = slice_keep(lang);
}

/* As it is logged if it is no domain. */
static slice in_asked_for(slice domain, slice attr)
{
    enum { SHOWN_MAX = 255 };
    attr.len = attr.len < SHOWN_MAX ? attr.len : SHOWN_MAX;
    return domain.len > 0 ? domain : attr;
}

static bool in_header_fits(struct s2s_in *s, slice unit)
{
    bool fits = false;
    slice version = xstream_attr(&s->x, unit, SLICE("version")),
          from = xstream_attr(&s->x, unit, SLICE("from")), remote = in_domain(s, from),
          to = xstream_attr(&s->x, unit, SLICE("to")), local = in_domain(s, to);
    s->asked = &(struct in_asked){ in_asked_for(remote, from), in_asked_for(local, to) };
    if (!xstream_is_header(&s->x, unit) ||
        !slice_is(xml_stream_default_ns(&s->x.reader), NS_SERVER)) {
        xstream_fail(&s->x, XE_INVALID_NAMESPACE, (slice){ 0 });
    } else if (version.len < 2 || version.ptr[0] == '0' || version.ptr[1] != '.') {
        xstream_fail(&s->x, XE_UNSUPPORTED_VERSION, SLICE("this server speaks version 1.0"));
    } else if (local.len == 0 || !s2s_is_ours(s->x.worker, local)) {
        xstream_fail(&s->x, XE_HOST_UNKNOWN, SLICE("this domain is not served here"));
    } else if (!s2s_federates(s->x.worker, local)) {
        xstream_fail(&s->x, XE_POLICY_VIOLATION, SLICE("this server does not federate"));
    } else if (from.ptr != NULL && remote.len == 0) {
        xstream_fail(&s->x, XE_INVALID_FROM, SLICE("not a domain"));
    } else if (s->external && (!slice_eq(remote, s->remote) || !slice_eq(local, s->local))) {
        xstream_fail(&s->x, XE_INVALID_FROM, SLICE("authenticated for other domains"));
    } else if (remote.len == 0 || in_may_come_from(s, remote, local)) {
        in_keep_header(s, remote, local, xstream_attr(&s->x, unit, SLICE("xml:lang")));
        fits = true;
    }
    s->asked = NULL;
    return fits;
}

/* Features (RFC 6120 §4.3.2). */

/* false: `why`. */
static bool in_offers_external(struct s2s_in *s, struct why *why)
{
    if (s->x.secure && s->remote.len > 0)
        return s2s_certificate_proves(s->x.conn, s->remote, in_scratch(s), why);
    why_set(why, s->x.secure ? "its stream does not say of which domain it is" : "it has no TLS");
    return false;
}

/* One that shows none has perhaps come to look only (probe/edge.h), until it asks for more. */
static bool in_shows_certificate(const struct s2s_in *s)
{
    slice *chain;
    return s->x.secure && s->remote.len > 0 && conn_tls_chain(s->x.conn, in_scratch(s), &chain) > 0;
}

/* XEP-0478 §3.2: its limits are in the element, as it sends no features. */
static void in_takes_both(struct s2s_in *s, const struct elem *bidi)
{
    s->both = true;
    s->max_bytes = stream_limits_read(bidi, in_scratch(s));
}

static void in_features(struct s2s_in *s)
{
    struct buf b;
    struct xml_write w;
    struct why why;
    bool external = !s->external && in_offers_external(s, &why),
         dialback = in_may_authenticate(s) && s2s_demand_of(s->remote).dialback;
    xml_begin(&w, &b, XML_PART_MAX);
    xml_open(&w, "stream:features", NULL);
    xml_content(&w);
    if (!in_may_authenticate(s))
        buf_lit(&b, "<starttls xmlns='" NS_TLS "'><required/></starttls>");
    else if (!s->x.secure)
        buf_lit(&b, "<starttls xmlns='" NS_TLS "'/>");
    if (external)
        buf_lit(&b, "<mechanisms xmlns='" NS_SASL "'><mechanism>EXTERNAL</mechanism></mechanisms>");
    if (dialback)
        buf_lit(&b, "<dialback xmlns='" NS_DIALBACK_FEATURE "'><errors/></dialback>");
    if (!s->external && s2s_back_is_offered(s))
        buf_lit(&b, "<bidi xmlns='" NS_BIDI_FEATURE "'/>");
    if (s->x.state == STREAM_BOUND) /* XEP-0198 §2: not before it is authenticated */
        buf_lit(&b, "<sm xmlns='" NS_SM "'/>");
    if (in_may_authenticate(s)) /* dialback has no features behind it */
        stream_limits_write(&w, setting_int(&s2s_stanza_bytes), setting_int(&s2s_idle));
    xml_close(&w);
    xstream_write_buf(&s->x, &b);
    if (!s->external && !external && !dialback && in_shows_certificate(s))
        in_is_unproved(s, s->remote, s->local, why.text); /* it will go, in silence perhaps */
}

static void in_header(struct xstream *x, slice unit)
{
    struct s2s_in *s = s2s_in_of(x);
    x->secure = x->secure || conn_is_secure(x->conn);
    if (!in_header_fits(s, unit))
        return;
    in_greet(x);
    xstream_now(x, STREAM_GOT_HEADER);
    in_features(s);
    if (x->state == STREAM_BOUND)
        in_is_bound(s);
}

/* TLS begins: keys that were sent in the clear are forgotten (RFC 6120 §5.4.3.3). */
static void in_tls(struct s2s_in *s)
{
    pairs_forget(s);
    struct tls_ctx *tls = s2s_tls(s->gate);
    xstream_write(&s->x, SLICE("<proceed xmlns='" NS_TLS "'/>"));
    xstream_now(&s->x, STREAM_GOT_STARTTLS);
    xstream_restart(&s->x);
    conn_start_tls(s->x.conn, tls, s2s_ascii(s->local, in_scratch(s)));
    s2s_ask_certificate(s->gate, s->x.conn);
    tls_ctx_unref(&tls);
}

/* SASL EXTERNAL (RFC 6120 §6, XEP-0178 §3). */

static void in_sasl_refuse(struct s2s_in *s, const char *condition)
{
    struct buf b;
    struct xml_write w;
    xml_begin(&w, &b, XML_PART_MAX);
    xml_open(&w, "failure", NS_SASL);
    xml_empty(&w, condition, NULL);
    xml_close(&w);
    xstream_write_buf(&s->x, &b);
    if (++s->failures == SASL_FAILURES_MAX)
        xstream_fail(&s->x, XE_NOT_AUTHORIZED, SLICE("too many attempts"));
}

/* The peer is not told why, but the operator is, unless that was done with the features. */
static void in_sasl_not_authorized(struct s2s_in *s, const struct why *why)
{
    if (s->unproved == 0)
        in_is_unproved(s, s->remote, s->local, why->text);
    in_sasl_refuse(s, "not-authorized");
}

/* The identity that it asks for: empty, or its domain. false: malformed. */
static bool in_authzid(struct s2s_in *s, const struct elem *e, slice *domain)
{
    struct buf b;
    slice text = elem_text(e, in_scratch(s));
    *domain = (slice){ "", 0 };
    if (text.len == 0 || slice_is(text, "="))
        return true;
    buf_init(&b, SASL_BYTES_MAX);
    bool ok = base64_decode(&b, text) == OK;
    if (ok)
        *domain = slice_dup(in_scratch(s), buf_fit(&b));
    buf_fini(&b);
    return ok;
}

/* The stream begins anew: what was asked on the old one is forgotten (RFC 6120 §4.3.3). */
static void in_external(struct s2s_in *s)
{
    ensure(s->x.secure && s->remote.len > 0);
    struct pair *p = pair_find(s, s->remote, s->local);
    if (p != NULL) /* its key is being checked: nobody needs to wait for that */
        s2s_in_say_result(s, p, "valid");
    pairs_forget(s);
    p = pair_add(s, s->remote, s->local);
    ensure(p != NULL);
    s->external = true;
    pair_is_proved(s, p, "certificate");
    xstream_write(&s->x, SLICE("<success xmlns='" NS_SASL "'/>"));
    xstream_now(&s->x, STREAM_PASSED);
    xstream_restart(&s->x);
}

static void in_sasl(struct s2s_in *s, const struct elem *e)
{
    slice authzid;
    struct why why;
    if (!slice_is(e->name, "auth"))
        xstream_fail(&s->x, XE_NOT_AUTHORIZED, SLICE("authenticate first"));
    else if (!slice_is(elem_attr(e, "mechanism", in_scratch(s)), "EXTERNAL"))
        in_sasl_refuse(s, "invalid-mechanism");
    else if (!in_authzid(s, e, &authzid))
        in_sasl_refuse(s, "incorrect-encoding");
    else if (!in_offers_external(s, &why))
        in_sasl_not_authorized(s, &why);
    else if (authzid.len > 0 && !slice_eq(in_domain(s, authzid), s->remote))
        in_sasl_refuse(s, "invalid-authzid");
    else
        in_external(s);
}

static void in_element(struct xstream *x, const struct xstream_unit *u)
{
    struct s2s_in *s = s2s_in_of(x);
    switch (u->step.action) {
    case STREAM_DO_TLS:
        in_tls(s);
        break;
    case STREAM_DO_NO_TLS:
        xstream_close(x, SLICE("<failure xmlns='" NS_TLS "'/>"));
        break;
    case STREAM_DO_SASL:
        in_sasl(s, &u->elem);
        break;
    case STREAM_DO_EARLY:
        if (u->input == STREAM_GOT_SM &&
            (slice_is(u->elem.name, "enable") || slice_is(u->elem.name, "resume")))
            s2s_sm_early(s);
        else if (elem_is(&u->elem, "bidi", NS_BIDI) && s2s_back_is_offered(s))
            in_takes_both(s, &u->elem);
        else if (!s2s_in_dialback(s, &u->elem))
            xstream_fail(x, u->step.error, SLICE("authenticate first"));
        break;
    default:
        ensure_debug(false);
        break;
    }
}

/* Stanzas. */

/* No acknowledgement follows any more, so what comes is taken only where none is awaited. */
static bool in_counts_no_more(const struct s2s_in *s) { return s->shut || s->x.end_sent; }

/* Whether its sender may speak for this domain to that one, on this stream; else it has failed. */
static bool in_pair_fits(struct xstream *x, slice remote, slice local)
{
    struct s2s_in *s = s2s_in_of(x);
    struct pair *p = pair_find(s, remote, local);
    bool taken = !in_counts_no_more(s) ||
                 (!s2s_flow_is_enabled(s) && !s->shut && s2s_is_partner(x->worker, local, remote));
    if (p != NULL && p->proved) {
        if (!taken) /* it is not acknowledged, either */
            return false;
        remote_domain_heard(x->worker, remote, &p->heard_us);
        if (s->both && s->back == NULL)
            s2s_back_offer(s);
        return true;
    }
    if (!s2s_is_ours(x->worker, local))
        in_fail_for(s, remote, local, XE_HOST_UNKNOWN, SLICE("this domain is not served here"));
    else
        in_fail_for(s, remote, local, XE_INVALID_FROM,
                    SLICE("not authenticated for these domains"));
    return false;
}

/* An error of the other server ends the stream. */
static void in_heard(struct s2s_in *s, const struct elem *error)
{
    struct elem condition;
    bool offended = elem_first(error, &condition) && s2s_is_offended(condition.name);
    s->end = offended ? PEER_END_THEIRS : PEER_END_BROKEN;
    xstream_end(&s->x, XSTREAM_ENDED);
}

/* An element of a bound stream that is no stanza. */
static void in_other(struct xstream *x, slice unit)
{
    struct s2s_in *s = s2s_in_of(x);
    struct elem e;
    if (!xstream_elem(&s->x, unit, &e))
        xstream_fail(&s->x, XE_INVALID_XML, (slice){ 0 });
    else if (elem_is(&e, "error", NS_STREAM))
        in_heard(s, &e);
    else if (slice_is(e.ns_uri, NS_SM))
        s2s_sm(s, &e);
    else if (!s2s_in_dialback(s, &e))
        xstream_fail(&s->x, XE_UNSUPPORTED_STANZA_TYPE, (slice){ 0 });
}

/* What is not taken is not counted, and then nothing behind it. */
static struct in_flow *in_flow(const struct xstream *x)
{
    const struct s2s_in *s = (const struct s2s_in *)x;
    return in_counts_no_more(s) ? NULL : s->flow;
}

static void in_route(struct xstream *x, struct stanza *st) { s2s_flow_route_in(s2s_in_of(x), st); }

/* Ends. */

static void in_sends_end(struct s2s_in *s)
{
    s2s_flow_last_ack(s->flow);
    if (s->x.among->stopped)
        xstream_fail(&s->x, XE_SYSTEM_SHUTDOWN, (slice){ 0 });
    else if (s->shut)
        xstream_fail(&s->x, XE_RESET, IN_IS_SHUT); /* blames no stanza (RFC 6120 §4.9.3.16) */
    else if (s2s_flow_is_enabled(s))
        xstream_close(&s->x, (slice){ 0 });
    else
        xstream_send_end(&s->x);
}

static void in_drain(struct s2s_in *s)
{
    if (!s->draining)
        xstream_wait(&s->x);
    s->draining = true;
}

void in_end_goes_on(struct s2s_in *s)
{
    bool waits = s2s_back_waits(s) && s->ending;
    if (s->x.state != STREAM_BOUND || s->x.end_sent || waits || !(s->ending || s->draining))
        return;
    if (s2s_flow_waits(s))
        in_drain(s);
    else
        in_sends_end(s);
}

void in_end(struct s2s_in *s)
{
    if (s->x.state != STREAM_BOUND)
        xstream_close(&s->x, (slice){ 0 });
    if (s->x.state != STREAM_BOUND || s->ending || s->x.end_sent)
        return;
    s->ending = true;
    s->x.opened_us = loop_now_us(worker_loop(s->x.worker));
    xstream_timer(&s->x);
    s2s_back_ask(s);
    in_end_goes_on(s);
}

static bool in_counts(const struct xstream *x)
{
    return s2s_flow_is_enabled((const struct s2s_in *)x);
}

static void in_leaves(struct xstream *x)
{
    struct s2s_in *s = s2s_in_of(x);
    s->shut = s2s_flow_is_enabled(s);
    in_end(s);
}

static void in_stanza(struct xstream *x, slice unit)
{
    static const struct s2s_taker taker = { in_pair_fits, in_other,  in_route,
                                            in_flow,      in_counts, in_leaves };
    s2s_take(x, unit, s2s_in_of(x)->lang, &taker);
}

static void in_gone(struct xstream *x, enum xstream_end why)
{
    struct s2s_in *s = s2s_in_of(x);
    bool orderly = why == XSTREAM_ENDED && s->end == PEER_END_FRESH;
    s->read = orderly && x->end_sent && conn_has_arrived(x->conn); /* else both ends crossed */
    s->broken = !s->draining && (why == XSTREAM_LOST || why == XSTREAM_BROKEN);
    if (s->end == PEER_END_FRESH)
        s->end = orderly                 ? PEER_END_ORDERLY
                 : s2s_is_broken(x, why) ? PEER_END_THEIRS
                                         : PEER_END_BROKEN;
    s2s_flow_last_ack(s->flow);
    if (why != XSTREAM_ENDED)
        pairs_broken(s);
}

static void in_closing(struct xstream *x)
{
    struct s2s_in *s = s2s_in_of(x);
    if (s->end == PEER_END_FRESH)
        s->end = PEER_END_ORDERLY;
    s2s_back_gone(s);
    s2s_flow_leave(s);
}

static void in_slow(struct xstream *x, bool on) { s2s_back_slow(s2s_in_of(x), on); }

static void in_failed(struct xstream *x, enum stream_error e, slice text)
{
    struct s2s_in *s = s2s_in_of(x);
    s2s_flow_last_ack(s->flow);
    metric_add(&s2s_refused, 1);
    log_info(&log_s2s, LOG_EV("s2s.error"), LOG_C("condition", stream_error_name(e)),
             LOG_S("text", text), LOG_S("domain", s->asked != NULL ? s->asked->remote : s->remote),
             LOG_S("local", s->asked != NULL ? s->asked->local : s->local),
             LOG_C("peer", conn_info_text(conn_info(x->conn)).text));
}

/* Who opened a stream ends it when it is idle, after as long as that; we are patient. */
static uint64_t in_due_ms(const struct xstream *x)
{
    const struct s2s_in *s = (const struct s2s_in *)x;
    if (x->end_sent || s->draining || s->ending)
        return xstream_left_ms(x, x->among->stopped ? STOPPING_MS : ENDING_MS);
    return x->state == STREAM_BOUND ? 2 * (uint64_t)setting_int(&s2s_idle)
                                    : xstream_left_ms(x, S2S_LOGIN_MS);
}

/* The peer has ended its stream: it hears first what became of the last stanzas. */
static bool in_drains(struct xstream *x)
{
    struct s2s_in *s = s2s_in_of(x);
    if (x->end_sent || !s2s_flow_waits(s))
        return false;
    in_drain(s);
    x->opened_us = loop_now_us(worker_loop(x->worker));
    xstream_timer(x);
    return true;
}

void s2s_in_stop(struct s2s_in *s)
{
    if (s->x.state != STREAM_BOUND)
        xstream_fail(&s->x, XE_SYSTEM_SHUTDOWN, (slice){ 0 });
    else
        in_end(s);
}

static void in_shut(struct s2s_in *s, slice why)
{
    if (s->x.state != STREAM_BOUND) {
        xstream_fail(&s->x, XE_POLICY_VIOLATION, why);
        return;
    }
    s->shut = true;
    in_end(s);
}

static void in_idle(struct xstream *x)
{
    struct s2s_in *s = s2s_in_of(x);
    uint64_t wrote_us = s2s_back_last_us(s), read_us = xstream_last_us(x),
             last_us = wrote_us > read_us ? wrote_us : read_us,
             silent_ms = (loop_now_us(worker_loop(x->worker)) - last_us) / 1000;
    uint64_t limit_ms = 2 * (uint64_t)setting_int(&s2s_idle);
    if (s->draining || s->ending || x->end_sent) {
        s->end = PEER_END_ORDERLY;
        s2s_flow_last_ack(s->flow);
        xstream_close(x, (slice){ 0 });
    } else if (silent_ms >= limit_ms)
        in_end(s);
    else
        timer_set(worker_loop(x->worker), &x->timer, limit_ms - silent_ms + 100);
}

static void in_free(struct xstream *x)
{
    struct s2s_in *s = s2s_in_of(x);
    s2s_back_fini(s);
    pairs_forget(s);
    peers_leave(&s->peer);
    map_del(&s2s_worker(s->gate, x->worker)->in_by_id, in_id_of(s));
    xstream_fini(x);
    metric_add_to(&s2s_streams, S2S_RECEIVED, -1);
    in_forget_header(s);
    mem_free(&s);
}

static void in_check(const struct xstream *x)
{
    const struct s2s_in *s = (const struct s2s_in *)x;
    ensure((s->pair_count == 0) == list_empty(&s->pairs));
    ensure(x->state != STREAM_BOUND || s->pair_count > 0);
    ensure(!s->external || x->state != STREAM_FEATURES);
    ensure(s->flow == NULL || x->state == STREAM_BOUND);
    ensure(!s->draining || x->state == STREAM_BOUND || x->state == STREAM_CLOSED);
}

static const struct xstream_rates in_rates = { &s2s_stanza_rate, &s2s_byte_rate };
static const struct xstream_ops in_ops = { .rates = &in_rates,
                                           .reads_last = true,
                                           .late = "not authenticated in time",
                                           .greet = in_greet,
                                           .header = in_header,
                                           .element = in_element,
                                           .stanza = in_stanza,
                                           .drains = in_drains,
                                           .gone = in_gone,
                                           .closing = in_closing,
                                           .failed = in_failed,
                                           .slow = in_slow,
                                           .due_ms = in_due_ms,
                                           .idle = in_idle,
                                           .free = in_free,
                                           .check = in_check };

void s2s_in_policy_changed(struct s2s_in *s)
{
    if (s->local.len > 0 && !s2s_federates(s->x.worker, s->local)) {
        in_shut(s, SLICE("this server does not federate"));
        return;
    }
    if (s->local.len > 0 && s->remote.len > 0 &&
        !s2s_is_partner(s->x.worker, s->local, s->remote)) {
        in_shut(s, IN_IS_SHUT);
        return;
    }
    LIST_EACH (it, &s->pairs) {
        const struct pair *p = CONTAINER_OF(it, struct pair, node);
        if (s2s_is_partner(s->x.worker, p->local, p->remote))
            continue;
        in_shut(s, IN_IS_SHUT);
        return;
    }
}

void s2s_in_show(const struct s2s_in *s, s2s_show_fn *show, void *arg)
{
    uint64_t now = loop_now_us(worker_loop(s->x.worker));
    LIST_EACH (it, &s->pairs) {
        const struct pair *p = CONTAINER_OF(it, struct pair, node);
        const struct s2s_shown shown = {
            .remote = p->remote,
            .local = p->local,
            .direction = "in",
            .state = p->proved ? "up" : "checking",
            .since_s = (now - p->since_us) / 1000000,
            .tls = s->x.secure ? conn_tls_version(s->x.conn) : "",
            .auth = p->how,
            .unacked = s2s_flow_open(s),
            .conn = s->x.conn,
            .peer = s->x.conn != NULL ? conn_info(s->x.conn) : NULL,
            .link = s->x.id,
            .link_node = worker_node(s->x.worker)->id,
        };
        show(&shown, arg);
    }
}

bool s2s_in_is_pinned(const struct s2s_in *s)
{
    return s->external && s->x.conn != NULL && s2s_is_pinned(s->x.conn, s->remote, in_scratch(s));
}

bool s2s_in_close(struct s2s_in *s, slice remote)
{
    if (s->x.state == STREAM_CLOSED)
        return false;
    LIST_EACH (it, &s->pairs) {
        if (slice_eq(CONTAINER_OF(it, struct pair, node)->remote, remote)) {
            in_end(s);
            return true;
        }
    }
    return false;
}

void s2s_in_start(struct s2s_gate *g, struct worker *w, struct conn *c, const struct peer_key *peer)
{
    struct s2s_worker *sw = s2s_worker(g, w);
    ensure(worker_is_here(w));
    struct s2s_in *s = mem_new(struct s2s_in);
    s->gate = g;
    s->peer = *peer;
    list_init(&s->pairs);
    s->x.ops = &in_ops;
    s->x.role = STREAM_FROM_SERVER;
    s2s_begin(&s->x, c, w, &sw->in);
    map_put(&sw->in_by_id, s);
    metric_add_to(&s2s_streams, S2S_RECEIVED, 1);
    conn_start(c, &xstream_conn_ops, s);
}
