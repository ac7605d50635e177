#include "gate/s2s/link/s2s_take.h"
#include "base/ensure.h"
#include "gate/s2s/link/s2s_in_sm.h"
#include "gate/s2s/s2s_domains.h"
#include "gate/s2s/s2s_gate.h"
#include "gate/s2s/s2s_rows.h"
#include "home/ask.h"
#include "home/host.h"
#include "home/router.h"
#include "remote/foreign.h"
#include <errno.h>
#include <string.h>

bool s2s_is_offended(slice condition)
{
    static const char *const others[] = { "conflict",       "connection-timeout",
                                          "host-gone",      "host-unknown",
                                          "not-authorized", "remote-connection-failed",
                                          "reset",          "resource-constraint",
                                          "see-other-host", "system-shutdown" };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (slice_is(condition, others[i]))
            return false;
    return true;
}

bool s2s_is_broken(const struct xstream *x, enum xstream_end why)
{
    return why == XSTREAM_LOST ||
           (why == XSTREAM_BROKEN && strcmp(conn_error(x->conn), strerrordesc_np(ETIMEDOUT)) != 0);
}

slice s2s_attr_domain(const struct xstream *x, slice attr)
{
    slice domain = { "", 0 };
    if (attr.len == 0 || jid_prep_domain(attr, loop_scratch(worker_loop(x->worker)), &domain) != OK)
        return (slice){ "", 0 };
    return domain.len <= JID_PART_MAX ? domain : (slice){ "", 0 };
}

/* To its sender. Where that is none, to its domain: what is before the resource may be a room,
 * which would take an error from its occupant for the end of it (XEP-0045 §18.1). */
static void take_answer_malformed(struct xstream *x, const struct stanza *st, slice remote,
                                  slice local)
{
    slice from = st->from_len > 0 ? stanza_from(st) : remote;
    slice to = st->to_len > 0 ? stanza_to(st) : local;
    struct stanza *whole = foreign_inward(x->worker, stanza_readdress(st, from, to));
    route_error(x->worker, whole, SE_JID_MALFORMED, stanza_bad_address(st));
    stanza_unref(&whole);
}

/* A stanza with `from` or `to` that is no JID, or has none. It is of one user, and the stream of
 * all: if none of its domains is one that may not speak here, it alone is lost. */
static void take_misaddressed(struct xstream *x, slice unit, const struct stanza *st,
                              const struct s2s_taker *taker)
{
    slice remote = xstream_attr_domain(x, unit, SLICE("from")),
          local = xstream_attr_domain(x, unit, SLICE("to"));
    bool known = remote.len > 0 && local.len > 0;
    if (remote.ptr == NULL || local.ptr == NULL) {
        xstream_fail(x, XE_IMPROPER_ADDRESSING, SLICE("a stanza needs from and to"));
    } else if (!known || taker->may(x, remote, local)) {
        metric_add(&s2s_refused, 1);
        if (known)
            take_answer_malformed(x, st, remote, local);
    }
}

/* A rule that has just been made forbids the whole pair of domains, and this stream has not heard
 * of it yet. No refusal can leave to that domain, so what is counted would be acknowledged and
 * lost: the stream ends before it, and the next one is told the policy. */
static bool take_is_banned(struct xstream *x, const struct stanza *st,
                           const struct s2s_taker *taker)
{
    if (!taker->counts(x) || s2s_ban(x->worker, jid_split(stanza_to(st)).domain,
                                     jid_split(stanza_from(st)).domain) == NULL)
        return false;
    taker->leaves(x);
    return true;
}

/* The answer to a ping of ours in the name of a component (gate/s2s/peer/s2s_peer_write.c) has
 * come, who gets all that is for its domain. */
static void take_hears(struct worker *w, struct stanza *st)
{
    struct jid from = jid_split(stanza_from(st)), to = jid_split(stanza_to(st));
    if (st->kind == STANZA_IQ && (st->type == TYPE_RESULT || st->type == TYPE_ERROR) &&
        from.domain.len == st->from_len && to.domain.len == st->to_len &&
        !host_has(worker_node(w), to.domain))
        (void)ask_domain_answered(w, st);
}

