#include "home/question.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/rand.h"
#include "home/message_wire.h"
#include "home/node.h"
#include "home/worker.h"
#include "io/timer.h"

/* Answers that one node still owes. */
struct question_part {
    uint32_t node;
    unsigned left; /* workers that have not ended their answers */
};

struct question {
    uint32_t id;
    unsigned left; /* of all nodes */
    const struct message_row *row;
    struct asker by;
    struct worker *worker;
    bool asking; /* not all workers were asked yet */
    struct loop_defer over;
    struct timer timer; /* where other nodes were asked */
    unsigned parts;
    struct question_part part[];
};

static slice question_key(const void *item)
{
    return (slice){ (const char *)&((const struct question *)item)->id, sizeof(uint32_t) };
}

/* The numbers of a run begin anywhere: what is left of an earlier one answers none of these. */
void questions_init(struct worker *w)
{
    map_init(&w->questions, question_key);
    w->question = (uint32_t)rand_u64();
}

void questions_fini(struct worker *w)
{
    struct question *q;
    for (uint32_t i = 0; (q = map_next(&w->questions, &i)) != NULL;) {
        timer_cancel(&q->timer);
        if (q->by.drop != NULL)
            q->by.drop(q->by.arg);
        mem_free(&q);
    }
    map_fini(&w->questions);
}

static struct question *question_find(const struct worker *w, uint32_t id)
{
    return map_get(&w->questions, (slice){ (const char *)&id, sizeof id });
}

static void question_over(struct question *q)
{
    const struct asker by = q->by;
    struct worker *w = q->worker;
    map_del(&w->questions, question_key(q));
    timer_cancel(&q->timer);
    mem_free(&q);
    if (by.done != NULL)
        by.done(w, by.arg);
}

static void question_over_deferred(struct loop_defer *d)
{
    question_over(CONTAINER_OF(d, struct question, over));
}

/* Answers that will not come. */
static void question_lose(struct question *q, struct question_part *part)
{
    if (part->left == 0)
        return;
    ensure(q->left >= part->left);
    q->left -= part->left;
    part->left = 0;
    if (q->by.lost != NULL)
        q->by.lost(q->worker, q->by.arg);
}

static void question_too_late(struct timer *t, struct loop *loop)
{
    struct question *q = CONTAINER_OF(t, struct question, timer);
    (void)loop;
    if (q->left == 0) /* it is over later in this tick */
        return;
    log_warn(&log_frames, LOG_EV("question.late"), LOG_C("message", q->row->name),
             LOG_I("open", q->left),
             LOG_C("hint", "another node did not answer; it went on without"));
    for (unsigned i = 0; i < q->parts; i++)
        if (q->part[i].node != q->worker->node->id)
            question_lose(q, &q->part[i]);
    if (q->left == 0) /* else workers of this node still have it */
        question_over(q);
}

void questions_node_gone(struct worker *w, uint32_t node)
{
    struct question *q;
    for (uint32_t i = 0; (q = map_next(&w->questions, &i)) != NULL;) {
        bool open = q->left > 0;
        for (unsigned k = 0; k < q->parts; k++)
            if (q->part[k].node == node)
                question_lose(q, &q->part[k]);
        if (open && q->left == 0)
            loop_defer(w->loop, &q->over); /* the map must not change now */
    }
}

static struct question *question_make(struct worker *w, const struct message_row *row,
                                      const struct question_part *part, unsigned parts,
                                      const struct asker *by)
{
    ensure(parts >= 1 && parts <= BUS_NODES_MAX);
    struct question *q = mem_zalloc(sizeof *q + parts * sizeof *part);
    q->row = row;
    q->by = *by;
    q->worker = w;
    q->asking = true;
    q->over.fn = question_over_deferred;
    q->timer.fn = question_too_late;
    q->parts = parts;
    for (unsigned i = 0; i < parts; i++) {
        q->part[i] = part[i];
        q->left += part[i].left;
        if (part[i].node != w->node->id && !row->slow && !timer_is_set(&q->timer))
            timer_set(w->loop, &q->timer, QUESTION_MS);
    }
    do
        q->id = ++w->question;
    while (q->id == 0 || question_find(w, q->id) != NULL);
    map_put(&w->questions, q);
    return q;
}

/* The asking. */

static void question_asked(struct question *q)
{
    q->asking = false;
    if (q->left == 0)
        loop_defer(q->worker->loop, &q->over);
}

