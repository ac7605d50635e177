/* timer: a wheel of 100 ms on each loop (architecture §9). A timer fires once, at or up to 200 ms
 * after its time, on its loop's thread; set again from the callback to repeat. Setting and
 * cancelling are O(1). */
#pragma once
#include "base/list.h"
#include <stdint.h>

struct loop;

struct timer {
    struct list node; /* unlinked: not set */
    uint64_t due_tick;
    void (*fn)(struct timer *t, struct loop *loop);
#ifdef MUSTER_DEBUG
    struct loop *loop; /* on which it was set */
#endif
};

/* Replaces an earlier time. */
void timer_set(struct loop *loop, struct timer *t, uint64_t delay_ms);
void timer_cancel(struct timer *t);                                     /* not set: fine */
uint64_t timer_left_ms(const struct loop *loop, const struct timer *t); /* 0: due, or not set */
static inline int timer_is_set(const struct timer *t) { return list_linked(&t->node); }
