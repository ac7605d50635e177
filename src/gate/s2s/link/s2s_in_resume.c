#include "gate/s2s/link/s2s_in_resume.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "gate/s2s/link/s2s_in_back.h"
#include "gate/s2s/link/s2s_in_pairs.h"
#include "gate/s2s/s2s_rows.h"
#include "home/question.h"
#include "session/session.h"
#include "xmpp/ns.h"

enum {
    HANDLED_MS = 6000 /* an attempt to resume waits so long for what is under way */
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

/* There is room for one more of that address. Those that a stream waits for stay. */
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

static void flow_timed_out(struct timer *t, struct loop *loop);

static void flow_wait(struct in_flow *f)
{
    uint64_t now = loop_now_us(flow_loop(f));
    f->timer.fn = flow_timed_out;
    timer_set(flow_loop(f), &f->timer, f->until_us > now ? (f->until_us - now) / 1000 : 0);
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
    flow_make_room(f->sw, holder);
    f->holder = holder;
    f->pairs = (slice){ mem_alloc(pairs.len), pairs.len };
    memcpy((char *)(uintptr_t)f->pairs.ptr, pairs.ptr, pairs.len);
    list_append(&f->sw->kept, &f->kept);
    f->sw->kept_count++;
    f->until_us = loop_now_us(flow_loop(f)) + flow_keep_ms(f) * 1000;
    flow_wait(f);
}

void flow_part(struct s2s_in *s, bool resumable)
{
    struct in_flow *f = s->flow;
    s->flow = NULL;
    f->stream = NULL;
    f->x = NULL;
    f->back = s2s_back_kept(s, &f->back_zero);
    loop_defer_cancel(&f->ack);
    if (f->id[0] != '\0' && !f->sw->in.stopped && resumable && !f->lost && flow_keep_ms(f) > 0)
        flow_keep(f, pairs_write(s), flow_holder(s));
}

/* Resumption: the question goes to all workers of all nodes. */

struct resume {
    slice id, pairs;
};
struct resumed {
    uint32_t h, max_s;
    uint64_t back; /* see struct in_flow */
    uint32_t back_zero;
};

/* If it is resumed, it is gone before the answer is there: the id goes on there. While something is
 * under way nobody knows its h, and there is no answer: it is sent again, and may come twice. */
void flow_answer(struct in_flow *f)
{
    struct worker *w = f->worker;
    struct message_from asker = f->asker;
    bool done = f->open == 0 && !f->lost;
    struct resumed answer = {
        .h = flow_handled(f), .max_s = f->max_s, .back = f->back, .back_zero = f->back_zero
    };
    ensure(f->wanted && f->stream == NULL && list_linked(&f->kept));
    f->wanted = false;
    flow_give_up(f);
    if (done)
        question_answer(w, &asker, &s2s_resumed_message, &answer);
    question_end(w, &asker);
}

static bool flow_is_of(const struct in_flow *f, slice pairs)
{
    if (f->stream == NULL)
        return list_linked(&f->kept) && pairs_are_among(f->pairs, pairs);
    return pairs_are_among(pairs_write(f->stream), pairs);
}

/* A stream that has not noticed yet that it is broken is taken from its connection. */
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
        f->timer.fn = flow_timed_out;
        timer_set(flow_loop(f), &f->timer, HANDLED_MS);
    }
}

static void resumed_heard(struct worker *w, void *arg, void *answer,
                          const struct message_from *from)
{
    struct resuming *r = arg;
    r->answer = *(const struct resumed *)answer;
    r->found = true;
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

void sm_resume(struct s2s_in *s, const struct elem *e)
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
    each_home(s->x.worker, &s2s_resume_message, &(struct resume){ slice_of(r->id), pairs_write(s) },
              &(struct asker){
                  .gather = resumed_heard, .done = resumed_all, .arg = r, .drop = resuming_drop });
}

static const struct message_field resume_fields[] = {
    F_TEXT(struct resume, id, 2 * FLOW_ID_BYTES),
    F_TEXT(struct resume, pairs, PAIRS_TEXT_MAX),
    { 0 },
};
static const struct message_field resumed_fields[] = {
    F_U32(struct resumed, h, UINT32_MAX),
    F_U32(struct resumed, max_s, RESUME_MAX_S),
    F_U64(struct resumed, back),
    F_U32(struct resumed, back_zero, UINT32_MAX),
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
