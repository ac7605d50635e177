#include "base/metric.h"
#include "base/ensure.h"
#include "base/mem.h"
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

/* Shards are never freed, because the counts of their threads would be lost. A thread that ends
 * leaves its shard to the next one that starts, so there are at most as many as threads that ran at
 * the same time. */
struct owned_shard {
    struct metric_shard shard;
    bool free;
    struct owned_shard *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct owned_shard *shards;
static struct metric *metrics;
static uint32_t id_last;

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key; /* used for its destructor, which runs when a thread ends */

_Thread_local struct metric_shard *metric_mine;

static void leave_shard(void *arg)
{
    struct owned_shard *s = arg;
    pthread_mutex_lock(&lock);
    s->free = true;
    pthread_mutex_unlock(&lock);
    metric_mine = NULL;
}

static void make_key(void) { ensure(pthread_key_create(&key, leave_shard) == 0); }

static struct owned_shard *take_shard(void)
{
    struct owned_shard *s = shards;
    while (s != NULL && !s->free)
        s = s->next;
    if (s == NULL) {
        s = mem_new(struct owned_shard);
        s->next = shards;
        shards = s;
    }
    s->free = false;
    return s;
}

struct metric_shard *metric_attach(void)
{
    pthread_once(&key_once, make_key);
    pthread_mutex_lock(&lock);
    struct owned_shard *s = take_shard();
    pthread_mutex_unlock(&lock);
    ensure(pthread_setspecific(key, s) == 0);
    metric_mine = &s->shard;
    return metric_mine;
}

void metric_register(struct metric *m)
{
    pthread_mutex_lock(&lock);
    ensure(m->id == 0 && id_last < METRIC_MAX - 1);
    struct metric **at = &metrics;
    while (*at != NULL && strcmp((*at)->name, m->name) < 0)
        at = &(*at)->next;
    ensure(*at == NULL || strcmp((*at)->name, m->name) != 0);
    m->id = ++id_last;
    m->next = *at;
    *at = m;
    pthread_mutex_unlock(&lock);
}

int64_t metric_read(const struct metric *m)
{
    if (m->id == 0)
        return 0;
    int64_t sum = 0;
    pthread_mutex_lock(&lock);
    for (const struct owned_shard *s = shards; s != NULL; s = s->next)
        sum += __atomic_load_n(&s->shard.value[m->id], __ATOMIC_RELAXED);
    pthread_mutex_unlock(&lock);
    return sum;
}

struct metric *metric_first(void) { return metrics; }
