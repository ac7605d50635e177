#include "gate/s2s/link/s2s_out_sm.h"
#include "base/arena.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "gate/s2s/link/s2s_in_sm.h"
#include "gate/s2s/link/s2s_out_private.h"
#include "gate/s2s/peer/s2s_peer.h"
#include "gate/s2s/s2s_rows.h"
#include "xmpp/ns.h"
#include <stdio.h>

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
void s2s_out_ask_later(struct s2s_out *o)
{
    o->ask.fn = out_ask;
    if (o->sm >= OUT_ENABLING && o->asked.open == 0)
        loop_at_flush(worker_loop(o->x.worker), &o->ask);
}

void s2s_out_ask_between(struct s2s_out *o)
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
        s2s_out_ask_later(o);
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
        s2s_flow_enable(s2s_out_flow(&o->x));
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
        s2s_out_takes_stanzas(o);
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
        s2s_flow_goes_on(s2s_out_flow(&o->x));
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

bool s2s_out_sm(struct s2s_out *o, const struct elem *e)
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
        s2s_flow_tells(s2s_out_flow(&o->x));
    else if (!o->x.end_sent) /* it has sent us no stanza on this stream */
        xstream_write(&o->x, SLICE("<a xmlns='" NS_SM "' h='0'/>"));
    return true;
}
