#include "gate/s2s/link/s2s_in_sm.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/rand.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "gate/s2s/link/s2s_in_back.h"
#include "gate/s2s/link/s2s_in_resume.h"
#include "gate/s2s/link/s2s_take.h"
#include "home/router.h"
#include "home/ticket.h"
#include "home/trail.h"
#include "session/session.h"
#include "xmpp/ns.h"
#include "xmpp/promise.h"

/* A stanza that is not handled yet. */
struct report {
    struct list node; /* in in_flow.reports */
    struct in_flow *flow;
    uint32_t number;
};

static slice flow_key(const void *item) { return slice_of(((const struct in_flow *)item)->id); }

uint32_t flow_handled(const struct in_flow *f)
{
    bool early = (int32_t)(f->h - f->floor) < 0; /* what is not handled came before */
    return (early ? f->floor : f->h) - f->base;
}

static void flow_free(struct in_flow *f)
{
    flow_keep_not(f);
    loop_defer_cancel(&f->ack);
    if (f->id[0] != '\0')
        map_del(&f->sw->flow_by_id, flow_key(f));
    LIST_EACH (it, &f->reports) {
        struct report *r = CONTAINER_OF(it, struct report, node);
        list_remove(it);
        mem_free(&r);
    }
    list_remove(&f->node);
    char *pairs = (char *)(uintptr_t)f->pairs.ptr;
    mem_free(&pairs);
    mem_free(&f);
}

/* Nobody needs it any more. */
void flow_check(struct in_flow *f)
{
    if (f->x == NULL && f->open == 0 && !f->wanted && !f->owned && !list_linked(&f->kept))
        flow_free(f);
}

struct in_flow *flow_new(struct s2s_worker *sw, struct worker *w)
{
    struct in_flow *f = mem_new(struct in_flow);
    f->sw = sw;
    f->worker = w;
    list_init(&f->reports);
    list_append(&sw->flows, &f->node);
    return f;
}

struct in_flow *flow_of(struct s2s_in *s)
{
    if (s->flow != NULL)
        return s->flow;
    struct in_flow *f = s->flow = flow_new(s2s_worker(s->gate, s->x.worker), s->x.worker);
    f->stream = s;
    f->x = &s->x;
    return f;
}

/* Acknowledgements. */

static void flow_write_ack(struct in_flow *f)
{
    struct buf b;
    struct xml_write w;
    xml_begin(&w, &b, XML_PART_MAX);
    xml_open(&w, "a", NS_SM);
    xml_attr_int(&w, "h", flow_handled(f));
    xml_close(&w);
    f->told = f->h;
    xstream_write_buf(f->x, &b);
}

static bool flow_may_write(const struct in_flow *f)
{
    return f->enabled && !f->mute && f->x != NULL && f->x->state == STREAM_BOUND && !f->x->end_sent;
}

static void flow_ack_now(struct loop_defer *d)
{
    struct in_flow *f = CONTAINER_OF(d, struct in_flow, ack);
    if (flow_may_write(f))
        flow_write_ack(f);
}

/* One <a/> a tick, however often it is due. */
static void flow_ack(struct in_flow *f)
{
    f->ack.fn = flow_ack_now;
    loop_defer(flow_loop(f), &f->ack);
}

void s2s_flow_last_ack(struct in_flow *f)
{
    if (f != NULL && flow_may_write(f) && f->h != f->told)
        flow_write_ack(f);
}

/* Stanzas. */

static void flow_pace(struct in_flow *f)
{
    uint32_t under_way = f->count - f->h;
    if (f->x == NULL || f->x->state == STREAM_CLOSED)
        return;
    if (!f->held && under_way >= FLOW_HIGH) {
        f->held = true;
        xstream_hold(f->x, CONN_HOLD_UNFINISHED);
    } else if (f->held && under_way <= FLOW_LOW) {
        f->held = false;
        xstream_release(f->x, CONN_HOLD_UNFINISHED);
    }
}

static void flow_advance(struct in_flow *f)
{
    f->h = list_empty(&f->reports) ? f->count
                                   : CONTAINER_OF(f->reports.next, struct report, node)->number - 1;
    if (f->x != NULL) {
        if ((int32_t)(f->asked - f->told) > 0 && f->h != f->told)
            flow_ack(f);
        flow_pace(f);
        if (f->owned && f->open == 0)
            f->rests(f->x);
        else if (f->stream != NULL && f->h == f->count)
            in_end_goes_on(f->stream);
    } else if (f->wanted && f->open == 0) {
        flow_answer(f);
    } else {
        flow_check(f);
    }
}

