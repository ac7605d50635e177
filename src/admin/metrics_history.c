#include "admin/metrics_history.h"
#include "admin/metrics_text.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/metric.h"
#include "base/series.h"
#include "base/similar.h"
#include "base/units.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "io/timer.h"
#include "xmpp/datetime.h"
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { POINTS_USUAL = 500, NAME_BYTES_MAX = 96, STATM_BYTES_MAX = 256 };

static void history_setting_changed(struct worker *w, const struct setting *s);

static struct setting history_keep = {
    .name = "metrics.history",
    .scope = SCOPE_NODE,
    .type = PARAM_MS,
    .def = INT64_C(24) * 3600 * 1000,
    .min = INT64_C(900) * 1000,
    .max = INT64_C(90) * 24 * 3600 * 1000,
    .changed = history_setting_changed,
    .doc = "How far back the command `metrics history` and the plots of the console reach. There "
           "are always 8,640 rows in memory, about 3.5 MB: over 24 hours one each 10 seconds, over "
           "a longer time fewer. They are lost when the server ends.",
};
static struct metric resident = { .name = "muster_memory_resident_bytes",
                                  .kind = METRIC_GAUGE,
                                  .history = true,
                                  .help = "Memory of the process that is in RAM." };
static struct metric alarms_now = {
    .name = "muster_alarms_active", .kind = METRIC_GAUGE, .history = true, .help = "Active alarms."
};
static struct metric worker_cpu_us = {
    .name = "muster_worker_cpu_us",
    .kind = METRIC_COUNTER,
    .history = true,
    .label = "worker",
    .values =
        (const char *const[]){ "0",  "1",  "2",  "3",  "4",  "5",  "6",  "7",  "8",  "9",  "10",
                               "11", "12", "13", "14", "15", "16", "17", "18", "19", "20", "21",
                               "22", "23", "24", "25", "26", "27", "28", "29", "30", "31", "32",
                               "33", "34", "35", "36", "37", "38", "39", "40", "41", "42", "43",
                               "44", "45", "46", "47", "48", "49", "50", "51", "52", "53", "54",
                               "55", "56", "57", "58", "59", "60", "61", "62", "63", NULL },
    .help = "Processor time of each worker thread.",
};

/* One number. */
struct history_series {
    const struct metric *metric;
    unsigned value; /* of its label */
    bool sum;       /* of a histogram, not its count */
    char name[NAME_BYTES_MAX];
};

/* At the home of the duty. The clocks of the workers are written at their start, before there is a
 * row. */
static struct {
    struct series *rows; /* NULL: not here */
    struct history_series series[HISTORY_SERIES_MAX];
    unsigned count;
    struct timer timer;
    int64_t resident, alarms, cpu_us[NODE_WORKERS_MAX]; /* as the metrics say it */
} history;
static clockid_t worker_clock[NODE_WORKERS_MAX];
static _Atomic bool worker_has_clock[NODE_WORKERS_MAX];

/* The metrics of the process. */

static int64_t resident_bytes(void)
{
    char text[STATM_BYTES_MAX];
    slice size, rest;
    int64_t pages = 0;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? 0 : read(fd, text, sizeof text);
    if (fd >= 0)
        close(fd);
    rest = (slice){ text, len > 0 ? (size_t)len : 0 };
    if (!slice_word(&rest, &size) || !slice_word(&rest, &size) || !slice_int(size, &pages))
        return 0;
    return pages * sysconf(_SC_PAGESIZE);
}

static int64_t history_alarms(void)
{
    int64_t n = 0;
    for (struct alarm *a = alarm_first(); a != NULL; a = a->next)
        n += atomic_load(&a->active) != 0;
    return n;
}

static void history_set(const struct metric *m, unsigned value, int64_t *said, int64_t now)
{
    metric_add_to(m, value, now - *said);
    *said = now;
}

