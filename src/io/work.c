#include "io/work.h"
#include "base/ensure.h"
#include "base/mem.h"
#include <pthread.h>
#include <signal.h>

struct work_pool {
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct loop_post *first, **last; /* queued work, linked by its post.next */
    unsigned queued, queue_max;
    bool ending;

    unsigned thread_count;
    pthread_t threads[];
};

static void work_ended(struct loop_post *p, struct loop *loop)
{
    struct work *w = CONTAINER_OF(p, struct work, post);

    ensure(w->loop == loop);
    w->done(w);
}

/* NULL: the pool ends and the queue is empty. */
static struct work *work_next(struct work_pool *pool)
{
    struct loop_post *p;

    pthread_mutex_lock(&pool->lock);
    while (pool->first == NULL && !pool->ending)
        pthread_cond_wait(&pool->changed, &pool->lock);
    p = pool->first;
    if (p != NULL) {
        pool->first = p->next;
        if (pool->first == NULL)
            pool->last = &pool->first;
        pool->queued--;
    }
    pthread_mutex_unlock(&pool->lock);
    return p == NULL ? NULL : CONTAINER_OF(p, struct work, post);
}

static void *work_thread(void *arg)
{
    struct work_pool *pool = arg;
    struct work *w;

    while ((w = work_next(pool)) != NULL) {
        w->run(w);
        w->post.fn = work_ended;
        loop_post(w->loop, &w->post);
    }
    return NULL;
}

struct work_pool *work_pool_create(unsigned threads, unsigned queue_max)
{
    struct work_pool *pool = mem_zalloc(sizeof(*pool) + threads * sizeof(pool->threads[0]));
    sigset_t all, before;

    ensure(threads > 0 && queue_max > 0);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->changed, NULL);
    pool->last = &pool->first;
    pool->queue_max = queue_max;
    pool->thread_count = threads;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the main thread */
    for (unsigned i = 0; i < threads; i++) {
        int rc = pthread_create(&pool->threads[i], NULL, work_thread, pool);
        ensure(rc == 0);
        pthread_setname_np(pool->threads[i], "helper");
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pool;
}

void work_pool_destroy(struct work_pool **pool)
{
    struct work_pool *p = *pool;

    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    p->ending = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->thread_count; i++)
        pthread_join(p->threads[i], NULL);
    ensure(p->first == NULL);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    mem_free(pool);
}

enum err work_submit(struct work_pool *pool, struct loop *loop, struct work *w)
{
    enum err e = E_LIMIT;

    pthread_mutex_lock(&pool->lock);
    if (pool->queued < pool->queue_max) {
        w->loop = loop;
        w->post.next = NULL;
        *pool->last = &w->post;
        pool->last = &w->post.next;
        pool->queued++;
        pthread_cond_signal(&pool->changed);
        e = OK;
    }
    pthread_mutex_unlock(&pool->lock);
    return e;
}