/* E_DOWN: a node that had a part of it is gone. Its peer still has it, if that counts. */
static void report_came(struct worker *w, enum err e, uint32_t refused, void *arg)
{
    struct report *r = arg;
    struct in_flow *f = r->flow;
    (void)w, (void)refused;
    ensure(f->open > 0);
    f->open--;
    if (e == OK || !f->enabled) {
        list_remove(&r->node);
        mem_free(&r);
        flow_advance(f);
        return;
    }
    f->lost = true;
    if (f->x != NULL)
        xstream_fail(f->x, XE_INTERNAL_SERVER_ERROR,
                     SLICE("a part of this server is gone: send again what is not acknowledged"));
    else
        flow_advance(f);
}

void s2s_flow_count(struct in_flow *f)
{
    if (f == NULL)
        return;
    f->count++;
    flow_advance(f);
}

static void flow_route(struct in_flow *f, struct stanza *st)
{
    struct worker *w = f->worker;
    struct report *r = mem_new(struct report);
    r->flow = f;
    r->number = ++f->count;
    f->open++;
    list_append(&f->reports, &r->node);
    struct origin part = ticket_join_for(w, (slice){ "", 0 }, report_came, r);
    for (unsigned more = route(w, st, part, 0, 0); more > 0; more--)
        ticket_join_more(w, part);
    ticket_join_close(w, part);
    flow_pace(f);
}

void s2s_flow_route(struct in_flow *f, struct stanza *st)
{
    trail_answer(st);
    if (promise_of(st) == PROMISE_QUEUED) {
        route_send(f->worker, st);
        s2s_flow_count(f);
    } else {
        flow_route(f, st);
    }
}

void s2s_flow_route_in(struct s2s_in *s, struct stanza *st)
{
    if (s->flow == NULL && promise_of(st) == PROMISE_QUEUED) {
        trail_answer(st);
        route_send(s->x.worker, st);
    } else {
        s2s_flow_route(flow_of(s), st);
    }
}

/* Of a stream that we have opened. */

struct in_flow *s2s_flow_new(struct s2s_gate *g, struct worker *w)
{
    struct in_flow *f = flow_new(s2s_worker(g, w), w);
    f->owned = true;
    return f;
}

void s2s_flow_join(struct in_flow *f, struct xstream *x, s2s_flow_rests_fn *rests)
{
    ensure(f->x == NULL && f->owned);
    f->x = x;
    f->rests = rests;
    f->held = false;
    f->mute = true;
}

void s2s_flow_part(struct in_flow *f)
{
    loop_defer_cancel(&f->ack);
    f->x = NULL;
}

void s2s_flow_drop(struct in_flow **f)
{
    struct in_flow *old = *f;
    *f = NULL;
    if (old == NULL)
        return;
    ensure(old->owned && old->x == NULL);
    old->owned = false;
    flow_check(old);
}

void s2s_flow_enable(struct in_flow *f)
{
    f->enabled = true;
    f->mute = false;
    f->base = f->floor = f->told = f->asked = f->count;
}

void s2s_flow_goes_on(struct in_flow *f) { f->mute = false; }

bool s2s_flow_is_known(const struct in_flow *f) { return f->open == 0; }
bool s2s_flow_is_lost(const struct in_flow *f) { return f->lost; }

bool s2s_flow_is_due(const struct in_flow *f)
{
    return f != NULL && f->enabled && !f->mute && !f->lost && f->h != f->count;
}

uint32_t s2s_flow_h(const struct in_flow *f) { return flow_handled(f); }

void s2s_flow_tells(struct in_flow *f)
{
    f->asked = f->count;
    flow_ack(f);
}

bool s2s_flow_is_enabled(const struct s2s_in *s) { return s->flow != NULL && s->flow->enabled; }

uint32_t s2s_flow_open(const struct s2s_in *s)
{
    return s2s_flow_is_enabled(s) ? s->flow->count - s->flow->h : 0;
}

