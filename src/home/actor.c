#include "home/actor.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/metric.h"
#include "home/frozen.h"
#include "home/here.h"
#include "io/loop.h"
#include "store/store.h"
#include "xmpp/stanza.h"

enum {
    SWEEP_MS = 1000,
    SWEEP_MAX = 1024, /* unloaded by one sweep, of each list */
    ABSENT_MS = 10 * 1000
};

static slice actor_key(const void *item) { return ((const struct actor *)item)->jid; }

void actors_init(struct actors *all, const struct actor_kind *kind, struct worker *w,
                 struct loop *loop)
{
    *all = (struct actors){ .kind = kind, .worker = w, .loop = loop };
    map_init(&all->map, actor_key);
    list_init(&all->idle);
    list_init(&all->absent);
#ifdef MUSTER_DEBUG
    list_init(&all->marked);
#endif
}

struct actor *actors_find(const struct actors *all, slice jid) { return map_get(&all->map, jid); }
struct actor *actors_next(const struct actors *all, uint32_t *i) { return map_next(&all->map, i); }

void actor_init(struct actor *a, struct actors *all, slice jid)
{
    a->worker = all->worker;
    a->jid = jid;
    a->state = ACTOR_LOADING;
    a->all = all;
    a->inbox_tail = &a->inbox;
    a->change_tail = &a->changes;
    map_put(&all->map, a);
    metric_add(all->kind->loaded, 1);
}

/* Checks. */

#ifdef MUSTER_DEBUG
static void actor_check(const struct actor *a)
{
    const struct actor_kind *kind = a->all->kind;
    ensure(a->ended || map_get(&a->all->map, a->jid) == a);
    ensure(a->state <= ACTOR_ABSENT);
    ensure((a->inbox == NULL) == (a->inbox_stanzas + a->inbox_calls == 0));
    ensure(a->inbox != NULL || a->inbox_bytes == 0);
    ensure((a->changes == NULL) == (a->change_count == 0));
    ensure(!a->changing || (a->changes != NULL && a->pins > 0));
    ensure(!a->advancing);
    ensure(a->pauses <= a->pins);
    ensure(!list_linked(&a->idle) || a->pins == 0);
    kind->check(a);
}

static void actors_check(struct loop_defer *d)
{
    struct actors *all = CONTAINER_OF(d, struct actors, check);
    struct list *it;
    while ((it = list_pop(&all->marked)) != NULL)
        actor_check(CONTAINER_OF(it, struct actor, marked));
}

void actor_mark(struct actor *a)
{
    if (list_linked(&a->marked))
        return;
    list_append(&a->all->marked, &a->marked);
    a->all->check.fn = actors_check;
    loop_at_flush(a->all->loop, &a->all->check);
}

static void actor_unmark(struct actor *a) { list_remove(&a->marked); }
#else
static void actor_unmark(struct actor *a) { (void)a; }
#endif

/* Actors that nobody needs are in one of two lists, longest idle first. */

static void actor_unlist(struct actor *a)
{
    if (!list_linked(&a->idle))
        return;
    uint32_t *count = a->state == ACTOR_ABSENT ? &a->all->absent_count : &a->all->idle_count;
    ensure(*count > 0);
    (*count)--;
    list_remove(&a->idle);
}

static bool actor_is_needed(const struct actor *a)
{
    return a->pins > 0 || a->inbox != NULL || a->state == ACTOR_LOADING || a->changes != NULL ||
           a->all->kind->in_use(a);
}

void actor_unload(struct actor *a)
{
    const struct actor_kind *kind = a->all->kind;
    ensure(!actor_is_needed(a));
    actor_unlist(a);
    actor_unmark(a);
    if (!a->ended)
        map_del(&a->all->map, a->jid);
    metric_add(kind->loaded, -1);
    kind->unload(a);
}

void actor_end(struct actor *a)
{
    ensure(!a->ended);
    map_del(&a->all->map, a->jid);
    a->ended = true;
    if (a->state != ACTOR_LOADING)
        actor_become(a, ACTOR_ABSENT);
    actor_touch(a);
}

static struct actor *actor_longest(const struct list *idle)
{
    return list_empty(idle) ? NULL : CONTAINER_OF(idle->next, struct actor, idle);
}

static void sweep_list(const struct actors *all, const struct list *idle, uint64_t after_ms)
{
    uint64_t now = loop_now_us(all->loop);
    struct actor *a;
    for (int i = 0; i < SWEEP_MAX && (a = actor_longest(idle)) != NULL; i++) {
        if (now - a->idle_since_us < after_ms * 1000)
            return;
        if (all->kind->may_unload(a))
            actor_unload(a);
        else
            actor_touch(a);
    }
}

