/* work: helper threads for what would block a loop (PBKDF2, TLS handshakes, files). They are a
 * little nicer than the loops.
 *
 * Work with a lane (a hash of the address it is done for) is fair: one of a lane runs at a time,
 * lanes take turns with each other, and work without a lane goes in between. Limits: `queue_max`
 * without a lane, WORK_LANE_MAX in each lane, WORK_LANES_MAX lanes. */
#pragma once
#include "base/err.h"
#include "base/list.h"
#include "io/loop.h"

enum { WORK_LANE_MAX = 256, WORK_LANES_MAX = 4096 };

struct work_pool;
struct work_lane;

/* Embedded in its owner, which lives until done() ran or work_cancel() took it back. run() is
 * called on a helper thread and touches only what the owner put aside for it; done() on the loop
 * that submitted. */
struct work {
    struct loop_post post;
    struct list node; /* while it is queued */
    void (*run)(struct work *w);
    void (*done)(struct work *w);
    struct loop *loop;
    uint64_t lane;        /* 0: none */
    bool may_skip;        /* when the server stops: need not run if it has not begun */
    bool skipped;         /* for done(): it did not run */
    struct work_lane *in; /* of the pool */
};

struct work_pool *work_pool_create(unsigned threads, unsigned queue_max);
/* For much work that is short, and that its owner bounds: lanes have no limits, and of one lane
 * several run at a time, with a turn of the others in between. A loop that sleeps is woken for up
 * to OWED_MAX together: with one processor each time costs two switches of threads. Before the
 * first work. */
void work_pool_set_wide(struct work_pool *pool);
/* The server stops: work that may be skipped and has not begun is given back by done() with
 * `skipped`, and is refused from now on. Any thread, once. */
void work_pool_skip(struct work_pool *pool);
/* Finishes what is queued, joins the threads, and takes no work any more. What was done is given
 * back to the loops, so they still run: what a stopped loop is given is never freed. Any thread but
 * a loop's. */
void work_pool_end(struct work_pool *pool);
void work_pool_destroy(struct work_pool **pool); /* ends it, if that was not done */
/* E_LIMIT: the queue or the lane is full, or the pool takes no such work any more. */
NODISCARD enum err work_submit(struct work_pool *pool, struct loop *loop, struct work *w);
/* True: it has not begun, and is the caller's again; done() will not be called. On the loop that
 * submitted. */
NODISCARD bool work_cancel(struct work_pool *pool, struct work *w);
