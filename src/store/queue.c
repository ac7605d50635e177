#include "store/queue.h"
#include "base/clock.h"
#include "base/ensure.h"
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    GATHER_MIN = 4,    /* batches expected while gathering, or it is not worth the wait */
    ALONE_GROUPS = 64, /* one writer who waits for each answer is not slowed down more often */
};

void group_init(struct group_queue *q)
{
    q->tail = &q->first;
    q->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ensure(q->wake_fd >= 0);
}

void group_fini(struct group_queue *q)
{
    ensure(atomic_load(&q->top) == NULL);
    close(q->wake_fd);
}

static void wake(struct group_queue *q)
{
    uint64_t one = 1;
    ssize_t n = write(q->wake_fd, &one, sizeof one);
    ensure(n == sizeof one);
}

/* Only the first who finds the writer asleep pays for the wake-up. */
void group_submit(struct group_queue *q, struct store_batch *b)
{
    struct store_batch *top = atomic_load_explicit(&q->top, memory_order_relaxed);
    uint32_t queued = atomic_fetch_add(&q->queued, 1) + 1;
    do {
        b->next = top;
    } while (!atomic_compare_exchange_weak(&q->top, &top, b));
    int mode = atomic_load(&q->mode);
    if (mode == GROUP_AWAKE || (mode == GROUP_GATHERS && queued < GROUP_MAX))
        return;
    if (atomic_exchange(&q->mode, GROUP_AWAKE) != GROUP_AWAKE)
        wake(q);
}

void group_stop(struct group_queue *q)
{
    atomic_store(&q->stop, true);
    wake(q);
}

void group_look(struct group_queue *q)
{
    if (!atomic_exchange(&q->look, true))
        wake(q);
}

struct store_batch *group_steal(struct group_queue *q)
{
    struct store_batch *oldest = NULL, *next;
    for (struct store_batch *b = atomic_exchange(&q->top, NULL); b != NULL; b = next) {
        next = b->next;
        b->next = oldest;
        oldest = b;
    }
    return oldest;
}

void group_take(struct group_queue *q)
{
    *q->tail = group_steal(q);
    while (*q->tail != NULL) {
        q->tail = &(*q->tail)->next;
        q->taken++;
    }
}

static bool is_due(const struct group_queue *q, enum group_mode mode)
{
    if (atomic_load(&q->stop))
        return true;
    if (mode == GROUP_IDLE)
        return atomic_load(&q->top) != NULL || atomic_load(&q->look);
    return atomic_load(&q->queued) >= GROUP_MAX;
}

/* Announces sleep, then looks again: see group_submit(). Each time: one that saw an earlier sleep
 * may wake this one, and whoever comes next must know that it goes on. */
enum group_woke group_nap(struct group_queue *q, enum group_mode mode, uint64_t until_us, int fd)
{
    enum group_woke woke = GROUP_WORK;
    while (woke == GROUP_WORK) {
        atomic_store(&q->mode, mode);
        if (is_due(q, mode))
            break;
        struct pollfd fds[] = { { q->wake_fd, POLLIN, 0 }, { fd, POLLIN, 0 } };
        uint64_t now_us = clock_mono_us(), left_us = until_us > now_us ? until_us - now_us : 0;
        struct timespec left = { (time_t)(left_us / 1000000), (long)(left_us % 1000000) * 1000 };
        int n = ppoll(fds, 2, until_us > 0 ? &left : NULL, NULL);
        uint64_t wakes;
        if (n > 0 && fds[0].revents != 0 && read(q->wake_fd, &wakes, sizeof wakes) < 0)
            wakes = 0;
        if (n > 0 && fds[1].revents != 0)
            woke = GROUP_FD;
        else if (n == 0)
            woke = GROUP_TIME;
    }
    atomic_store(&q->mode, GROUP_AWAKE);
    return woke;
}

/* Commit at once when the rate is low or the oldest has waited long enough, be it for the last
 * commit; else wait for company (architecture §7). */
void group_gather(struct group_queue *q)
{
    uint64_t until_us = q->first->submitted_us + GROUP_GATHER_US;
    if (q->taken >= GROUP_MAX || q->batches_per_us * GROUP_GATHER_US < GATHER_MIN ||
        clock_mono_us() >= until_us)
        return;
    if (q->alone > 0) {
        q->alone--;
        return;
    }
    group_nap(q, GROUP_GATHERS, until_us, -1);
    group_take(q);
    if (q->taken < GATHER_MIN)
        q->alone = ALONE_GROUPS;
}