static void question_ask_all(struct worker *w, const struct question *q, const void *message,
                             const struct message_from *as)
{
    max_align_t copy[MESSAGE_STRUCT_MAX / sizeof(max_align_t)];
    for (unsigned p = 0; p < q->parts; p++)
        for (unsigned i = 0, n = node_workers(w->node, q->part[p].node); i < n; i++) {
            if (i == w->index && p == 0)
                continue;
            message_copy(q->row, copy, message);
            home_send_as(w, q->part[p].node, i, q->row, copy, as);
        }
}

void each_home(struct worker *w, const struct message_row *row, void *message,
               const struct asker *by)
{
    uint32_t nodes[BUS_NODES_MAX];
    struct question_part part[BUS_NODES_MAX];
    unsigned count = row->scope == MESSAGE_CLUSTER ? node_all(w->node, nodes) : 1;
    nodes[0] = w->node->id;
    for (unsigned i = 0; i < count; i++)
        part[i] = (struct question_part){ nodes[i], node_workers(w->node, nodes[i]) };
    struct question *q = question_make(w, row, part, count, by);
    const struct message_from as = { .question = q->id, .part = PART_QUESTION };
    question_ask_all(w, q, message, &as);
    home_send_as(w, 0, w->index, row, message, &as);
    question_asked(q);
}

static bool question_node_is_there(const struct worker *w, uint32_t node)
{
    uint32_t nodes[BUS_NODES_MAX];
    unsigned count = node == w->node->id ? 0 : node_all(w->node, nodes);
    ensure(node != 0 && count <= BUS_NODES_MAX);
    for (unsigned i = 0; i < count; i++)
        if (nodes[i] == node)
            return true;
    return node == w->node->id;
}

void home_ask_at(struct worker *w, uint32_t node, unsigned worker, const struct message_row *row,
                 void *message, const struct asker *by)
{
    const struct question_part part = { node == 0 ? w->node->id : node, 1 };
    struct question *q = question_make(w, row, &part, 1, by);
    if (question_node_is_there(w, part.node)) {
        home_send_as(w, node, worker, row, message,
                     &(struct message_from){ .question = q->id, .part = PART_QUESTION });
    } else { /* nobody will tell that it is gone: it was told */
        message_release(row, message);
        question_lose(q, &q->part[0]);
    }
    question_asked(q);
}

void home_ask(struct worker *w, slice bare, const struct message_row *row, void *message,
              const struct asker *by)
{
    uint32_t node;
    unsigned home = node_home(w->node, bare, &node);
    home_ask_at(w, node, home, row, message, by);
}

/* At the worker that is asked. */

static void question_say(struct worker *w, const struct message_from *from,
                         const struct message_row *row, void *answer)
{
    home_send_as(w, from->node, from->worker, row, answer,
                 &(struct message_from){ .question = from->question, .part = PART_ANSWER });
}

void question_answer(struct worker *w, const struct message_from *from,
                     const struct message_row *row, void *answer)
{
    if (from->part == PART_QUESTION)
        question_say(w, from, row, answer);
    else
        message_release(row, answer);
}

const struct message_row question_ended_message = {
    .id = 1,
    .scope = MESSAGE_CLUSTER,
    .name = "question-ended",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
};

void question_end(struct worker *w, const struct message_from *from)
{
    if (from->part == PART_QUESTION)
        question_say(w, from, &question_ended_message, &(struct message_nothing){ 0 });
}

/* The answers. */

static struct question_part *question_part_of(struct question *q, uint32_t node)
{
    for (unsigned i = 0; i < q->parts; i++)
        if (q->part[i].node == node)
            return &q->part[i];
    return NULL;
}

static void question_answered(struct worker *w, const struct message_row *row, void *message,
                              const struct message_from *from)
{
    struct question *q = question_find(w, from->question);
    struct question_part *part = q == NULL ? NULL : question_part_of(q, from->node);
    if (part == NULL || part->left == 0) /* it was given up */
        return;
    if (row != &question_ended_message) {
        if (row == q->row->answer && q->by.gather != NULL)
            q->by.gather(w, q->by.arg, message, from);
        return;
    }
    ensure(q->left >= part->left);
    part->left--;
    if (--q->left == 0 && !q->asking)
        question_over(q);
}

void question_deliver(struct worker *w, const struct message_row *row, void *message,
                      const struct message_from *from)
{
    ensure(from->part == PART_QUESTION || from->part == PART_ANSWER);
    if (from->part == PART_ANSWER) {
        question_answered(w, row, message, from);
        return;
    }
    row->run(w, message, from);
    if (!row->later)
        question_end(w, from);
}
