#include "home/question.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "home/node.h"
#include "home/worker.h"

struct question {
    uint32_t id;
    unsigned left; /* workers that have not ended their answers */
    const struct message_row *row;
    struct asker by;
    struct worker *worker;
    bool asking; /* not all workers were asked yet */
    struct loop_defer over;
};

static slice question_key(const void *item)
{
    return (slice){ (const char *)&((const struct question *)item)->id, sizeof(uint32_t) };
}

void questions_init(struct worker *w) { map_init(&w->questions, question_key); }

void questions_fini(struct worker *w)
{
    struct question *q;
    for (uint32_t i = 0; (q = map_next(&w->questions, &i)) != NULL;)
        mem_free(&q);
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
    mem_free(&q);
    if (by.done != NULL)
        by.done(w, by.arg);
}

static void question_over_deferred(struct loop_defer *d)
{
    question_over(CONTAINER_OF(d, struct question, over));
}

static struct question *question_make(struct worker *w, const struct message_row *row,
                                      unsigned workers, const struct asker *by)
{
    struct question *q = mem_new(struct question);
    *q = (struct question){ .left = workers,
                            .row = row,
                            .by = *by,
                            .worker = w,
                            .asking = true,
                            .over.fn = question_over_deferred };
    do
        q->id = ++w->question;
    while (q->id == 0 || question_find(w, q->id) != NULL);
    map_put(&w->questions, q);
    return q;
}

/* The asking. */

static void question_ask_all(struct worker *w, const struct message_row *row, const void *message,
                             const struct message_from *as)
{
    max_align_t copy[MESSAGE_STRUCT_MAX / sizeof(max_align_t)];
    for (unsigned i = 0; i < w->node->worker_count; i++) {
        if (i == w->index)
            continue;
        message_copy(row, copy, message);
        home_send_as(w, 0, i, row, copy, as);
    }
}

void each_home(struct worker *w, const struct message_row *row, void *message,
               const struct asker *by)
{
    struct question *q = question_make(w, row, w->node->worker_count, by);
    const struct message_from as = { .question = q->id, .part = PART_QUESTION };
    question_ask_all(w, row, message, &as);
    home_send_as(w, 0, w->index, row, message, &as);
    q->asking = false;
    if (q->left == 0)
        loop_defer(w->loop, &q->over);
}

void home_ask_at(struct worker *w, uint32_t node, unsigned worker, const struct message_row *row,
                 void *message, const struct asker *by)
{
    struct question *q = question_make(w, row, 1, by);
    home_send_as(w, node, worker, row, message,
                 &(struct message_from){ .question = q->id, .part = PART_QUESTION });
    q->asking = false;
    if (q->left == 0)
        loop_defer(w->loop, &q->over);
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

static void question_answered(struct worker *w, const struct message_row *row, void *message,
                              const struct message_from *from)
{
    struct question *q = question_find(w, from->question);
    if (q == NULL)
        return;
    if (row == &question_ended_message)
        q->left -= q->left > 0;
    if (row == &question_ended_message && q->left == 0 && !q->asking)
        question_over(q);
    else if (row == q->row->answer && q->by.gather != NULL)
        q->by.gather(w, q->by.arg, message, from);
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
