#include "gate/s2s/s2s_in_sm.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "gate/s2s/s2s_in_back.h"
#include "gate/s2s/s2s_in_pairs.h"
#include "gate/s2s/s2s_in_private.h"
#include "gate/s2s/s2s_rows.h"
#include "gate/s2s/s2s_take.h"
#include "home/question.h"
#include "home/router.h"
#include "home/ticket.h"
#include "home/trail.h"
#include "im/session.h"
#include "xmpp/ns.h"
#include "xmpp/promise.h"

enum {
    FLOW_ID_BYTES = 16,
    HOLDERS = 1024,          /* counts of addresses: two may share one */
    EXPIRED_MS = 10 * 60000, /* h of a stream that can be resumed no more is still told */
    ASKS_MAX = 16,           /* of an attempt to resume: see resume_is_tried() */
    HANDLED_MS = 6000        /* an attempt to resume waits so long for what is under way */
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
    bool owned;               /* by the partner of such a stream */
    struct list reports;      /* of stanzas that are not handled, the oldest first */
    uint32_t count, h;
    uint32_t floor;       /* its count as <enabled/> or <resumed/> was sent */
    uint32_t base;        /* what h of the protocol counts from: floor, or before a resumption */
    uint32_t asked, told; /* counts: of the last <r/>, and of the last <a/> */
    uint32_t open;        /* reports that are to come */
    uint32_t max_s;       /* the longest that the peer wants it to be kept; 0: not at all */
    bool enabled;
    bool mute;         /* its stream is not resumed yet */
    bool lost;         /* a stanza that nobody knows the end of: h does not go beyond it */
    bool expired;      /* kept for its h alone */
    uint64_t holder;   /* of the address of its peer */
    uint64_t until_us; /* loop time: so long it is kept */
    bool held;         /* its stream is not read */
    bool wanted;       /* `asker`, the youngest, waits until nothing is under way */
    struct message_from asker;
    uint64_t asker_us; /* see struct resume */
    struct loop_defer ack;
    struct timer timer; /* the end of what it waits for: until_us, or HANDLED_MS */
    uint64_t back; /* the stream, if a partner of ours can go on writing; see s2s_back_kept() */
    uint32_t back_zero;
    slice pairs;                    /* of the stream, when it is kept: see pairs_write() */
    char id[2 * FLOW_ID_BYTES + 1]; /* empty: it cannot be resumed */
};

/* A stanza that is not handled yet. */
struct report {
    struct list node; /* in in_flow.reports */
    struct in_flow *flow;
    uint32_t number;
};

static slice flow_key(const void *item) { return slice_of(((const struct in_flow *)item)->id); }

static struct loop *flow_loop(const struct in_flow *f) { return worker_loop(f->worker); }

