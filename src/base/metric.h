/* metric: counters and gauges as static rows. Adding writes only to memory of the calling thread.
 * Reading adds up all threads, including those that have ended. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };

struct metric {
    const char *name; /* muster_c2s_streams: [a-z_]+ */
    enum metric_kind kind;
    const char *help;
    /* Names that other products use, NULL: none. For its value (several with spaces between), for
     * its increase in the last period, and for that increase divided by the one of `per`. */
    const char *also, *also_period, *also_mean;
    const struct metric *per; /* with also_mean */
    uint32_t id;              /* set by metric_register(), 1..METRIC_MAX-1; 0 counts nowhere */
    struct metric *next;      /* all rows */
};

enum { METRIC_MAX = 512 };

struct metric_shard {
    int64_t value[METRIC_MAX];
};
extern _Thread_local struct metric_shard *metric_mine; /* NULL until the first add */
struct metric_shard *metric_attach(void);              /* of this thread; made on demand */

static inline void metric_add(const struct metric *m, int64_t n)
{
    struct metric_shard *s = metric_mine != NULL ? metric_mine : metric_attach();
    __atomic_store_n(&s->value[m->id], s->value[m->id] + n, __ATOMIC_RELAXED);
}

void metric_register(struct metric *m); /* at start, before threads */
int64_t metric_read(const struct metric *m);
struct metric *metric_first(void);
