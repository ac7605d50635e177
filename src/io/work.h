/* work: helper threads for what would block a loop (PBKDF2, files, name look-ups). The queue
 * has a maximum. */
#pragma once
#include "base/err.h"
#include "io/loop.h"

struct work_pool;

/* Embedded in its owner, which lives until done() ran. run() is called on a helper thread and
 * touches only what the owner put aside for it; done() on the loop that submitted. */
struct work {
    struct loop_post post;
    void (*run)(struct work *w);
    void (*done)(struct work *w);
    struct loop *loop;
};

struct work_pool *work_pool_create(unsigned threads, unsigned queue_max);
void work_pool_destroy(struct work_pool **pool); /* finishes what is queued, joins the threads */
/* E_LIMIT: the queue is full. */
NODISCARD enum err work_submit(struct work_pool *pool, struct loop *loop, struct work *w);