static uint32_t flow_handled(const struct in_flow *f)
{
    bool early = (int32_t)(f->h - f->floor) < 0; /* what is not handled came before */
    return (early ? f->floor : f->h) - f->base;
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

void s2s_flow_end(struct s2s_in *s)
{
    s2s_flow_last_ack(s->flow);
    if (s->stopping)
        xstream_fail(&s->x, XE_SYSTEM_SHUTDOWN, (slice){ 0 });
    else
        xstream_close(&s->x, (slice){ 0 });
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

static void flow_answer(struct in_flow *f);

/* An end that was begun may have waited for this. */
static void flow_end_goes_on(struct s2s_in *s)
{
    if (s2s_back_waits(s))
        return;
    if (s->shut && !s->parts)
        s2s_flow_shut(s);
    else if (s->closing)
        s2s_flow_finish(s);
}

/* All that has come is. */
static void flow_is_handled(struct s2s_in *s)
{
    if (s->draining)
        s2s_flow_end(s);
    else if (s->x.state == STREAM_BOUND && !s->stopping && !s->x.end_sent)
        flow_end_goes_on(s);
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
            flow_is_handled(f->stream);
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

static void flow_give_up(struct in_flow *f)
{
    flow_keep_not(f);
    flow_check(f);
}

/* The one that is missed least: one that cannot be resumed, else the oldest. */
static struct in_flow *flow_lesser(struct in_flow *a, struct in_flow *b)
{
    return a == NULL || (b->expired && !a->expired) ? b : a;
}

/* Of whoever has most of them. */
static struct in_flow *flow_of_most(const struct s2s_worker *sw)
{
    uint16_t counts[HOLDERS] = { 0 }, most = 0;
    struct in_flow *found = NULL;
    LIST_EACH (it, &sw->kept) {
        uint16_t n = ++counts[CONTAINER_OF(it, struct in_flow, kept)->holder % HOLDERS];
        most = n > most ? n : most;
    }
    LIST_EACH (it, &sw->kept) {
        struct in_flow *f = CONTAINER_OF(it, struct in_flow, kept);
        if (!f->wanted && counts[f->holder % HOLDERS] == most)
            found = flow_lesser(found, f);
    }
    return found;
}

/* There is room for one more of that pair and that address. Those that a stream waits for stay. */
static void flow_make_room(struct s2s_worker *sw, slice pair, uint64_t holder)
{
    struct in_flow *of_pair = NULL, *of_holder = NULL, *given_up = NULL;
    uint32_t pair_count = 0, holder_count = 0;
    LIST_EACH (it, &sw->kept) {
        struct in_flow *f = CONTAINER_OF(it, struct in_flow, kept);
        if (f->wanted)
            continue;
        if (f->holder == holder && ++holder_count > 0)
            of_holder = flow_lesser(of_holder, f);
        if (slice_eq(pairs_at(f->pairs, 0), pair) && ++pair_count > 0)
            of_pair = flow_lesser(of_pair, f);
    }
    if (pair_count >= FLOWS_OF_PAIR)
        given_up = of_pair;
    else if (holder_count >= FLOWS_OF_ADDRESS)
        given_up = of_holder;
    else if (sw->kept_count >= FLOWS_KEPT_MAX)
        given_up = flow_of_most(sw);
    if (given_up != NULL)
        flow_give_up(given_up);
}

static void flow_timed_out(struct timer *t, struct loop *loop);

static void flow_wait(struct in_flow *f)
{
    uint64_t now = loop_now_us(flow_loop(f));
    f->timer.fn = flow_timed_out;
    timer_set(flow_loop(f), &f->timer, f->until_us > now ? (f->until_us - now) / 1000 : 0);
}

static void flow_expire(struct in_flow *f)
{
    if (!f->expired)
        f->until_us = loop_now_us(flow_loop(f)) + EXPIRED_MS * 1000ull;
    f->expired = true;
    flow_wait(f);
}

static void flow_answer(struct in_flow *f);

/* Its time is over: first to be resumed, then to be remembered; or what is under way takes too
 * long. */
static void flow_timed_out(struct timer *t, struct loop *loop)
{
    struct in_flow *f = CONTAINER_OF(t, struct in_flow, timer);
    (void)loop;
    if (f->wanted)
        flow_answer(f);
    else if (!f->expired)
        flow_expire(f);
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

static void flow_keep(struct in_flow *f, slice pairs, uint64_t holder)
{
    ensure(f->stream == NULL && !list_linked(&f->kept) && pairs.len >= DIGEST_CHARS);
    flow_make_room(f->sw, pairs_at(pairs, 0), holder);
    f->holder = holder;
    f->pairs = (slice){ mem_alloc(pairs.len), pairs.len };
    memcpy((char *)(uintptr_t)f->pairs.ptr, pairs.ptr, pairs.len);
    list_append(&f->sw->kept, &f->kept);
    f->sw->kept_count++;
    f->until_us = loop_now_us(flow_loop(f)) + flow_keep_ms(f) * 1000;
    flow_wait(f);
}

/* The stream is without its flow, which is kept: to be resumed, or for its h alone. */
static void flow_part(struct s2s_in *s, bool resumable)
{
    struct in_flow *f = s->flow;
    s->flow = NULL;
    f->stream = NULL;
    f->x = NULL;
    f->back = s2s_back_kept(s, &f->back_zero);
    loop_defer_cancel(&f->ack);
    if (f->id[0] != '\0' && !f->sw->in.stopped) {
        slice pairs = pairs_write(s);
        flow_keep(f, pairs, flow_holder(s));
        if (!resumable || f->lost || flow_keep_ms(f) == 0)
            flow_expire(f);
    }
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

/* Resumption: the question goes to all workers of all nodes. */

struct resume {
    slice id, pairs;
    uint64_t began_us; /* wall time of the stream that asks: of two, the younger one gets it */
};
struct resumed {
    bool found; /* else there is none that can be resumed */
    bool known; /* h is. found, and not known: what has come is under way, another attempt may do */
    uint32_t h, max_s;
    uint64_t back; /* see struct in_flow */
    uint32_t back_zero;
    bool busy; /* nothing else is said: an older attempt perhaps has it, and is not at its end */
};

/* If it is resumed, it is gone before the answer is there, which may be at once: the id goes on
 * there. While something is under way, nobody knows its h, and its peer must not send that again:
 * it stays. Else its h is remembered. */
static void flow_answer(struct in_flow *f)
{
    struct worker *w = f->worker;
    struct message_from asker = f->asker;
    bool done = f->open == 0 && !f->lost && !f->expired, later = f->open > 0 && !f->lost;
    struct resumed answer = { .found = done || later,
                              .known = f->open == 0,
                              .h = flow_handled(f),
                              .max_s = f->max_s,
                              .back = f->back,
                              .back_zero = f->back_zero };
    ensure(f->wanted && f->stream == NULL && list_linked(&f->kept));
    f->wanted = false;
    if (done)
        flow_give_up(f);
    else if (later)
        flow_wait(f);
    else
        flow_expire(f);
    question_answer(w, &asker, &s2s_resumed_message, &answer);
    question_end(w, &asker);
}

/* A stream that has not noticed yet that it is broken is taken from its connection. One that ends
 * cannot be resumed, but its peer hears what was handled. */
static bool flow_is_of(const struct in_flow *f, slice pairs)
{
    if (f->stream == NULL)
        return list_linked(&f->kept) && pairs_are_among(f->pairs, pairs);
    return pairs_are_among(pairs_write(f->stream), pairs);
}

static void flow_take_from_stream(struct in_flow *f)
{
    struct s2s_in *s = f->stream;
    if (s == NULL)
        return;
    flow_part(s, !s->draining);
    s->taken = !s->draining;
    xstream_fail(&s->x, XE_CONFLICT, SLICE("another stream has resumed this one"));
}

/* At the worker of the new stream. */
struct resuming {
    struct list node; /* in s2s_worker.resuming */
    uint64_t stream, holder;
    uint64_t began_us; /* see struct resume */
    uint32_t h;        /* what the peer has had of ours */
    struct resumed answer;
    bool busy;    /* one has said so */
    uint8_t asks; /* at most ASKS_MAX */
    char id[2 * FLOW_ID_BYTES + 1];
    uint16_t pairs_len;
    char pairs[]; /* of the stream: see pairs_write() */
};

/* An older attempt is under way here. What it is answered is on its way: nobody else has that. So
 * who asks asks again. All answers to the older one are here before the second time, or at the
 * latest the third. */
static bool resume_is_tried(const struct s2s_worker *sw, const struct resume *m)
{
    LIST_EACH (it, &sw->resuming) {
        const struct resuming *r = CONTAINER_OF(it, struct resuming, node);
        if (r->began_us < m->began_us && slice_eq(slice_of(r->id), m->id))
            return true;
    }
    return false;
}

/* An attempt that waits for what is under way has perhaps ended, and nobody has noticed: a younger
 * one takes its place. */
static void resume_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct resume *m = message;
    struct s2s_gate *g = s2s_gate_of(w);
    struct s2s_worker *sw = g != NULL ? s2s_worker(g, w) : NULL;
    struct in_flow *f = NULL;
    if (sw != NULL && m->id.len == 2 * FLOW_ID_BYTES)
        f = map_get(&sw->flow_by_id, m->id);
    if (f == NULL || sw->in.stopped || !flow_is_of(f, m->pairs) ||
        (f->wanted && m->began_us <= f->asker_us)) {
        if (f == NULL && sw != NULL && resume_is_tried(sw, m))
            question_answer(w, from, &s2s_resumed_message, &(struct resumed){ .busy = true });
        question_end(w, from);
        return;
    }
    if (f->wanted)
        question_end(w, &f->asker);
    flow_take_from_stream(f);
    f->asker = *from;
    f->asker_us = m->began_us;
    f->wanted = true;
    if (f->open == 0) {
        flow_answer(f);
    } else {
        f->timer.fn = flow_timed_out;
        timer_set(flow_loop(f), &f->timer, HANDLED_MS);
    }
}

static void resumed_heard(struct worker *w, void *arg, void *answer,
                          const struct message_from *from)
{
    const struct resumed *said = answer;
    struct resuming *r = arg;
    if (said->busy) {
        r->busy = true;
        return;
    }
    r->answer = *said;
    if (from->node != 0 && from->node != worker_node(w)->id)
        r->answer.back = 0; /* ids of streams are of a node */
}

static void sm_fail(struct s2s_in *s, enum stanza_error e, const struct resumed *known)
{
    struct buf b;
    struct xml_write w;
    if (s->x.end_sent)
        return;
    xml_begin(&w, &b, XML_PART_MAX);
    xml_open(&w, "failed", NS_SM);
    if (known != NULL && known->known)
        xml_attr_int(&w, "h", known->h);
    xml_empty(&w, stanza_error_name(e), NS_STANZA_ERROR);
    xml_close(&w);
    xstream_write_buf(&s->x, &b);
}

/* It has this id, and counts on from there. */
static void flow_takes_over(struct in_flow *f, const struct resuming *r)
{
    f->enabled = true;
    f->max_s = r->answer.max_s;
    f->floor = f->told = f->asked = f->count;
    f->base = f->floor - r->answer.h;
    memcpy(f->id, r->id, sizeof f->id);
    map_put(&f->sw->flow_by_id, f);
}

static void flow_goes_on(struct s2s_in *s, const struct resuming *r)
{
    struct buf b;
    struct xml_write w;
    struct in_flow *f = flow_of(s);
    flow_takes_over(f, r);
    xstream_can_be_resumed(&s->x);
    xml_begin(&w, &b, XML_PART_MAX);
    xml_open_with(&w, "resumed", NS_SM, "previd", slice_of(f->id));
    xml_attr_int(&w, "h", r->answer.h);
    xml_close(&w);
    xstream_write_buf(&s->x, &b);
    log_info(&log_s2s, LOG_EV("s2s.resumed"), LOG_S("domain", in_remote(s)),
             LOG_S("local", in_local(s)), LOG_I("h", r->answer.h));
    s2s_back_goes_on(s, &(struct s2s_back_resumed){ r->answer.back, r->answer.back_zero, r->h });
    pairs_resumed(s);
}

/* The stream that resumed it is gone already: it waits here for the next one. */
static void flow_stays(struct worker *w, const struct resuming *r)
{
    struct in_flow *f = flow_new(s2s_worker(s2s_gate_of(w), w), w);
    flow_takes_over(f, r);
    f->back = r->answer.back;
    f->back_zero = r->answer.back_zero;
    flow_keep(f, (slice){ r->pairs, r->pairs_len }, r->holder);
    if (flow_keep_ms(f) == 0)
        flow_expire(f);
}

static void resume_ask(struct worker *w, struct resuming *r);

static void resuming_drop(void *arg) { mem_free(&arg); }

static void resumed_all(struct worker *w, void *arg)
{
    struct resuming *r = arg;
    struct s2s_worker *sw = s2s_worker(s2s_gate_of(w), w);
    struct s2s_in *s =
        map_get(&sw->in_by_id, (slice){ (const char *)&r->stream, sizeof r->stream });
    bool later = r->answer.found && !r->answer.known;
    bool found = r->answer.found && !later && map_get(&sw->flow_by_id, slice_of(r->id)) == NULL;
    if (s != NULL && s->x.state == STREAM_BOUND && !s->x.end_sent) {
        if (!found && !later && r->busy && r->asks < ASKS_MAX) {
            resume_ask(w, r);
            return;
        }
        if (found)
            flow_goes_on(s, r);
        else if (later)
            xstream_fail(&s->x, XE_RESOURCE_CONSTRAINT,
                         SLICE("what came before is not stored yet: resume the stream later"));
        else
            sm_fail(s, SE_ITEM_NOT_FOUND, &r->answer);
        xstream_go(&s->x);
    } else if (found && !sw->in.stopped) {
        flow_stays(w, r);
    }
    list_remove(&r->node);
    mem_free(&r);
}

static void resume_ask(struct worker *w, struct resuming *r)
{
    r->busy = false;
    r->asks++;
    each_home(w, &s2s_resume_message,
              &(struct resume){ slice_of(r->id), { r->pairs, r->pairs_len }, r->began_us },
              &(struct asker){
                  .gather = resumed_heard, .done = resumed_all, .arg = r, .drop = resuming_drop });
}

static void sm_resume(struct s2s_in *s, const struct elem *e)
{
    slice id = elem_attr(e, "previd", in_scratch(s));
    int64_t h;
    if (!slice_int(elem_attr(e, "h", in_scratch(s)), &h) || h < 0 || h > UINT32_MAX ||
        (h > 0 && !s->both)) {
        sm_fail(s, SE_BAD_REQUEST, NULL); /* nothing is sent on streams of one direction */
        return;
    }
    if (++s->resumptions > RESUMPTIONS_MAX) {
        xstream_fail(&s->x, XE_POLICY_VIOLATION, SLICE("too many attempts to resume a stream"));
        return;
    }
    if (id.len != 2 * FLOW_ID_BYTES) {
        sm_fail(s, SE_ITEM_NOT_FOUND, NULL);
        return;
    }
    slice pairs = pairs_write(s);
    struct resuming *r = mem_zalloc(sizeof *r + pairs.len);
    struct loop *loop = worker_loop(s->x.worker);
    r->stream = s->x.id;
    r->began_us = loop_wall_us(loop) - (loop_now_us(loop) - s->x.opened_us);
    r->holder = flow_holder(s);
    r->h = (uint32_t)h;
    r->pairs_len = (uint16_t)pairs.len;
    memcpy(r->pairs, pairs.ptr, pairs.len);
    memcpy(r->id, id.ptr, id.len);
    list_append(&s2s_worker(s->gate, s->x.worker)->resuming, &r->node);
    xstream_wait(&s->x);
    resume_ask(s->x.worker, r);
}

static const struct message_field resume_fields[] = {
    F_TEXT(struct resume, id, 2 * FLOW_ID_BYTES),
    F_TEXT(struct resume, pairs, PAIRS_TEXT_MAX),
    F_U64(struct resume, began_us),
    { 0 },
};
static const struct message_field resumed_fields[] = {
    F_BOOL(struct resumed, found),        F_BOOL(struct resumed, known),
    F_U32(struct resumed, h, UINT32_MAX), F_U32(struct resumed, max_s, RESUME_MAX_S),
    F_U64(struct resumed, back),          F_U32(struct resumed, back_zero, UINT32_MAX),
    F_BOOL(struct resumed, busy),         { 0 },
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

/* Ends. */

void s2s_flow_drain(struct s2s_in *s)
{
    ensure(s->x.state == STREAM_BOUND && !s->draining);
    s->draining = true;
    xstream_wait(&s->x);
    in_ends_soon(s);
}

/* What our end crosses is not acknowledged, and not every server sends it again: others give it
 * back to its senders. So a stream whose peer may be writing is read on until that is silent. */
static bool flow_listens(struct s2s_in *s, uint64_t most_ms)
{
    bool counts = s2s_flow_is_enabled(s) || s->external; /* or <enable/> is on its way, perhaps */
    bool takes = counts && s->x.state == STREAM_BOUND && !s->x.end_sent && !s->draining &&
                 !s->shut && !s->skipped;
    uint64_t ms = takes ? s2s_quiet_in_ms(&s->x, xstream_left_ms(&s->x, most_ms)) : 0;
    if (ms > 0)
        timer_set(worker_loop(s->x.worker), &s->quiet, ms);
    else
        timer_cancel(&s->quiet);
    return ms > 0;
}

/* What the peer has sent before it reads our end is still taken (RFC 6120 §4.4). Where it counts
 * acknowledgements it is not: none can follow our end, so the peer sends that again, or gives it
 * back. If only its end can confirm what was written back, the stream is read until then. */
void s2s_flow_finish(struct s2s_in *s)
{
    if (s->closing && flow_listens(s, S2S_LISTEN_MS))
        return;
    s->closing = false;
    if (s->x.state != STREAM_BOUND)
        xstream_close(&s->x, (slice){ 0 });
    if (s->x.state == STREAM_CLOSED || s->x.end_sent || s->draining)
        return;
    if (s2s_flow_waits(s) && s2s_back_needs_end(s)) { /* flow_is_handled() goes on */
        s->closing = s->skipped = true;
        in_ends_soon(s);
    } else if (s2s_flow_waits(s)) {
        s2s_flow_drain(s);
    } else if (s2s_flow_is_enabled(s) && !s2s_back_needs_end(s)) {
        s2s_flow_end(s);
    } else {
        s2s_flow_last_ack(s->flow);
        xstream_send_end(&s->x);
        in_ends_soon(s);
    }
}

void s2s_flow_shut(struct s2s_in *s)
{
    ensure(s->shut && !s->parts);
    if (s2s_back_waits(s))
        s2s_back_ask(s); /* sm_acked() goes on */
    else if (s2s_flow_waits(s))
        return; /* so does flow_advance() */
    else if (s2s_back_needs_end(s)) {
        s2s_flow_last_ack(s->flow);
        xstream_send_end(&s->x);
    } else
        xstream_fail(&s->x, XE_RESET, IN_IS_SHUT);
}

void s2s_flow_stop(struct s2s_in *s)
{
    if (flow_listens(s, S2S_LISTEN_STOPPING_MS))
        return;
    if (s2s_flow_waits(s))
        s2s_flow_drain(s);
    else
        s2s_flow_end(s);
}

void s2s_flow_is_quiet(struct timer *t, struct loop *loop)
{
    struct s2s_in *s = CONTAINER_OF(t, struct s2s_in, quiet);
    (void)loop;
    if (s->x.end_sent || s->draining || s2s_back_waits(s))
        return;
    if (s->stopping)
        s2s_flow_stop(s);
    else
        flow_end_goes_on(s);
}

/* Elements. */

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
        if (s->stopping && !s->draining && !s2s_back_waits(s))
            s2s_flow_stop(s);
        else
            flow_end_goes_on(s);
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
        sm_fail(s, SE_UNEXPECTED_REQUEST, NULL);
    }
}

void s2s_sm_early(struct s2s_in *s) { sm_fail(s, SE_UNEXPECTED_REQUEST, NULL); }

/* Life. */

void s2s_flows_init(struct s2s_worker *sw)
{
    list_init(&sw->flows);
    list_init(&sw->kept);
    list_init(&sw->resuming);
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
