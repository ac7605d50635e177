#include "io/work.h"
#include "base/ensure.h"
#include "base/map.h"
#include "base/mem.h"
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

enum { HELPER_NICE = 5, OWED_MAX = 4 };

/* Exists while one of its works is queued or runs. */
struct work_lane {
    uint64_t id;
    struct list node;  /* in `ready`: it has work, and it may run now */
    struct list queue; /* struct work, the oldest first */
    unsigned count;    /* of the queue */
    unsigned running;
};

struct work_pool {
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct list plain; /* struct work without a lane */
    unsigned plain_count, plain_max;
    struct list ready; /* struct work_lane, in turn */
    struct map lanes;  /* struct work_lane by id */
    bool plain_turn, skipping, ending;
    bool wide; /* set before the first work */

    unsigned thread_count;
    pthread_t threads[];
};

static slice lane_key(const void *item)
{
    const struct work_lane *l = item;
    return (slice){ (const char *)&l->id, sizeof l->id };
}

static void work_ended(struct loop_post *p, struct loop *loop)
{
    struct work *w = CONTAINER_OF(p, struct work, post);

    ensure(w->loop == loop);
    w->done(w);
}

static void work_give_back(struct work *w)
{
    w->post.fn = work_ended;
    loop_post(w->loop, &w->post);
}

/* A loop that was given works back, and is still to be woken. */
struct owed {
    struct loop *loop; /* NULL: none */
    unsigned count;
};

static void owed_settle(struct owed *o)
{
    if (o->loop != NULL)
        loop_wake(o->loop);
    *o = (struct owed){ 0 };
}

static void owed_give_back(struct owed *o, struct work *w, unsigned most)
{
    if (o->loop != w->loop)
        owed_settle(o);
    o->loop = w->loop;
    w->post.fn = work_ended;
    loop_post_quietly(o->loop, &w->post); /* it may be gone from here on */
    if (++o->count == most)
        owed_settle(o);
}

/* Puts a lane where it belongs after a change; frees it when it is of no use. Under the lock. */
static void lane_settle(struct work_pool *pool, struct work_lane *l)
{
    if ((l->running == 0 || pool->wide) && l->count > 0 && !list_linked(&l->node))
        list_append(&pool->ready, &l->node);
    if (l->count > 0)
        return;
    list_remove(&l->node);
    if (l->running > 0)
        return;
    map_del(&pool->lanes, lane_key(l));
    mem_free(&l);
}

static struct work *take_plain(struct work_pool *pool)
{
    struct list *node = list_pop(&pool->plain);

    pool->plain_count -= node != NULL;
    return node == NULL ? NULL : CONTAINER_OF(node, struct work, node);
}

static struct work *take_in_turn(struct work_pool *pool)
{
    struct list *next = list_pop(&pool->ready);

    if (next == NULL)
        return NULL;
    struct work_lane *l = CONTAINER_OF(next, struct work_lane, node);
    l->running++;
    l->count--;
    struct work *w = CONTAINER_OF(list_pop(&l->queue), struct work, node);
    lane_settle(pool, l); /* behind the others */
    return w;
}

static struct work *work_take(struct work_pool *pool)
{
    struct work *w = pool->plain_turn ? take_plain(pool) : take_in_turn(pool);

    if (w == NULL)
        w = pool->plain_turn ? take_in_turn(pool) : take_plain(pool);
    if (w != NULL)
        pool->plain_turn = w->in != NULL;
    return w;
}

/* One of the lane `before` has ended. NULL: nothing is queued. */
static struct work *work_if_any(struct work_pool *pool, struct work_lane *before)
{
    pthread_mutex_lock(&pool->lock);
    if (before != NULL) {
        ensure(before->running > 0);
        before->running--;
        lane_settle(pool, before);
    }
    struct work *w = work_take(pool);
    pthread_mutex_unlock(&pool->lock);
    return w;
}

/* NULL: the pool ends and nothing is queued. */
static struct work *work_wait(struct work_pool *pool)
{
    struct work *w;
    pthread_mutex_lock(&pool->lock);
    while ((w = work_take(pool)) == NULL && !pool->ending)
        pthread_cond_wait(&pool->changed, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    return w;
}

static struct work *work_next(struct work_pool *pool, struct work_lane *before, struct owed *owed)
{
    struct work *w = work_if_any(pool, before);
    if (w != NULL)
        return w;
    owed_settle(owed);
    return work_wait(pool);
}

static void *work_thread(void *arg)
{
    struct work_pool *pool = arg;
    struct work_lane *lane = NULL;
    struct owed owed = { 0 };
    struct work *w;
    /* A loop that wakes goes first where both have one processor. */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), HELPER_NICE);
    while ((w = work_next(pool, lane, &owed)) != NULL) {
        lane = w->in; /* what it was may be gone when it is given back */
        w->run(w);
        owed_give_back(&owed, w, pool->wide ? OWED_MAX : 1);
    }
    return NULL;
}

