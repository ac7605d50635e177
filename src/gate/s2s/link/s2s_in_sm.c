#include "gate/s2s/link/s2s_in_sm.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "gate/s2s/link/s2s_in_back.h"
#include "gate/s2s/link/s2s_in_private.h"
#include "gate/s2s/link/s2s_take.h"
#include "gate/s2s/s2s_rows.h"
#include "home/question.h"
#include "home/router.h"
#include "home/ticket.h"
#include "home/trail.h"
#include "session/session.h"
#include "xmpp/ns.h"
#include "xmpp/promise.h"

enum {
    FLOW_ID_BYTES = 16,
    HANDLED_MS = 6000 /* an attempt to resume waits so long for what is under way */
};

/* What a stream has brought. It outlives the stream while something is under way, and while it is
 * kept. Counts are of all its stanzas and wrap at 2^32. */
struct in_flow {
    struct list node; /* in s2s_worker.flows */
    struct list kept; /* in s2s_worker.kept, the oldest first */
    struct s2s_worker *sw;
    struct worker *worker;
    struct xstream *x;        /* NULL: it has ended */
    struct s2s_in *stream;    /* the same; NULL also of a stream that we have opened */
    s2s_flow_rests_fn *rests; /* of an owned one */
    bool owned;               /* by the peer of such a stream */
    struct list reports;      /* of stanzas that are not handled, the oldest first */
    uint32_t count, h;
    uint32_t floor;       /* its count as <enabled/> or <resumed/> was sent */
    uint32_t base;        /* what h of the protocol counts from: floor, or before a resumption */
    uint32_t asked, told; /* counts: of the last <r/>, and of the last <a/> */
    uint32_t open;        /* reports that are to come */
    uint32_t max_s;       /* the longest that the peer wants it to be kept; 0: not at all */
    bool enabled;
    bool mute;       /* its stream is not resumed yet */
    bool lost;       /* a stanza that nobody knows the end of: h does not go beyond it */
    uint64_t holder; /* of the address of its peer */
    bool held;       /* its stream is not read */
    bool wanted;     /* `asker` waits until nothing is under way */
    struct message_from asker;
    struct loop_defer ack;
    struct timer timer; /* the end of what it waits for: of its keeping, or HANDLED_MS */
    slice pair;         /* of the stream, when it is kept: see pairs_first() */
    char id[2 * FLOW_ID_BYTES + 1]; /* empty: it cannot be resumed */
};

static inline struct loop *flow_loop(const struct in_flow *f) { return worker_loop(f->worker); }

/* A stanza that is not handled yet. */
struct report {
    struct list node; /* in in_flow.reports */
    struct in_flow *flow;
    uint32_t number;
};

static slice flow_key(const void *item) { return slice_of(((const struct in_flow *)item)->id); }

static uint32_t flow_handled(const struct in_flow *f)
{
    bool early = (int32_t)(f->h - f->floor) < 0; /* what is not handled came before */
    return (early ? f->floor : f->h) - f->base;
}

static void flow_keep_not(struct in_flow *f);
static void flow_timed_out(struct timer *t, struct loop *loop);
static void flow_ack_now(struct loop_defer *d);

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
    slice_release(&f->pair);
    mem_free(&f);
}

/* Nobody needs it any more. */
static void flow_check(struct in_flow *f)
{
    if (f->x == NULL && f->open == 0 && !f->wanted && !f->owned && !list_linked(&f->kept))
        flow_free(f);
}

static struct in_flow *flow_new(struct s2s_worker *sw, struct worker *w)
{
    struct in_flow *f = mem_new(struct in_flow);
    f->sw = sw;
    f->worker = w;
    f->timer.fn = flow_timed_out;
    f->ack.fn = flow_ack_now;
    list_init(&f->reports);
    list_append(&sw->flows, &f->node);
    return f;
}

static struct in_flow *flow_of(struct s2s_in *s)
{
    if (s->flow != NULL)
        return s->flow;
    struct in_flow *f = s->flow = flow_new(s2s_worker(s->gate, s->x.worker), s->x.worker);
    f->stream = s;
    f->x = &s->x;
    return f;
}