static void actors_sweep(struct timer *t, struct loop *loop)
{
    struct actors *all = CONTAINER_OF(t, struct actors, sweep);
    sweep_list(all, &all->idle, all->kind->idle_ms());
    sweep_list(all, &all->absent, ABSENT_MS);
    if (!list_empty(&all->idle) || !list_empty(&all->absent))
        timer_set(loop, &all->sweep, SWEEP_MS);
}

/* There are too many: the longest idle one goes, but not the newest, which its caller may use. */
static void actors_trim(const struct list *idle, const struct actor *newest)
{
    struct actor *a = actor_longest(idle);
    if (a != newest && a->all->kind->may_unload(a))
        actor_unload(a);
}

void actor_touch(struct actor *a)
{
    struct actors *all = a->all;
    actor_mark(a);
    actor_unlist(a);
    if (actor_is_needed(a))
        return;
    if (a->ended) {
        actor_unload(a);
        return;
    }
    if (a->state == ACTOR_READY && all->kind->ends_unused != NULL && all->kind->ends_unused(a))
        actor_unlist(a);
    bool absent = a->state == ACTOR_ABSENT;
    a->idle_since_us = loop_now_us(all->loop);
    list_append(absent ? &all->absent : &all->idle, &a->idle);
    if (!timer_is_set(&all->sweep)) {
        all->sweep.fn = actors_sweep;
        timer_set(all->loop, &all->sweep, SWEEP_MS);
    }
    if (absent && ++all->absent_count > all->kind->absent_max)
        actors_trim(&all->absent, a);
    if (!absent && ++all->idle_count > all->kind->idle_max)
        actors_trim(&all->idle, a);
}

/* A pinned one is in no list, since the sweep frees everything in it. */
void actor_pin(struct actor *a)
{
    actor_mark(a);
    if (a->pins++ == 0)
        actor_unlist(a);
}

void actor_unpin(struct actor *a)
{
    ensure(a->pins > 0);
    if (--a->pins == 0)
        actor_touch(a);
}

void actor_become(struct actor *a, enum actor_state s)
{
    actor_unlist(a);
    a->state = (uint8_t)s;
}

/* The inbox. */

static bool inbox_is_full(const struct actor *a, const struct actor_item *item)
{
    const struct actor_kind *kind = a->all->kind;
    if (item->st == NULL)
        return a->inbox_calls >= kind->calls_max;
    if (kind->urgent != NULL && kind->urgent(item->st))
        return a->inbox_stanzas >= 4 * ACTOR_INBOX_MAX;
    return a->inbox_stanzas >= ACTOR_INBOX_MAX || a->inbox_bytes > ACTOR_INBOX_BYTES;
}

bool actor_wait(struct actor *a, const struct actor_item *item)
{
    if (inbox_is_full(a, item))
        return false;
    actor_wait_anyhow(a, item);
    return true;
}

void actor_wait_anyhow(struct actor *a, const struct actor_item *item)
{
    ensure((item->st == NULL) == (item->fn != NULL));
    struct actor_item *it = mem_alloc(sizeof *it);
    *it = *item;
    it->next = NULL;
    *a->inbox_tail = it;
    a->inbox_tail = &it->next;
    a->inbox_calls += it->st == NULL;
    a->inbox_stanzas += it->st != NULL;
    a->inbox_bytes += it->st == NULL ? 0 : it->st->bytes;
}

static struct actor_item *inbox_take(struct actor *a)
{
    struct actor_item *it = a->inbox;
    a->inbox = it->next;
    if (a->inbox == NULL)
        a->inbox_tail = &a->inbox;
    a->inbox_calls -= it->st == NULL;
    a->inbox_stanzas -= it->st != NULL;
    a->inbox_bytes -= it->st == NULL ? 0 : it->st->bytes;
    return it;
}

void actor_pick(struct actor *a, actor_pick_fn *pick, void *arg)
{
    for (struct actor_item **at = &a->inbox, *it; (it = *at) != NULL;) {
        uint32_t bytes = it->st == NULL ? 0 : it->st->bytes;
        if (!pick(a, it, arg)) {
            at = &it->next;
            continue;
        }
        ensure(a->inbox_bytes >= bytes);
        a->inbox_calls -= it->st == NULL;
        a->inbox_stanzas -= it->st != NULL;
        a->inbox_bytes -= bytes;
        if (a->inbox_tail == &it->next)
            a->inbox_tail = at;
        *at = it->next;
        mem_free(&it);
    }
}

/* In order; what is handled may make the rest wait again. */
static void inbox_run(struct actor *a, enum err e)
{
    const struct actor_kind *kind = a->all->kind;
    actor_pin(a);
    while (a->inbox != NULL && a->state != ACTOR_LOADING && a->pauses == 0) {
        struct actor_item *it = inbox_take(a);
        if (it->st == NULL)
            kind->call(a, it->fn, e, it->arg);
        else if (e != OK)
            kind->refuse(a, it, e);
        else
            kind->handle(a, it);
        mem_free(&it);
    }
    actor_unpin(a);
}