struct work_pool *work_pool_create(unsigned threads, unsigned queue_max)
{
    struct work_pool *pool = mem_zalloc(sizeof(*pool) + threads * sizeof(pool->threads[0]));
    ensure(threads > 0 && queue_max > 0);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->changed, NULL);
    list_init(&pool->plain);
    list_init(&pool->ready);
    map_init(&pool->lanes, lane_key);
    pool->plain_max = queue_max;
    pool->thread_count = threads;
    sigset_t all;
    sigfillset(&all);
    sigset_t before;
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the main thread */
    for (unsigned i = 0; i < threads; i++) {
        int rc = pthread_create(&pool->threads[i], NULL, work_thread, pool);
        ensure(rc == 0);
        pthread_setname_np(pool->threads[i], "helper");
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pool;
}

void work_pool_set_wide(struct work_pool *pool) { pool->wide = true; }

void work_pool_end(struct work_pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->ending = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->thread_count; i++)
        pthread_join(p->threads[i], NULL);
    p->thread_count = 0;
}

void work_pool_destroy(struct work_pool **pool)
{
    struct work_pool *p = *pool;

    if (p == NULL)
        return;
    work_pool_end(p);
    ensure(list_empty(&p->plain) && p->lanes.count == 0);
    map_fini(&p->lanes);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    mem_free(pool);
}

/* NULL: there is no room. */
static struct work_lane *lane_for(struct work_pool *pool, uint64_t id)
{
    struct work_lane *l = map_get(&pool->lanes, (slice){ (const char *)&id, sizeof id });

    if (l != NULL)
        return l->count < WORK_LANE_MAX || pool->wide ? l : NULL;
    if (pool->lanes.count >= WORK_LANES_MAX && !pool->wide)
        return NULL;
    l = mem_new(struct work_lane);
    l->id = id;
    list_init(&l->queue);
    map_put(&pool->lanes, l);
    return l;
}

static bool queue_plain(struct work_pool *pool, struct work *w)
{
    if (pool->plain_count >= pool->plain_max)
        return false;
    list_append(&pool->plain, &w->node);
    pool->plain_count++;
    return true;
}

static bool queue_in_lane(struct work_pool *pool, struct work *w)
{
    w->in = lane_for(pool, w->lane);
    if (w->in == NULL)
        return false;
    list_append(&w->in->queue, &w->node);
    w->in->count++;
    lane_settle(pool, w->in);
    return true;
}

enum err work_submit(struct work_pool *pool, struct loop *loop, struct work *w)
{
    w->loop = loop;
    w->in = NULL;
    w->skipped = false;
    w->post.next = NULL;
    w->node = (struct list){ 0 };
    pthread_mutex_lock(&pool->lock);
    bool queued = !pool->ending && !(pool->skipping && w->may_skip) &&
                  (w->lane == 0 ? queue_plain(pool, w) : queue_in_lane(pool, w));
    if (queued)
        pthread_cond_signal(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    return queued ? OK : E_LIMIT;
}

/* Off its queue. Under the lock. */
static void unqueue(struct work_pool *pool, struct work *w)
{
    list_remove(&w->node);
    if (w->in == NULL) {
        pool->plain_count--;
        return;
    }
    w->in->count--;
    lane_settle(pool, w->in);
}

bool work_cancel(struct work_pool *pool, struct work *w)
{
    pthread_mutex_lock(&pool->lock);
    bool queued = list_linked(&w->node);
    if (queued)
        unqueue(pool, w);
    pthread_mutex_unlock(&pool->lock);
    return queued;
}

static void skip_all(struct work_pool *pool, struct list *queue)
{
    LIST_EACH (it, queue) {
        struct work *w = CONTAINER_OF(it, struct work, node);
        if (!w->may_skip)
            continue;
        list_remove(&w->node);
        if (w->in == NULL)
            pool->plain_count--;
        else
            w->in->count--;
        w->skipped = true;
        work_give_back(w);
    }
}

void work_pool_skip(struct work_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->skipping = true;
    skip_all(pool, &pool->plain);
    struct work_lane *l;
    for (uint32_t i = 0; (l = map_next(&pool->lanes, &i)) != NULL;) {
        skip_all(pool, &l->queue);
        lane_settle(pool, l);
    }
    pthread_mutex_unlock(&pool->lock);
}