static void look_at_process(void)
{
    struct timespec t;
    history_set(&resident, 0, &history.resident, resident_bytes());
    history_set(&alarms_now, 0, &history.alarms, history_alarms());
    for (unsigned i = 0; i < NODE_WORKERS_MAX; i++)
        if (worker_has_clock[i] && clock_gettime(worker_clock[i], &t) == 0)
            history_set(&worker_cpu_us, i, &history.cpu_us[i],
                        (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000);
}

/* Rows. */

static int64_t series_number(const struct history_series *at)
{
    const struct metric *m = at->metric;
    int64_t n = 0;
    if (m->kind != METRIC_HISTOGRAM)
        return metric_read_cell(m, at->value, 0);
    if (at->sum)
        return metric_read_cell(m, at->value, m->width - 1);
    for (unsigned cell = 0; cell + 1 < m->width; cell++)
        n += metric_read_cell(m, at->value, cell);
    return n;
}

static void history_take(void)
{
    int64_t numbers[HISTORY_SERIES_MAX];
    look_at_process();
    for (unsigned i = 0; i < history.count; i++)
        numbers[i] = series_number(&history.series[i]);
    series_add(history.rows, clock_wall_us(), numbers);
}

static uint64_t row_ms(void) { return (uint64_t)setting_int(&history_keep) / HISTORY_SAMPLES; }

static void row_due(struct timer *t, struct loop *loop)
{
    history_take();
    timer_set(loop, t, row_ms());
}

static void history_setting_changed(struct worker *w, const struct setting *s)
{
    (void)s;
    if (duty_is_here(w, DUTY_METRICS) && history.rows != NULL)
        timer_set(worker_loop(w), &history.timer, row_ms());
}

void metrics_history_now(struct buf *out)
{
    char stamp[CLOCK_STAMP_LEN];
    ensure(history.rows != NULL);
    look_at_process();
    clock_stamp(stamp, clock_wall_us());
    buf_printf(out, "{\"time\":\"%s\",\"values\":{", stamp);
    for (unsigned i = 0; i < history.count; i++)
        buf_printf(out, "%s\"%s\":%" PRId64, i > 0 ? "," : "", history.series[i].name,
                   series_number(&history.series[i]));
    buf_lit(out, "}}");
}

static void name_series(struct history_series *at)
{
    const struct metric *m = at->metric;
    const char *sum = at->sum ? "_sum" : "";
    int len = m->label == NULL ? snprintf(at->name, sizeof at->name, "%s%s", m->name, sum)
                               : snprintf(at->name, sizeof at->name, "%s%s{%s=%s}", m->name, sum,
                                          m->label, m->values[at->value]);
    ensure(len > 0 && (size_t)len < sizeof at->name);
}

static void history_add_series(const struct metric *m)
{
    unsigned kinds = m->kind == METRIC_HISTOGRAM ? 2 : 1;
    for (unsigned i = 0; i < metric_there(m) * kinds; i++) {
        ensure(history.count < HISTORY_SERIES_MAX);
        struct history_series *at = &history.series[history.count++];
        *at = (struct history_series){ .metric = m, .value = i / kinds, .sum = i % kinds == 1 };
        name_series(at);
    }
}

static void history_worker_start(struct worker *w)
{
    unsigned i = worker_index(w);
    if (worker_node(w)->worker_count > worker_cpu_us.there)
        worker_cpu_us.there = worker_node(w)->worker_count;
    if (pthread_getcpuclockid(pthread_self(), &worker_clock[i]) == 0)
        worker_has_clock[i] = true;
    if (!duty_is_here(w, DUTY_METRICS))
        return;
    history.count = 0;
    for (const struct metric *m = metric_first(); m != NULL; m = m->next)
        if (m->history)
            history_add_series(m);
    history.rows = series_create(history.count, HISTORY_SAMPLES);
    history.timer.fn = row_due;
    timer_set(worker_loop(w), &history.timer, row_ms());
}

static void history_worker_stop(struct worker *w)
{
    worker_has_clock[worker_index(w)] = false;
    if (!duty_is_here(w, DUTY_METRICS))
        return;
    timer_cancel(&history.timer);
    series_destroy(&history.rows);
}

/* Commands. */

#define TIME_FORM "a time such as 2026-11-20T23:14:38Z, or how long ago, such as 2h"

static bool history_time_parse(slice text, uint64_t now_us, uint64_t *out)
{
    int64_t us, ms;
    if (datetime_parse(text, &us)) {
        *out = us > 0 ? (uint64_t)us : 0;
        return true;
    }
    if (units_parse(text, units_time, 0, &ms) != UNITS_OK || ms < 0)
        return false;
    *out = (uint64_t)ms < now_us / 1000 ? now_us - (uint64_t)ms * 1000 : 0;
    return true;
}

static bool history_is_time(slice text)
{
    uint64_t us;
    return history_time_parse(text, 0, &us);
}

static uint64_t history_time(const struct command_call *call, const char *name, uint64_t now_us,
                             uint64_t missing)
{
    uint64_t us = missing;
    slice text = command_arg(call, name);
    if (text.ptr != NULL)
        (void)history_time_parse(text, now_us, &us); /* its row has checked it */
    return us;
}

static const struct history_series *history_find(struct command_call *call)
{
    struct similar similar;
    slice name = command_arg(call, "series");
    similar_init(&similar, name);
    for (unsigned i = 0; i < history.count; i++) {
        if (slice_is(name, history.series[i].name))
            return &history.series[i];
        similar_try(&similar, slice_of(history.series[i].name));
    }
    command_fail(call, E_NOTFOUND, "%.*s: no such series; `metrics series` lists them%s",
                 SLICE_ARG(name), similar_text(&similar).text);
    return NULL;
}

static void history_add_point(struct command_call *call, const struct history_series *at,
                              const struct series_point *p)
{
    char stamp[CLOCK_STAMP_LEN];
    bool gauge = at->metric->kind == METRIC_GAUGE;
    clock_stamp(stamp, p->at_us);
    command_row(call);
    command_text(call, "time", slice_dup(call->arena, slice_of(stamp)));
    command_int(call, "value", gauge ? p->sum / (int64_t)p->count : p->last);
    command_int(call, "min", p->min);
    command_int(call, "max", p->max);
}

static void run_metrics_history(struct command_call *call)
{
    uint64_t now_us = clock_wall_us(), keep_us = (uint64_t)setting_int(&history_keep) * 1000;
    uint64_t to_us = history_time(call, "to", now_us, now_us);
    uint64_t from_us = history_time(call, "from", now_us, to_us > keep_us ? to_us - keep_us : 0);
    const struct history_series *at = history_find(call);
    if (at == NULL)
        return;
    if (from_us > to_us) {
        command_fail(call, E_SYNTAX, "the begin (--from) is behind the end (--to)");
        return;
    }
    uint64_t row_us = row_ms() * 1000, usual = (to_us - from_us) / POINTS_USUAL;
    usual = usual < row_us ? row_us : (usual + row_us - 1) / row_us * row_us;
    uint64_t step_us = (uint64_t)command_number(call, "step", (int64_t)(usual / 1000)) * 1000;
    struct series_point *points =
        arena_new(call->arena, struct series_point, HISTORY_POINTS_MAX + 1);
    size_t n = series_read(history.rows, (unsigned)(at - history.series),
                           &(struct series_range){ from_us, to_us, step_us }, points,
                           HISTORY_POINTS_MAX + 1);
    if (n > HISTORY_POINTS_MAX) {
        command_fail(call, E_LIMIT,
                     "found more than %d steps from --from to --to; ask for fewer, "
                     "or for longer ones (--step)",
                     HISTORY_POINTS_MAX);
        return;
    }
    for (size_t i = 0; i < n; i++)
        history_add_point(call, at, &points[i]);
    command_done(call, "%s", n > 0 ? "" : "there is nothing of that time");
}

static void run_metrics_series(struct command_call *call)
{
    for (unsigned i = 0; i < history.count; i++) {
        const struct history_series *at = &history.series[i];
        command_row(call);
        command_text(call, "name", slice_of(at->name));
        command_text(call, "type", slice_of(metric_type(at->metric)));
        command_int(call, "value", series_number(at));
        command_text(call, "help", slice_of(at->metric->help));
    }
    command_done(call, "%s", "");
}

static struct command metrics_history_command = {
    .name = "metrics history",
    .rest = "GET /metrics/{series}/history",
    .effect = COMMAND_READS,
    .area = "server",
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_METRICS,
    .args =
        (const struct command_arg[]){
            { .name = "series",
              .kind = ARG_POSITIONAL,
              .max = NAME_BYTES_MAX,
              .doc = "a series, which the command \"metrics series\" lists" },
            { .name = "from",
              .kind = ARG_OPTION,
              .max = NAME_BYTES_MAX,
              .check = history_is_time,
              .form = TIME_FORM,
              .doc = "begin; the default is all there is" },
            { .name = "to",
              .kind = ARG_OPTION,
              .max = NAME_BYTES_MAX,
              .check = history_is_time,
              .form = TIME_FORM,
              .doc = "end; the default is now" },
            { .name = "step",
              .kind = ARG_OPTION,
              .type = PARAM_MS,
              .min = 1000,
              .max = INT64_C(90) * 24 * 3600 * 1000,
              .doc = "length of a step; the default is one that "
                     "makes at most 500 of them" },
            { 0 } },
    .run = run_metrics_history,
    .doc = "Shows what a metric was in the last time (setting metrics.history), the oldest step "
           "first. Of a counter, and of a histogram, a value is the count since the server began, "
           "as of the end of the step; of a gauge it is the mean.",
    .columns =
        (const struct command_column[]){
            { .name = "time", .type = PARAM_STAMP, .doc = "begin of the step" },
            { .name = "value", .type = PARAM_INT, .doc = "mean of a gauge, last count of others" },
            { .name = "min", .type = PARAM_INT, .doc = "the smallest in the step" },
            { .name = "max", .type = PARAM_INT, .doc = "the largest in the step" },
            { 0 } },
};
static struct command metrics_series_command = {
    .name = "metrics series",
    .rest = "GET /metrics/series",
    .effect = COMMAND_READS,
    .area = "server",
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_METRICS,
    .args = (const struct command_arg[]){ { 0 } },
    .run = run_metrics_series,
    .doc = "Lists the metrics that have a history: one series for each value of a label.",
    .columns =
        (const struct command_column[]){
            { .name = "name", .doc = "its name, for `metrics history`" },
            { .name = "type", .doc = "counter, gauge or histogram" },
            { .name = "value", .type = PARAM_INT, .doc = "its value now" },
            { .name = "help", .doc = "what it counts" },
            { 0 } },
};

const struct feature metrics_history_feature = {
    .name = "metrics_history",
    .settings = (struct setting *const[]){ &history_keep, NULL },
    .commands =
        (struct command *const[]){ &metrics_history_command, &metrics_series_command, NULL },
    .metrics = (struct metric *const[]){ &resident, &alarms_now, &worker_cpu_us, NULL },
    .worker.start = history_worker_start,
    .worker.stop = history_worker_stop,
};