void actor_pause(struct actor *a)
{
    ensure(a->state != ACTOR_LOADING);
    a->pauses++;
    actor_pin(a);
}

void actor_unpause(struct actor *a)
{
    ensure(a->pauses > 0);
    a->pauses--;
}

void actor_go_on(struct actor *a)
{
    inbox_run(a, OK);
    actor_unpin(a);
}

/* Loading. */

void actor_load(struct actor *a)
{
    actor_become(a, ACTOR_LOADING);
    a->all->kind->load(a);
}

void actor_loaded(struct actor *a, enum err e)
{
    ensure(a->state == ACTOR_LOADING);
    if (e == E_NOTFOUND && a->unsure) { /* the look-up may have come too early */
        a->unsure = false;
        actor_load(a);
        return;
    }
    a->unsure = e != OK && e != E_NOTFOUND;
    a->state = e == OK ? ACTOR_READY : ACTOR_ABSENT;
    inbox_run(a, e == E_NOTFOUND ? OK : e);
}

void actor_renew(struct actor *a)
{
    if (!a->unsure || a->state != ACTOR_ABSENT || a->pauses > 0 || a->inbox != NULL)
        return;
    a->unsure = false;
    actor_load(a);
}

/* Changes. */

static void change_end(struct actor *a, enum err e)
{
    struct actor_change *c = a->changes, *rest = c->next, **rest_tail = a->change_tail;
    a->changes = NULL;
    a->change_tail = &a->changes;
    a->change_count--;
    c->apply(c, e);
    if (rest != NULL) { /* behind what apply() asked for */
        *a->change_tail = rest;
        a->change_tail = rest_tail;
    }
}

static void changes_go_on(struct actor *a);

static void change_committed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct actor *a = arg;
    a->changing = false;
    a->changes->found = b;
    change_end(a, err_of_store(result));
    changes_go_on(a);
    actor_unpin(a);
}

/* A change that apply() asks for is prepared by the loop that runs already. */
static void changes_go_on(struct actor *a)
{
    if (a->advancing)
        return;
    a->advancing = true;
    while (a->changes != NULL && !a->changing) {
        struct actor_change *c = a->changes;
        enum err e = c->prepare(c);
        if (e != OK || c->batch == NULL) {
            store_drop(&c->batch);
            change_end(a, e);
            continue;
        }
        struct store_batch *b = c->batch;
        c->batch = NULL;
        a->changing = true;
        actor_pin(a);
        store_submit(b, a->all->loop, STORE_UNTIL_DONE, change_committed, a);
    }
    a->advancing = false;
}

void actor_change(struct actor *a, struct actor_change *c)
{
    c->next = NULL;
    c->actor = a;
    *a->change_tail = c;
    a->change_tail = &c->next;
    a->change_count++;
    actor_pin(a);
    changes_go_on(a);
    actor_unpin(a);
}

struct actor_change *actor_take_change(struct actor *a)
{
    struct actor_change *c = a->changes;
    if (c == NULL)
        return NULL;
    a->changes = c->next;
    a->change_count--;
    if (a->changes == NULL)
        a->change_tail = &a->changes;
    return c;
}

void actor_freeze(const struct actor *a, struct buf *out)
{
    const struct actor_kind *kind = a->all->kind;
    ensure(a->state == ACTOR_READY && kind->freeze != NULL);
    frozen_begin(out, kind->frozen);
    kind->freeze(a, out);
    frozen_end(out);
}

enum err actor_thaw(struct actor *a, slice bytes, struct why *why)
{
    const struct actor_kind *kind = a->all->kind;
    struct arena *tmp = arena_create(0);
    struct frozen_reading r = { .xml = worker_xml(a->worker), .tmp = tmp, .rest = bytes };
    struct frozen f;
    ensure(a->state == ACTOR_READY && kind->thaw != NULL);
    actor_mark(a);
    enum err e = frozen_read(&f, kind->frozen, &r, why);
    if (e == OK)
        e = kind->thaw(a, &f, why);
    frozen_release(&f);
    arena_destroy(&tmp);
    return e;
}

void actors_stop(struct actors *all)
{
    struct actor *a;
    for (uint32_t i = 0; (a = map_next(&all->map, &i)) != NULL;) {
        while (a->inbox != NULL) {
            struct actor_item *it = inbox_take(a);
            stanza_unref(&it->st);
            mem_free(&it);
        }
        if (all->kind->drop != NULL)
            all->kind->drop(a); /* may let go of it */
        a->pins = 0;
        actor_unlist(a);
        actor_unmark(a);
        metric_add(all->kind->loaded, -1);
        all->kind->unload(a);
    }
    timer_cancel(&all->sweep);
#ifdef MUSTER_DEBUG
    loop_defer_cancel(&all->check);
#endif
    map_fini(&all->map);
}
