#include "core/stage_wait.h"
#include "base/ensure.h"
#include "core/core.h"
#include "home/here.h"
#include "home/node.h"

static slice stage_pause_key(const void *item)
{
    return (slice){ (const char *)&((const struct stage_pause *)item)->number, sizeof(uint64_t) };
}

void stage_waits_init(struct worker *w) { map_init(&core_of(w)->waits.map, stage_pause_key); }

void stage_waits_fini(struct worker *w)
{
    struct stage_pause *p;
    for (uint32_t i = 0; (p = map_next(&core_of(w)->waits.map, &i)) != NULL;) {
        stage_pause_end(p);
        p->drop(p);
    }
    map_fini(&core_of(w)->waits.map);
}

uint64_t stage_wait(struct worker *w, const struct stage_late *late)
{
    struct stage_waits *all = &core_of(w)->waits;
    ensure(!all->asked && late->ms > 0 && late->verdict != WAIT);
    all->asked = true;
    all->late = *late;
    all->early = WAIT;
    return all->last + 1;
}

enum verdict stage_wait_asked(struct worker *w, struct stanza **st, struct refusal *why)
{
    struct stage_waits *all = &core_of(w)->waits;
    ensure(all->asked); /* who says WAIT has called stage_wait() */
    if (all->early == WAIT)
        return WAIT;
    all->asked = false;
    all->last++;
    if (why != NULL)
        *why = all->why;
    if (all->st != NULL) {
        ensure(st != NULL);
        stanza_unref(st);
        *st = all->st;
        all->st = NULL;
    }
    return all->early;
}

static void stage_pause_over(struct stage_pause *p, enum verdict v, struct stanza *st,
                             const struct refusal *why)
{
    stage_go_fn *go = p->go;
    stage_pause_end(p);
    go(p, v, st, why);
}

void stage_pause_late(struct stage_pause *p)
{
    const struct stage_late late = p->late;
    stage_pause_over(p, late.verdict, NULL, &late.why);
}

static void stage_too_late(struct timer *t, struct loop *loop)
{
    (void)loop;
    stage_pause_late(CONTAINER_OF(t, struct stage_pause, timer));
}

void stage_pause_begin(struct stage_pause *p, struct worker *w, stage_go_fn *go)
{
    struct stage_waits *all = &core_of(w)->waits;
    ensure(all->asked && p->number == 0);
    all->asked = false;
    *p = (struct stage_pause){ .number = ++all->last, .worker = w, .go = go, .late = all->late };
    p->timer.fn = stage_too_late;
    timer_set(worker_loop(w), &p->timer, p->late.ms);
    map_put(&all->map, p);
    atomic_fetch_add(&worker_node(w)->stage_waits, 1);
}

void stage_pause_end(struct stage_pause *p)
{
    if (p->number == 0)
        return;
    timer_cancel(&p->timer);
    map_del(&core_of(p->worker)->waits.map, stage_pause_key(p));
    p->number = 0;
    atomic_fetch_sub(&worker_node(p->worker)->stage_waits, 1);
}

static bool stage_answered_early(struct stage_waits *all, enum verdict v, struct stanza *st,
                                 const struct refusal *why)
{
    bool first = all->early == WAIT;
    if (!first) {
        stanza_unref(&st);
        return false;
    }
    all->early = v;
    all->st = st;
    all->why = why == NULL ? (struct refusal){ 0 } : *why;
    return true;
}

bool stage_answer(struct worker *w, uint64_t number, enum verdict v, struct stanza *st,
                  const struct refusal *why)
{
    struct stage_waits *all = &core_of(w)->waits;
    struct stage_pause *p = map_get(&all->map, (slice){ (const char *)&number, sizeof number });
    ensure(v != WAIT);
    if (all->asked && number == all->last + 1)
        return stage_answered_early(all, v, st, why);
    if (p == NULL)
        stanza_unref(&st);
    else
        stage_pause_over(p, v, st, why);
    return p != NULL;
}