/* Acknowledgements. */

/* Its peer counts from now on; h: what it has of the session that goes on. */
static void flow_enable(struct in_flow *f, uint32_t h)
{
    f->enabled = true;
    f->floor = f->told = f->asked = f->count;
    f->base = f->floor - h;
}

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

void s2s_flow_last_ack(struct in_flow *f)
{
    if (f != NULL && flow_may_write(f) && f->h != f->told)
        flow_write_ack(f);
}

static void flow_answer(struct in_flow *f);

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
            loop_defer(flow_loop(f), &f->ack); /* one a tick, however often it is due */
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

/* Keeping. */

/* What stands for the address of a peer; a /64 of IPv6 is one. */
static uint64_t flow_holder(const struct s2s_in *s)
{
    const union ip_address *a = &conn_info(s->x.conn)->peer;
    if (a->any.sa_family == AF_INET)
        return hash_keyed((slice){ (const char *)&a->v4.sin_addr, 4 });
    if (a->any.sa_family == AF_INET6)
        return hash_keyed((slice){ (const char *)&a->v6.sin6_addr, 8 });
    return 0;
}

static void flow_keep_not(struct in_flow *f)
{
    timer_cancel(&f->timer);
    if (!list_linked(&f->kept))
        return;
    ensure(f->sw->kept_count > 0);
    list_remove(&f->kept);
    f->sw->kept_count--;
}

static void flow_give_up(struct in_flow *f)
{
    flow_keep_not(f);
    flow_check(f);
}

/* Makes room for one more session of that address. A session that a stream resumes now stays. */
static void flow_make_room(struct s2s_worker *sw, uint64_t holder)
{
    struct in_flow *oldest = NULL, *of_holder = NULL;
    uint32_t count = 0;
    LIST_EACH (it, &sw->kept) {
        struct in_flow *f = CONTAINER_OF(it, struct in_flow, kept);
        if (f->wanted)
            continue;
        oldest = oldest == NULL ? f : oldest;
        if (f->holder == holder && count++ == 0)
            of_holder = f;
    }
    if (count >= FLOWS_OF_ADDRESS)
        flow_give_up(of_holder);
    else if (sw->kept_count >= FLOWS_KEPT_MAX && oldest != NULL)
        flow_give_up(oldest);
}

/* Nobody has resumed it; or what is under way takes too long. */
static void flow_timed_out(struct timer *t, struct loop *loop)
{
    struct in_flow *f = CONTAINER_OF(t, struct in_flow, timer);
    (void)loop;
    if (f->wanted)
        flow_answer(f);
    else
        flow_give_up(f);
}

static uint64_t flow_keep_ms(const struct in_flow *f)
{
    uint64_t most = (uint64_t)setting_int(&s2s_resume_for), wanted = f->max_s * 1000ull;
    if (setting_int(&s2s_resume_for) == SETTING_NONE)
        return 0;
    return wanted < most ? wanted : most;
}

static bool flow_may_break(const struct in_flow *f)
{
    return f->id[0] != '\0' && !f->lost && flow_keep_ms(f) > 0 && !f->sw->in.stopped;
}

static void flow_keep(struct in_flow *f, slice pair, uint64_t holder)
{
    ensure(f->stream == NULL && !list_linked(&f->kept) && pair.len > 0);
    flow_make_room(f->sw, holder);
    f->holder = holder;
    f->pair = slice_keep(pair);
    list_append(&f->sw->kept, &f->kept);
    f->sw->kept_count++;
    timer_set(flow_loop(f), &f->timer, flow_keep_ms(f));
}

static void flow_part(struct s2s_in *s, bool resumable)
{
    struct in_flow *f = s->flow;
    s->flow = NULL;
    f->stream = NULL;
    f->x = NULL;
    loop_defer_cancel(&f->ack);
    if (resumable && flow_may_break(f))
        flow_keep(f, pairs_first(s), flow_holder(s));
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
    flow_enable(f, 0);
    f->mute = false;
}

