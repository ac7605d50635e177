#include "io/loop.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/latency.h"
#include "base/mem.h"
#include "io/loop_private.h"
#include <errno.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TURN_NS = 100 * 1000 };

static _Thread_local struct loop *here;

struct loop *loop_create(unsigned index)
{
    struct loop *loop = mem_new(struct loop);
    /* Edge-triggered: each write wakes once, and the counter need never be read. */
    struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.ptr = NULL };
    loop->index = index;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ensure(loop->epoll_fd >= 0 && loop->wake_fd >= 0);
    int rc = epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &ev);
    ensure(rc == 0);
    loop->now_us = clock_mono_us();
    loop->wall_us = clock_wall_us();
    loop->scratch = arena_create(0);
    list_init(&loop->deferred);
    list_init(&loop->flushes);
    wheel_init(&loop->wheel, loop->now_us);
    return loop;
}

void loop_destroy(struct loop **loop)
{
    struct loop *l = *loop;

    if (l == NULL)
        return;
    ensure(here != l);
    if (l->conns != NULL)
        l->conns->destroy(l->conns);
    /* its owner may be freed already, and the next timer in its place would write there */
    ensure_debug(wheel_is_empty(&l->wheel));
    close(l->epoll_fd);
    close(l->wake_fd);
    arena_destroy(&l->scratch);
    mem_free(loop);
}

unsigned loop_index(const struct loop *loop) { return loop->index; }
struct loop *loop_here(void) { return here; }
void loop_set_owner(struct loop *loop, const void *owner) { loop->owner = owner; }
uint64_t loop_bypasses(const struct loop *loop) { return atomic_load(&loop->bypasses); }
uint64_t loop_now_us(const struct loop *loop) { return loop->now_us; }
uint64_t loop_wall_us(const struct loop *loop) { return loop->wall_us; }
void loop_renew_wall(struct loop *loop) { loop->wall_us = clock_wall_us(); }
struct arena *loop_scratch(struct loop *loop) { return loop->scratch; }

enum err loop_add(struct loop *loop, struct loop_source *s)
{
    struct epoll_event ev = { .events = s->events, .data.ptr = s };

    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, s->fd, &ev) == 0 ? OK : E_IO;
}

void loop_change(struct loop *loop, struct loop_source *s, uint32_t events)
{
    struct epoll_event ev = { .events = events, .data.ptr = s };
    if (events == s->events)
        return;
    s->events = events;
    int rc = epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, s->fd, &ev);
    ensure(rc == 0);
}

void loop_remove(struct loop *loop, struct loop_source *s)
{
    int rc = epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);

    ensure(rc == 0);
    for (int i = loop->event_at + 1; i < loop->event_count; i++) {
        if (loop->events[i].data.ptr == s)
            loop->events[i].data.ptr = NULL;
    }
}

void loop_defer(struct loop *loop, struct loop_defer *d)
{
    ensure_debug(loop_here() == NULL || loop_here() == loop);
    if (!list_linked(&d->node))
        list_append(&loop->deferred, &d->node);
}

void loop_defer_cancel(struct loop_defer *d) { list_remove(&d->node); }

void loop_at_flush(struct loop *loop, struct loop_defer *d)
{
    ensure_debug(loop_here() == NULL || loop_here() == loop);
    if (!list_linked(&d->node))
        list_append(&loop->flushes, &d->node);
}

void loop_wake(struct loop *loop)
{
    static const uint64_t one = 1;
    if (atomic_load(&loop->sleeping) == 0 || atomic_exchange(&loop->sleeping, 0) == 0)
        return;
    ssize_t n = write(loop->wake_fd, &one, sizeof(one));
    ensure(n == (ssize_t)sizeof(one));
}

void loop_post_quietly(struct loop *loop, struct loop_post *p)
{
    struct loop_post *first = atomic_load_explicit(&loop->posted, memory_order_relaxed);

#ifdef MUSTER_DEBUG
    if (here != NULL && here != loop && here->owner != NULL && here->owner == loop->owner)
        atomic_fetch_add(&loop->bypasses, 1);
    ensure(!atomic_exchange(&p->queued, true));
#endif
    do {
        p->next = first;
    } while (!atomic_compare_exchange_weak(&loop->posted, &first, p));
}

void loop_post(struct loop *loop, struct loop_post *p)
{
    loop_post_quietly(loop, p);
    loop_wake(loop);
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stopped, 1);
    loop_wake(loop);
}

static void run_posted(struct loop *loop)
{
    struct loop_post *oldest = NULL;
    if (atomic_load_explicit(&loop->posted, memory_order_relaxed) == NULL)
        return;
    struct loop_post *newest = atomic_exchange(&loop->posted, NULL);
    loop_renew_wall(loop);
    struct loop_post *next;
    for (; newest != NULL; newest = next) {
        next = newest->next;
        newest->next = oldest;
        oldest = newest;
    }
    for (; oldest != NULL; oldest = next) {
        next = oldest->next; /* fn may end the node's life */
#ifdef MUSTER_DEBUG
        atomic_store(&oldest->queued, false);
#endif
        oldest->fn(oldest, loop);
        arena_reset(loop->scratch);
    }
}

