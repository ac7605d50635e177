#include "im/forget_later.h"
#include "base/ensure.h"
#include "base/map.h"
#include "base/mem.h"
#include "home/here.h"
#include "home/router.h"
#include "im/core.h"
#include "io/timer.h"

struct emptied {
    struct worker *worker;
    struct timer timer;
    forget_later_fn *fn;
    slice bare; /* kept */
};

static slice emptied_key(const void *item) { return ((const struct emptied *)item)->bare; }

static void emptied_free(struct emptied *e)
{
    timer_cancel(&e->timer);
    slice_release(&e->bare);
    mem_free(&e);
}

static void emptied_over(struct timer *t, struct loop *loop)
{
    struct emptied *e = CONTAINER_OF(t, struct emptied, timer);
    struct worker *w = e->worker;
    (void)loop;
    if (worker_stopping(w))
        return;
    map_del(&core_of(w)->emptied, e->bare);
    e->fn(w, e->bare);
    emptied_free(e);
}

bool forget_later_begin(struct worker *w, slice bare, uint64_t ms, forget_later_fn *fn)
{
    struct map *all = &core_of(w)->emptied;
    struct emptied *e = map_get(all, bare);
    ensure(worker_is_here(w));
    if (e == NULL && all->count == FORGET_LATER_MAX)
        return false;
    if (e == NULL) {
        e = mem_new(struct emptied);
        *e = (struct emptied){ .worker = w, .bare = slice_keep(bare), .fn = fn };
        e->timer.fn = emptied_over;
        map_put(all, e);
    }
    timer_set(worker_loop(w), &e->timer, ms);
    return true;
}

bool forget_later_waits(const struct worker *w, slice bare)
{
    return map_get(&core_of(w)->emptied, bare) != NULL;
}

void forget_later_end(struct worker *w, slice bare)
{
    struct emptied *e = map_del(&core_of(w)->emptied, bare);
    ensure(worker_is_here(w));
    if (e != NULL)
        emptied_free(e);
}

void forget_later_init(struct core *c) { map_init(&c->emptied, emptied_key); }

void forget_later_fini(struct core *c)
{
    struct emptied *e;
    for (uint32_t i = 0; (e = map_next(&c->emptied, &i)) != NULL;)
        emptied_free(e);
    map_fini(&c->emptied);
}
