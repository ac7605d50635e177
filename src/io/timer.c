#include "io/timer.h"
#include "base/ensure.h"
#include "io/loop_private.h"
#include <limits.h>

/* Two wheels: the near one has a slot a tick; the far one a slot for each turn of the near one,
 * whose timers move to the near wheel when that turn begins. What is later than the far wheel
 * reaches waits in its last slot and is placed again from there. */

void wheel_init(struct wheel *w, uint64_t now_us)
{
    *w = (struct wheel){ .tick = now_us / WHEEL_TICK_US };
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        for (unsigned i = 0; i < WHEEL_SLOTS; i++)
            list_init(&w->slot[level][i]);
    }
}

bool wheel_is_empty(const struct wheel *w)
{
    for (unsigned level = 0; level < WHEEL_LEVELS; level++)
        for (unsigned i = 0; i < WHEEL_SLOTS; i++)
            if (!list_empty(&w->slot[level][i]))
                return false;
    return true;
}

static void wheel_place(struct wheel *w, struct timer *t)
{
    uint64_t reach = (uint64_t)WHEEL_SLOTS * (WHEEL_SLOTS - 1);
    uint64_t delta = t->due_tick - w->tick;
    unsigned level = delta < WHEEL_SLOTS ? WHEEL_NEAR : WHEEL_FAR;
    unsigned i = (unsigned)(t->due_tick % WHEEL_SLOTS);

    ensure(t->due_tick >= w->tick);
    if (level == WHEEL_FAR)
        i = (unsigned)((w->tick + (delta < reach ? delta : reach)) / WHEEL_SLOTS % WHEEL_SLOTS);
    list_append(&w->slot[level][i], &t->node);
    w->used[level][i / 64] |= UINT64_C(1) << i % 64;
}

static void wheel_take(struct wheel *w, unsigned level, uint64_t at, struct list *out)
{
    unsigned i = (unsigned)(at % WHEEL_SLOTS);

    list_take_all(out, &w->slot[level][i]);
    w->used[level][i / 64] &= ~(UINT64_C(1) << i % 64);
}

void wheel_advance(struct loop *loop, struct wheel *w)
{
    uint64_t target = loop->now_us / WHEEL_TICK_US;
    struct list due, *node;
    while (w->tick < target) {
        w->tick++;
        if (w->tick % WHEEL_SLOTS == 0) {
            wheel_take(w, WHEEL_FAR, w->tick / WHEEL_SLOTS, &due);
            while ((node = list_pop(&due)) != NULL)
                wheel_place(w, CONTAINER_OF(node, struct timer, node));
        }
        wheel_take(w, WHEEL_NEAR, w->tick, &due);
        while ((node = list_pop(&due)) != NULL) {
            struct timer *t = CONTAINER_OF(node, struct timer, node);
            t->fn(t, loop);
            arena_reset(loop->scratch);
        }
    }
}

/* Slots from `at` to the next one that holds a timer, at least 1; 0: there is none. */
static unsigned wheel_distance(struct wheel *w, unsigned level, uint64_t at)
{
    unsigned d = 1;

    while (d < WHEEL_SLOTS) {
        unsigned i = (unsigned)((at + d) % WHEEL_SLOTS);
        uint64_t word = w->used[level][i / 64] >> i % 64;
        if (word == 0) {
            d += 64 - i % 64;
            continue;
        }
        d += (unsigned)__builtin_ctzll(word);
        i = (unsigned)((at + d) % WHEEL_SLOTS);
        if (!list_empty(&w->slot[level][i]))
            return d < WHEEL_SLOTS ? d : 0;
        w->used[level][i / 64] &= ~(UINT64_C(1) << i % 64); /* all were cancelled */
    }
    return 0;
}

int wheel_wait_ms(struct wheel *w, uint64_t now_us)
{
    unsigned near = wheel_distance(w, WHEEL_NEAR, w->tick);
    unsigned far = wheel_distance(w, WHEEL_FAR, w->tick / WHEEL_SLOTS);
    uint64_t tick = UINT64_MAX;
    if (near == 0 && far == 0)
        return -1;
    if (near > 0)
        tick = w->tick + near;
    if (far > 0 && (w->tick / WHEEL_SLOTS + far) * WHEEL_SLOTS < tick)
        tick = (w->tick / WHEEL_SLOTS + far) * WHEEL_SLOTS;
    uint64_t due_us = tick * WHEEL_TICK_US;
    uint64_t ms = due_us <= now_us ? 0 : (due_us - now_us + 999) / 1000;
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

void timer_set_tick(struct loop *loop, struct timer *t, uint64_t due_tick)
{
    ensure_debug(loop_here() == NULL || loop_here() == loop);
    ensure_debug(!timer_is_set(t) || t->loop == loop);
    list_remove(&t->node);
#ifdef MUSTER_DEBUG
    t->loop = loop;
#endif
    t->due_tick = due_tick > loop->wheel.tick ? due_tick : loop->wheel.tick + 1;
    wheel_place(&loop->wheel, t);
}

void timer_set(struct loop *loop, struct timer *t, uint64_t delay_ms)
{
    uint64_t max_ms = UINT64_C(10) * 365 * 86400 * 1000; /* ten years: no overflow below */
    uint64_t due_us = loop->now_us + (delay_ms < max_ms ? delay_ms : max_ms) * 1000;

    ensure(t->fn != NULL);
    timer_set_tick(loop, t, (due_us + WHEEL_TICK_US - 1) / WHEEL_TICK_US);
}

uint64_t timer_left_ms(const struct loop *loop, const struct timer *t)
{
    uint64_t due_us = t->due_tick * WHEEL_TICK_US;
    return timer_is_set(t) && due_us > loop->now_us ? (due_us - loop->now_us) / 1000 : 0;
}

void timer_cancel(struct timer *t)
{
    ensure_debug(!timer_is_set(t) || loop_here() == NULL || loop_here() == t->loop);
    list_remove(&t->node);
}
