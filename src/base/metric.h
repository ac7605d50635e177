/* metric: counters, gauges and histograms as static rows. Adding writes only to memory of the
 * calling thread. Reading adds up all threads, including those that have ended.
 *
 * A metric with a label counts apart for each of the label's values, which the row names: nothing
 * that a peer says becomes one. A histogram counts what was observed by buckets, and its sum. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric {
    const char *name; /* muster_c2s_streams: [a-z_]+ */
    enum metric_kind kind;
    const char *help;
    /* Names that other products use, NULL: none. For its value (several with spaces between), for
     * its increase in the last period, and for that increase divided by the one of `per`. */
    const char *also, *also_period, *also_mean;
    const struct metric *per;  /* with also_mean */
    const char *label;         /* "direction": [a-z_]+; NULL: none */
    const char *const *values; /* of the label; NULL-terminated */
    const int64_t *buckets;    /* upper ends, included; rising, ended by 0: of a histogram */
    bool history; /* of the last day there is a history, for plots: admin/metrics_history.h */
    _Atomic unsigned
        there; /* values of the label that this node has; 0: all. Set before workers run */
    /* Set by metric_register(): the first of its cells, 1..METRIC_MAX-1, and how many each value of
     * the label has: 1; of a histogram one a bucket, one for what is above all, and the sum. id 0:
     * it counts nowhere. */
    uint32_t id, width;
    struct metric *next; /* all rows */
};

/* Counters with a label whose values are not constant, for scrapers. Any thread. */
typedef void metric_each_fn(void *arg, const char *value, uint64_t n);
struct metric_family {
    const char *name;         /* without "_total" */
    const char *help, *label; /* as above */
    size_t counter;           /* for `each` */
    /* Calls fn for each value of the label: their number is bounded, and there is no quote,
     * backslash or line end in them. */
    void (*each)(const struct metric_family *f, metric_each_fn *fn, void *arg);
};

enum { METRIC_MAX = 1024 };

struct metric_shard {
    int64_t value[METRIC_MAX];
};
extern _Thread_local struct metric_shard *metric_mine; /* NULL until the first add */
struct metric_shard *metric_attach(void);              /* of this thread; made on demand */

static inline void metric_add_cell(uint32_t cell, int64_t n)
{
    struct metric_shard *s = metric_mine != NULL ? metric_mine : metric_attach();
    __atomic_store_n(&s->value[cell], s->value[cell] + n, __ATOMIC_RELAXED);
}
static inline void metric_add(const struct metric *m, int64_t n) { metric_add_cell(m->id, n); }
/* For a value of the label, by its number. */
static inline void metric_add_to(const struct metric *m, unsigned value, int64_t n)
{
    metric_add_cell(m->id == 0 ? 0 : m->id + value, n);
}
void metric_observe(const struct metric *m, unsigned value, int64_t n); /* of a histogram */

void metric_register(struct metric *m);          /* at start, before threads */
unsigned metric_values(const struct metric *m);  /* of its label; 1: it has none */
unsigned metric_there(const struct metric *m);   /* the same, of this node only */
unsigned metric_buckets(const struct metric *m); /* without the one above all */
/* All of it: of a counter with a label the sum, of a histogram how often something was observed. */
int64_t metric_read(const struct metric *m);
/* One cell of a value: of a histogram the count of that bucket alone, or, the last, the sum. */
int64_t metric_read_cell(const struct metric *m, unsigned value, unsigned cell);
struct metric *metric_first(void);
