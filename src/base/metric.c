#include "base/metric.h"
#include "base/ensure.h"
#include "base/mem.h"
#include <pthread.h>
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

unsigned metric_values(const struct metric *m)
{
    unsigned n = 0;
    while (m->values != NULL && m->values[n] != NULL)
        n++;
    return n == 0 ? 1 : n;
}

unsigned metric_there(const struct metric *m)
{
    unsigned all = metric_values(m);
    return m->there > 0 && m->there < all ? m->there : all;
}

unsigned metric_buckets(const struct metric *m)
{
    unsigned n = 0;
    while (m->buckets != NULL && m->buckets[n] != 0)
        n++;
    return n;
}

static void metric_check_row(const struct metric *m)
{
    ensure((m->label == NULL) == (m->values == NULL));
    ensure((m->kind == METRIC_HISTOGRAM) == (metric_buckets(m) > 0));
    for (unsigned i = 1; i < metric_buckets(m); i++)
        ensure(m->buckets[i - 1] < m->buckets[i]);
}

void metric_register(struct metric *m)
{
    metric_check_row(m);
    pthread_mutex_lock(&lock);
    m->width = m->kind == METRIC_HISTOGRAM ? metric_buckets(m) + 2 : 1;
    uint32_t cells = m->width * metric_values(m);
    ensure(m->id == 0 && id_last + cells < METRIC_MAX);
    struct metric **at = &metrics;
    while (*at != NULL && strcmp((*at)->name, m->name) < 0)
        at = &(*at)->next;
    ensure(*at == NULL || strcmp((*at)->name, m->name) != 0);
    m->id = id_last + 1;
    id_last += cells;
    m->next = *at;
    *at = m;
    pthread_mutex_unlock(&lock);
}

void metric_observe(const struct metric *m, unsigned value, int64_t n)
{
    unsigned bucket = 0;
    if (m->id == 0)
        return;
    while (m->buckets[bucket] != 0 && n > m->buckets[bucket])
        bucket++;
    uint32_t first = m->id + value * m->width;
    struct metric_shard *s = metric_mine != NULL ? metric_mine : metric_attach();
    int64_t *count = &s->value[first + bucket], *sum = &s->value[first + m->width - 1];
    __atomic_store_n(count, *count + 1, __ATOMIC_RELAXED);
    __atomic_store_n(sum, *sum + n, __ATOMIC_RELAXED);
}

int64_t metric_read_cell(const struct metric *m, unsigned value, unsigned cell)
{
    int64_t sum = 0;
    if (m->id == 0)
        return 0;
    ensure(value < metric_values(m) && cell < m->width);
    pthread_mutex_lock(&lock);
    for (const struct owned_shard *s = shards; s != NULL; s = s->next)
        sum += __atomic_load_n(&s->shard.value[m->id + value * m->width + cell], __ATOMIC_RELAXED);
    pthread_mutex_unlock(&lock);
    return sum;
}

int64_t metric_read(const struct metric *m)
{
    unsigned cells = m->kind == METRIC_HISTOGRAM ? m->width - 1 : 1; /* without the sum */
    int64_t sum = 0;
    for (unsigned value = 0; value < metric_values(m) && m->id != 0; value++)
        for (unsigned cell = 0; cell < cells; cell++)
            sum += metric_read_cell(m, value, cell);
    return sum;
}

struct metric *metric_first(void) { return metrics; }