static void loop_run_list(struct loop *loop, struct list *from)
{
    struct list now;
    list_take_all(&now, from);
    struct list *node;
    while ((node = list_pop(&now)) != NULL) {
        struct loop_defer *d = CONTAINER_OF(node, struct loop_defer, node);
        d->fn(d);
        arena_reset(loop->scratch);
    }
}

/* One look at the clock in a tick that writes, before its first flush, tells how long its work took
 * and how long output has waited. */
static void loop_flush(struct loop *loop)
{
    if (list_empty(&loop->flushes))
        return;
    if (loop->worked_tick != loop->tick) {
        loop->worked_tick = loop->tick;
        loop->worked_us = clock_mono_us();
        if (loop->polled > 0 && loop->works++ % LOOP_READ_EACH == 0)
            latency_observe(LATENCY_READ, loop->now_us, loop->worked_us);
    }
    loop_run_list(loop, &loop->flushes);
}

/* Flushing may cause work (events of connections), and that work may cause output. */
static void run_deferred(struct loop *loop)
{
    for (unsigned round = 0; round < LOOP_ROUNDS_MAX; round++) {
        if (list_empty(&loop->deferred) && list_empty(&loop->flushes))
            return;
        loop_run_list(loop, &loop->deferred);
        if (list_empty(&loop->deferred))
            loop_flush(loop);
    }
    loop_flush(loop);
}

static void run_work(struct loop *loop)
{
    run_posted(loop);
    if (loop->inbox != NULL)
        loop->inbox->drain(loop->inbox);
    run_deferred(loop);
}

/* Announces sleep, then looks once more: see loop_wake(). */
static int sleep_ms(struct loop *loop)
{
    if (!list_empty(&loop->deferred) || !list_empty(&loop->flushes))
        return 0;
    int ms = loop->timers_ended ? -1 : wheel_wait_ms(&loop->wheel, loop->now_us);
    atomic_store(&loop->sleeping, 1);
    if (atomic_load(&loop->posted) != NULL || atomic_load(&loop->stopped) != 0)
        return 0;
    if (loop->inbox != NULL && loop->inbox->ready(loop->inbox))
        return 0;
    return ms;
}

static void poll_events(struct loop *loop)
{
    int n = epoll_wait(loop->epoll_fd, loop->events, LOOP_EVENTS_MAX, sleep_ms(loop));

    atomic_store_explicit(&loop->sleeping, 0, memory_order_relaxed);
    ensure(n >= 0 || errno == EINTR);
    loop->event_count = loop->polled = n > 0 ? n : 0;
    loop->tick++;
    loop->now_us = clock_mono_us();
    loop_renew_wall(loop);
}

static void dispatch_events(struct loop *loop)
{
    for (loop->event_at = 0; loop->event_at < loop->event_count; loop->event_at++) {
        const struct epoll_event *ev = &loop->events[loop->event_at];
        struct loop_source *s = ev->data.ptr;
        if (s == NULL) /* the wake-up, or removed meanwhile */
            continue;
        s->ready(s, ev->events);
        arena_reset(loop->scratch);
    }
    loop->event_at = loop->event_count = 0;
}

void loop_set_helpers(struct loop *loop, struct work_pool *helpers) { loop->helpers = helpers; }

void loop_end_timers(struct loop *loop)
{
    ensure(here == loop);
    loop->timers_ended = true;
}

/* As sched_setattr(2) has it, in its first size. */
struct turns {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

void loop_short_turns(void)
{
    struct turns t = { .size = sizeof t,
                       .policy = SCHED_OTHER,
                       .nice = getpriority(PRIO_PROCESS, (id_t)gettid()),
                       .runtime_ns = TURN_NS };
    if (sched_getscheduler(0) == SCHED_OTHER)       /* else an operator has chosen */
        (void)syscall(SYS_sched_setattr, 0, &t, 0); /* a wish: failure changes nothing */
}

void loop_run(struct loop *loop)
{
    ensure(here == NULL);
    here = loop;
    run_work(loop); /* what was set up before */
    while (atomic_load_explicit(&loop->stopped, memory_order_relaxed) == 0) {
        poll_events(loop);
        if (!loop->timers_ended)
            wheel_advance(loop, &loop->wheel);
        dispatch_events(loop);
        run_work(loop);
    }
    run_work(loop); /* what the last tick left, so that everything begun is told its end */
    atomic_store(&loop->stopped, 0);
    loop->timers_ended = false;
    here = NULL;
}