/* What the rules about other servers let pass. Takes over st. */
static void take_route(struct xstream *x, struct stanza *st, const struct s2s_taker *taker)
{
    struct refusal why = { .error = SE_POLICY_VIOLATION };
    st = foreign_inward(x->worker, st);
    st->arrived = true;
    enum verdict v = foreign_arrives(x->worker, st, &why);
    if (v == PASS) {
        take_hears(x->worker, st);
        taker->route(x, foreign_pass(st, &why));
        return;
    }
    metric_add(&s2s_refused, 1);
    bool counts = !take_is_banned(x, st, taker);
    if (v == REFUSE && counts)
        stage_refuse(x->worker, st, &why);
    else
        stanza_unref(&st);
    if (counts)
        s2s_flow_count(taker->flow(x));
}

/* Its sender must wait for what others of its domain send, which an operator wants to know. */
static void take_slowly(struct xstream *x, const struct stanza *st, uint64_t pause_ms)
{
    slice domain = jid_split(stanza_from(st)).domain;
    uint64_t held_ms = s2s_domain_held(domain, pause_ms);
    xstream_slow(x, pause_ms);
    metric_add(&s2s_held, 1);
    if (held_ms > 0)
        log_warn(&log_s2s, LOG_EV("s2s.held"), LOG_S("domain", domain),
                 LOG_S("local", jid_split(stanza_to(st)).domain), LOG_I("ms", held_ms),
                 LOG_C("hint", "this domain sends more than federation.stanza-rate, so its streams "
                               "are read that much later"));
}

/* Takes over st. */
static void take_stanza(struct xstream *x, struct stanza *st, const struct s2s_taker *taker)
{
    slice remote = jid_split(stanza_from(st)).domain;
    metric_add_to(&s2s_stanzas, S2S_RECEIVED, 1);
    s2s_domain_stanza(remote, false);
    uint64_t pause_ms = foreign_pace_ms(x->worker, remote);
    bool slowly = pause_ms > 0 && !x->last;
    if (slowly)
        take_slowly(x, st, pause_ms);
    take_route(x, st, taker);
    struct in_flow *f = taker->flow(x);
    if (slowly && f != NULL) /* the <r/> of its peer may be behind much that is not read yet */
        s2s_flow_tells(f);
}

/* Nothing is relayed: a domain of ours may have left since it was proved that a server may speak to
 * it. A stream on which something comes for it ends when what came before is handled, and the next
 * one hears that the domain is unknown (RFC 6120 §4.9.3.6). Where stanzas are counted, this one is
 * not, so it comes again. Else it would be lost in silence: a service that is switched off still
 * answers it, where a stream of its own is up; a domain that is deleted cannot. */
static void take_late(struct xstream *x, struct stanza *st, const struct s2s_taker *taker)
{
    slice local = jid_split(stanza_to(st)).domain;
    ensure(worker_is_here(x->worker) && x->state == STREAM_BOUND);
    log_info(&log_s2s, LOG_EV("s2s.left"), LOG_S("domain", jid_split(stanza_from(st)).domain),
             LOG_S("local", local),
             LOG_C("why", "a stanza came for it, and it is not served here any more"));
    metric_add(&s2s_refused, 1);
    if (!taker->counts(x) && host_has(worker_node(x->worker), local))
        take_stanza(x, st, taker);
    else
        stanza_unref(&st);
    if (x->state == STREAM_BOUND)
        taker->leaves(x);
}

void s2s_take(struct xstream *x, slice unit, slice lang, const struct s2s_taker *taker)
{
    struct stanza_source src = {
        .unit = unit, .work = worker_xml(x->worker), .lang = lang, .reader = &x->reader
    };
    struct stanza *st;
    if (stanza_read(&st, &src, loop_scratch(worker_loop(x->worker))) != OK) {
        taker->other(x, unit);
        return;
    }
    if (st->bad_to || st->bad_from || st->from_len == 0 || st->to_len == 0) {
        take_misaddressed(x, unit, st, taker);
    } else if (taker->may(x, jid_split(stanza_from(st)).domain, jid_split(stanza_to(st)).domain)) {
        if (s2s_is_ours(x->worker, jid_split(stanza_to(st)).domain))
            take_stanza(x, st, taker);
        else
            take_late(x, st, taker);
        return;
    }
    stanza_unref(&st);
    if (x->state != STREAM_CLOSED)
        s2s_flow_count(taker->flow(x));
}