void s2s_flow_goes_on(struct in_flow *f) { f->mute = false; }

bool s2s_flow_is_known(const struct in_flow *f) { return f->open == 0 && !f->lost; }

bool s2s_flow_is_due(const struct in_flow *f)
{
    return f != NULL && f->enabled && !f->mute && !f->lost && f->h != f->count;
}

uint32_t s2s_flow_h(const struct in_flow *f) { return flow_handled(f); }

void s2s_flow_tells(struct in_flow *f)
{
    f->asked = f->count;
    loop_defer(flow_loop(f), &f->ack);
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

void s2s_flow_leave(struct s2s_in *s)
{
    struct in_flow *f = s->flow;
    if (f == NULL)
        return;
    flow_part(s, s->broken);
    flow_check(f);
}

/* Elements. */

static void sm_fail(struct s2s_in *s, enum stanza_error e)
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
    flow_enable(f, 0);
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
    s2s_back_counts(s, 0);
}

/* Resumption: the question goes to all workers of all nodes. */

struct resume {
    slice id, pairs;
};
struct resumed {
    uint32_t h, max_s;
};

/* If it is resumed, it is gone before the answer is there: the id goes on there. While something is
 * under way nobody knows its h, and there is no answer: it is sent again, and may come twice. */
static void flow_answer(struct in_flow *f)
{
    struct worker *w = f->worker;
    struct message_from asker = f->asker;
    bool done = f->open == 0 && !f->lost;
    struct resumed answer = { .h = flow_handled(f), .max_s = f->max_s };
    ensure(f->wanted && f->stream == NULL && list_linked(&f->kept));
    f->wanted = false;
    flow_give_up(f);
    if (done)
        question_answer(w, &asker, &s2s_resumed_message, &answer);
    question_end(w, &asker);
}

static bool flow_is_of(const struct in_flow *f, slice pair)
{
    if (f->stream == NULL)
        return list_linked(&f->kept) && slice_eq(f->pair, pair);
    return slice_eq(pairs_first(f->stream), pair);
}

/* A stream that has not noticed yet that it is broken is taken from its connection. */
static void flow_take_from_stream(struct in_flow *f)
{
    struct s2s_in *s = f->stream;
    if (s == NULL)
        return;
    flow_part(s, !s->draining);
    xstream_fail(&s->x, XE_CONFLICT, SLICE("another stream has resumed this one"));
}

/* At the worker of the new stream. */
struct resuming {
    uint64_t stream;
    uint32_t h; /* what the peer has had of ours */
    bool found;
    struct resumed answer;
    char id[2 * FLOW_ID_BYTES + 1];
};

/* Of two that resume one stream, the first gets it. */
static void resume_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct resume *m = message;
    struct s2s_gate *g = s2s_gate_of(w);
    struct s2s_worker *sw = g != NULL ? s2s_worker(g, w) : NULL;
    struct in_flow *f = NULL;
    if (sw != NULL && m->id.len == 2 * FLOW_ID_BYTES)
        f = map_get(&sw->flow_by_id, m->id);
    if (f == NULL || sw->in.stopped || f->wanted || !flow_is_of(f, m->pairs)) {
        question_end(w, from);
        return;
    }
    flow_take_from_stream(f);
    if (!list_linked(&f->kept)) {
        flow_check(f);
        question_end(w, from);
        return;
    }
    f->asker = *from;
    f->wanted = true;
    if (f->open == 0) {
        flow_answer(f);
    } else {
        timer_set(flow_loop(f), &f->timer, HANDLED_MS);
    }
}

static void resumed_heard(struct worker *w, void *arg, void *answer,
                          const struct message_from *from)
{
    struct resuming *r = arg;
    (void)w, (void)from;
    r->answer = *(const struct resumed *)answer;
    r->found = true;
}

