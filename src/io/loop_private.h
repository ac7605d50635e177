/* loop, inside: what timer.c, mesh.c and conn*.c share with loop.c. */
#pragma once
#include "base/arena.h"
#include "io/loop.h"
#include "io/timer.h"
#include <stdatomic.h>
#include <sys/epoll.h>

enum {
    WHEEL_SLOTS = 512, /* near: 51 s of 100 ms each; far: 7 hours of 51 s each */
    WHEEL_TICK_US = 100000,
    LOOP_EVENTS_MAX = 256, /* a poll */
    LOOP_ROUNDS_MAX = 16   /* of deferred work and flush in one tick */
};

enum wheel_level { WHEEL_NEAR, WHEEL_FAR, WHEEL_LEVELS };

struct wheel {
    uint64_t tick; /* monotonic time / 100 ms; what is due up to here has fired */
    uint64_t used[WHEEL_LEVELS][WHEEL_SLOTS / 64]; /* a set bit may be stale: its slot is empty */
    struct list slot[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *w, uint64_t now_us);
bool wheel_is_empty(const struct wheel *w);
void wheel_advance(struct loop *loop, struct wheel *w);
int wheel_wait_ms(struct wheel *w, uint64_t now_us); /* until a timer is due; -1: none is set */
void timer_set_tick(struct loop *loop, struct timer *t, uint64_t due_tick);

/* The receiving side of the mesh. A loop has at most one. */
struct loop_inbox {
    bool (*ready)(struct loop_inbox *in); /* frames wait: asked before sleeping */
    void (*drain)(struct loop_inbox *in);
};

/* What the connections of a loop share; made with the first one. */
struct loop_local {
    void (*destroy)(struct loop_local *local);
};

enum { LOOP_READ_EACH = 8 };

struct loop {
    unsigned index;
    int epoll_fd, wake_fd;
    uint64_t now_us, wall_us;
    uint64_t worked_us;   /* monotonic, as of the end of the last tick's work, before its flush */
    uint32_t works;       /* ticks with input that write: each LOOP_READ_EACH of them is timed */
    uint64_t worked_tick; /* that tick */
    uint64_t tick;        /* polls so far */
    struct arena *scratch;
    struct list deferred, flushes;
    struct loop_inbox *inbox;
    struct loop_local *conns;
    struct work_pool *helpers; /* NULL: none */
    int event_at, event_count; /* event_at: the one being dispatched */
    int polled;                /* events of this tick */
    struct epoll_event events[LOOP_EVENTS_MAX];
    struct wheel wheel;
    const void *owner; /* of loop_set_owner(); NULL: none */

    char pad[64];                       /* below: written by other threads */
    _Atomic(struct loop_post *) posted; /* newest first */
    _Atomic int sleeping; /* in epoll_wait, or about to be; who clears it writes wake_fd */
    _Atomic int stopped;
    bool timers_ended;
    _Atomic uint64_t bypasses; /* of loop_bypasses() */
};

/* Any thread. The caller made its message visible first, with a sequentially consistent operation
 * or fence in between: either the loop sees the message before it sleeps, or it is seen sleeping
 * here. */
void loop_wake(struct loop *loop);

/* Moves all nodes to an empty head. */
static inline void list_take_all(struct list *to, struct list *from)
{
    list_init(to);
    if (list_empty(from))
        return;
    *to = *from;
    to->next->prev = to;
    to->prev->next = to;
    list_init(from);
}