bool s2s_flow_waits(const struct s2s_in *s)
{
    return s2s_flow_is_enabled(s) && s->flow->h != s->flow->count;
}

bool s2s_flow_may_break(const struct s2s_in *s)
{
    const struct in_flow *f = s->flow;
    return f != NULL && f->id[0] != '\0' && !f->lost && flow_keep_ms(f) > 0 && !f->sw->in.stopped;
}

bool s2s_flow_is_resumable(const struct s2s_in *s)
{
    return s->flow == NULL ? s->taken : s->broken && s2s_flow_may_break(s);
}

void s2s_flow_leave(struct s2s_in *s)
{
    struct in_flow *f = s->flow;
    if (f == NULL)
        return;
    flow_part(s, s->broken);
    flow_check(f);
}

/* Elements. */

void sm_fail(struct s2s_in *s, enum stanza_error e)
{
    struct buf b;
    struct xml_write w;
    if (s->x.end_sent)
        return;
    xml_begin(&w, &b, XML_PART_MAX);
    xml_open(&w, "failed", NS_SM);
    xml_empty(&w, stanza_error_name(e), NS_STANZA_ERROR);
    xml_close(&w);
    xstream_write_buf(&s->x, &b);
}

static void sm_enable(struct s2s_in *s, const struct elem *e)
{
    struct buf b;
    struct in_flow *f = flow_of(s);
    f->enabled = true;
    f->base = f->floor = f->told = f->asked = f->count;
    f->max_s = sm_resume_wanted(e, in_scratch(s));
    uint32_t max_s = (uint32_t)(flow_keep_ms(f) / 1000);
    if (max_s > 0) {
        rand_hex(f->id, FLOW_ID_BYTES);
        map_put(&f->sw->flow_by_id, f);
    }
    buf_init(&b, XML_PART_MAX);
    sm_enabled_write(&b, slice_of(f->id), max_s);
    if (f->id[0] != '\0')
        xstream_can_be_resumed(&s->x);
    xstream_write_buf(&s->x, &b);
    s2s_back_counts(s);
}

static void sm_acked(struct s2s_in *s, const struct elem *e)
{
    char text[SM_BAD_ACK_BYTES];
    int64_t h;
    if (!slice_int(elem_attr(e, "h", in_scratch(s)), &h) || h < 0 || h > UINT32_MAX)
        xstream_fail(&s->x, XE_INVALID_XML, SLICE("h is not a count"));
    else if (s2s_back_acked(s, (uint32_t)h)) {
        in_end_goes_on(s);
    } else
        xstream_fail_with(&s->x, XE_UNDEFINED_CONDITION,
                          SLICE("h is not between what was acknowledged and what was sent"),
                          sm_bad_ack(text, (uint32_t)h, s2s_back_count(s)));
}

void s2s_sm(struct s2s_in *s, const struct elem *e)
{
    struct in_flow *f = s->flow;
    bool enabled = s2s_flow_is_enabled(s);
    if (s->x.end_sent) { /* what is behind an <enable/> or <resume/> is to be acknowledged */
        s->skipped = s->skipped || slice_is(e->name, "enable") || slice_is(e->name, "resume");
        return;
    }
    if (slice_is(e->name, "r") && enabled) {
        s2s_flow_tells(f);
    } else if (slice_is(e->name, "a") && enabled) {
        sm_acked(s, e);
    } else if (slice_is(e->name, "enable") && !enabled) {
        sm_enable(s, e);
    } else if (slice_is(e->name, "resume") && !enabled) {
        sm_resume(s, e);
    } else { /* XEP-0198 §3: enabled already, or not yet */
        sm_fail(s, SE_UNEXPECTED_REQUEST);
    }
}

void s2s_sm_early(struct s2s_in *s) { sm_fail(s, SE_UNEXPECTED_REQUEST); }

/* Life. */

void s2s_flows_init(struct s2s_worker *sw)
{
    list_init(&sw->flows);
    list_init(&sw->kept);
    map_init(&sw->flow_by_id, flow_key);
}

void s2s_flows_fini(struct s2s_worker *sw)
{
    if (sw->flow_by_id.key == NULL)
        return;
    LIST_EACH (it, &sw->flows)
        flow_free(CONTAINER_OF(it, struct in_flow, node));
    map_fini(&sw->flow_by_id);
}