static void measure_rate(struct group_queue *q, uint32_t count)
{
    uint64_t now_us = clock_mono_us();
    double rate = count / (double)(now_us - q->group_us + 1);
    q->batches_per_us = (q->batches_per_us * 3 + rate) / 4;
    q->group_us = now_us;
}

struct store_batch *group_cut(struct group_queue *q, uint32_t *count)
{
    struct store_batch *first = q->first, *last = first;
    size_t bytes = batch_footprint(first);
    for (*count = 1; *count < q->taken && *count < GROUP_MAX; ++*count) {
        bytes += batch_footprint(last->next);
        if (bytes > GROUP_BYTES_MAX)
            break;
        last = last->next;
    }
    q->first = last->next;
    if (q->first == NULL)
        q->tail = &q->first;
    last->next = NULL;
    q->taken -= *count;
    measure_rate(q, *count);
    return first;
}

void read_queue_init(struct read_queue *q)
{
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->wake, NULL);
}

void read_queue_fini(struct read_queue *q)
{
    pthread_cond_destroy(&q->wake);
    pthread_mutex_destroy(&q->lock);
}

static void put_short(struct read_queue *q, struct store_batch *b)
{
    uint32_t turn = q->now;
    uint64_t key = b->lane != 0 ? b->lane : b->user;
    if (key != 0) {
        uint32_t *last = &q->last[key % READ_LANES];
        uint32_t ahead = *last - q->now; /* turns wrap; a lane that has waited is not ahead */
        if (ahead < READ_TURNS)
            turn += ahead + 1 < READ_TURNS ? ahead + 1 : READ_TURNS - 1;
        *last = turn;
    }
    struct read_turn *at = &q->turn[turn % READ_TURNS];
    b->next = NULL;
    if (at->first == NULL)
        at->first = b;
    else
        at->last->next = b;
    at->last = b;
    q->count++;
}

static struct store_batch *take_short(struct read_queue *q)
{
    while (q->turn[q->now % READ_TURNS].first == NULL)
        q->now++;
    struct read_turn *at = &q->turn[q->now % READ_TURNS];
    struct store_batch *b = at->first;
    at->first = b->next;
    q->count--;
    return b;
}

/* Behind those of other users who have waited as often. false: too many of its user wait. */
static bool put_long(struct read_queue *q, struct store_batch *b)
{
    struct store_batch **at = &q->first_long;
    b->turn = 0;
    for (const struct store_batch *x = q->first_long; x != NULL; x = x->next)
        b->turn += x->user == b->user;
    if (b->turn >= STORE_LONG_READS_MAX)
        return false;
    while (*at != NULL && (*at)->turn <= b->turn)
        at = &(*at)->next;
    b->next = *at;
    *at = b;
    return true;
}

struct store_batch *read_queue_put(struct read_queue *q, struct store_batch *first)
{
    struct store_batch *refused = NULL, *next;
    if (first == NULL)
        return NULL;
    pthread_mutex_lock(&q->lock);
    for (struct store_batch *b = first; b != NULL; b = next) {
        next = b->next;
        if (b->run_ms == 0) {
            put_short(q, b);
        } else if (!put_long(q, b)) {
            b->result = STORE_BUSY;
            b->next = refused;
            refused = b;
        }
    }
    pthread_cond_broadcast(&q->wake); /* each thread takes its own kind */
    pthread_mutex_unlock(&q->lock);
    return refused;
}

static struct store_batch *queue_take(struct read_queue *q, unsigned takes)
{
    struct store_batch *b = NULL;
    if ((takes & READ_SHORT) != 0 && q->count > 0) {
        b = take_short(q);
    } else if ((takes & READ_LONG) != 0 && q->first_long != NULL) {
        b = q->first_long;
        q->first_long = b->next;
    }
    if (b != NULL)
        b->next = NULL;
    return b;
}

struct store_batch *read_queue_take(struct read_queue *q, unsigned takes)
{
    struct store_batch *b;
    pthread_mutex_lock(&q->lock);
    while ((b = queue_take(q, takes)) == NULL && !q->stop)
        pthread_cond_wait(&q->wake, &q->lock);
    pthread_mutex_unlock(&q->lock);
    return b;
}

void read_queue_stop(struct read_queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->stop = true;
    pthread_cond_broadcast(&q->wake);
    pthread_mutex_unlock(&q->lock);
}

void store_thread_start(pthread_t *thread, const char *name, size_t stack_bytes,
                        void *(*run)(void *), void *arg)
{
    pthread_attr_t attr;
    sigset_t all, before;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, stack_bytes);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the main thread */
    int rc = pthread_create(thread, &attr, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    ensure(rc == 0);
    pthread_setname_np(*thread, name);
}