static void flow_goes_on(struct s2s_in *s, const struct resuming *r)
{
    struct buf b;
    struct xml_write w;
    struct in_flow *f = flow_of(s);
    f->max_s = r->answer.max_s;
    flow_enable(f, r->answer.h);
    memcpy(f->id, r->id, sizeof f->id);
    map_put(&f->sw->flow_by_id, f);
    xstream_can_be_resumed(&s->x);
    xml_begin(&w, &b, XML_PART_MAX);
    xml_open_with(&w, "resumed", NS_SM, "previd", slice_of(f->id));
    xml_attr_int(&w, "h", r->answer.h);
    xml_close(&w);
    xstream_write_buf(&s->x, &b);
    log_info(&log_s2s, LOG_EV("s2s.resumed"), LOG_S("domain", s->remote), LOG_S("local", s->local),
             LOG_I("h", r->answer.h));
    s2s_back_counts(s, r->h);
    pairs_resumed(s);
}

static void resuming_drop(void *arg) { mem_free(&arg); }

/* If the stream that resumes it has ended meanwhile, the next one begins anew. */
static void resumed_all(struct worker *w, void *arg)
{
    struct resuming *r = arg;
    struct s2s_worker *sw = s2s_worker(s2s_gate_of(w), w);
    struct s2s_in *s =
        map_get(&sw->in_by_id, (slice){ (const char *)&r->stream, sizeof r->stream });
    if (s != NULL && s->x.state == STREAM_BOUND && !s->x.end_sent) {
        if (r->found && map_get(&sw->flow_by_id, slice_of(r->id)) == NULL)
            flow_goes_on(s, r);
        else
            sm_fail(s, SE_ITEM_NOT_FOUND);
        xstream_go(&s->x);
    }
    mem_free(&r);
}

static void sm_resume(struct s2s_in *s, const struct elem *e)
{
    slice id = elem_attr(e, "previd", in_scratch(s));
    int64_t h;
    if (!slice_int(elem_attr(e, "h", in_scratch(s)), &h) || h < 0 || h > UINT32_MAX ||
        (h > 0 && !s->both)) {
        sm_fail(s, SE_BAD_REQUEST); /* nothing is sent on streams of one direction */
        return;
    }
    if (++s->resumptions > RESUMPTIONS_MAX) {
        xstream_fail(&s->x, XE_POLICY_VIOLATION, SLICE("too many attempts to resume a stream"));
        return;
    }
    if (id.len != 2 * FLOW_ID_BYTES) {
        sm_fail(s, SE_ITEM_NOT_FOUND);
        return;
    }
    struct resuming *r = mem_new(struct resuming);
    r->stream = s->x.id;
    r->h = (uint32_t)h;
    memcpy(r->id, id.ptr, id.len);
    xstream_wait(&s->x);
    each_home(s->x.worker, &s2s_resume_message, &(struct resume){ slice_of(r->id), pairs_first(s) },
              &(struct asker){
                  .gather = resumed_heard, .done = resumed_all, .arg = r, .drop = resuming_drop });
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
        s->shut = s->shut || slice_is(e->name, "enable") || slice_is(e->name, "resume");
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

static const struct message_field resume_fields[] = {
    F_TEXT(struct resume, id, 2 * FLOW_ID_BYTES),
    F_TEXT(struct resume, pairs, PAIRS_TEXT_MAX),
    { 0 },
};
static const struct message_field resumed_fields[] = {
    F_U32(struct resumed, h, UINT32_MAX),
    F_U32(struct resumed, max_s, RESUME_MAX_S),
    { 0 },
};
const struct message_row s2s_resumed_message = {
    .id = 111,
    .scope = MESSAGE_CLUSTER,
    .name = "s2s-resumed",
    .size = sizeof(struct resumed),
    .fields = resumed_fields,
};
const struct message_row s2s_resume_message = {
    .id = 110,
    .scope = MESSAGE_CLUSTER,
    .name = "s2s-resume",
    .size = sizeof(struct resume),
    .fields = resume_fields,
    .run = resume_run,
    .answer = &s2s_resumed_message,
    .later = true,
};

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
