#include "gate/s2s/s2s_in_resume.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "gate/s2s/s2s_in_back.h"
#include "gate/s2s/s2s_in_pairs.h"
#include "gate/s2s/s2s_rows.h"
#include "home/question.h"
#include "im/session.h"
#include "xmpp/ns.h"

enum {
    HOLDERS = 1024,          /* counts of addresses: two may share one */
    EXPIRED_MS = 10 * 60000, /* h of a stream that can be resumed no more is still told */
    ASKS_MAX = 16,           /* of an attempt to resume: see resume_is_tried() */
    HANDLED_MS = 6000        /* an attempt to resume waits so long for what is under way */
};

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

void flow_keep_not(struct in_flow *f)
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

uint64_t flow_keep_ms(const struct in_flow *f)
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
void flow_part(struct s2s_in *s, bool resumable)
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
void flow_answer(struct in_flow *f)
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
            sm_fail(s, SE_ITEM_NOT_FOUND, r->answer.known ? &r->answer.h : NULL);
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

void sm_resume(struct s2s_in *s, const struct elem *e)
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
