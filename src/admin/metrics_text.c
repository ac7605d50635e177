#include "admin/metrics_text.h"
#include "base/buf.h"
#include "base/metric.h"
#include "base/setting.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "http/server.h"
#include "io/timer.h"
#include <inttypes.h>
#include <string.h>

const char *metric_type(const struct metric *m)
{
    static const char *const types[] = { "counter", "gauge", "histogram" };
    return types[m->kind];
}

/* Prometheus wants base units: values in micro- and milliseconds are converted to seconds. */
static const struct {
    slice end;
    int64_t parts;
    int digits; /* after the decimal point */
} units[] = { { SLICE_INIT("_us"), 1000000, 6 }, { SLICE_INIT("_ms"), 1000, 3 } };

struct shown {
    slice stem; /* of the name */
    const char *unit, *total;
    int64_t parts;
    int digits;
};

static struct shown metrics_text_shown(const struct metric *m)
{
    struct shown s = { slice_of(m->name), "", "", 1, 0 };
    for (unsigned i = 0; i < sizeof units / sizeof units[0]; i++) {
        slice end = units[i].end;
        if (s.parts == 1 && s.stem.len > end.len &&
            slice_eq(slice_from(s.stem, s.stem.len - end.len), end)) {
            s.stem.len -= end.len;
            s.unit = "_seconds";
            s.parts = units[i].parts;
            s.digits = units[i].digits;
        }
    }
    if (m->kind == METRIC_COUNTER)
        s.total = "_total";
    return s;
}

static void metrics_text_number(struct buf *out, const struct shown *s, int64_t n)
{
    int64_t rest = n % s->parts;
    if (s->parts == 1)
        buf_printf(out, "%" PRId64, n);
    else
        buf_printf(out, "%s%" PRId64 ".%0*" PRId64, n < 0 && n > -s->parts ? "-" : "", n / s->parts,
                   s->digits, rest < 0 ? -rest : rest);
}

static void metrics_text_value(struct buf *out, const struct shown *s, int64_t n)
{
    buf_lit(out, " ");
    metrics_text_number(out, s, n);
    buf_lit(out, "\n");
}

static struct setting period = {
    .name = "metrics.period",
    .scope = SCOPE_NODE,
    .type = PARAM_MS,
    .def = 60000,
    .min = 1000,
    .max = 3600000,
    .doc = "Period of the values of muster_named that tell of the last period. A change applies "
           "from the next period on.",
};

/* Looked at by the home of the duty when a period ends; `grown` is read by all workers. By id of
 * the metric. */
static struct {
    struct timer timer;
    int64_t seen[METRIC_MAX];
    _Atomic int64_t grown[METRIC_MAX];
} last;

static int64_t grown(const struct metric *m)
{
    return atomic_load_explicit(&last.grown[m->id], memory_order_relaxed);
}

static void period_ended(struct timer *t, struct loop *loop)
{
    for (const struct metric *m = metric_first(); m != NULL; m = m->next) {
        int64_t now = metric_read(m);
        atomic_store_explicit(&last.grown[m->id], now - last.seen[m->id], memory_order_relaxed);
        last.seen[m->id] = now;
    }
    timer_set(loop, t, (uint64_t)setting_int(&period));
}

static void metrics_text_worker_start(struct worker *w)
{
    if (!duty_is_here(w, DUTY_METRICS))
        return;
    last.timer.fn = period_ended;
    timer_set(worker_loop(w), &last.timer, (uint64_t)setting_int(&period));
}

static void metrics_text_worker_stop(struct worker *w)
{
    if (duty_is_here(w, DUTY_METRICS))
        timer_cancel(&last.timer);
}

static void named_value(struct buf *out, slice name, const struct shown *s, int64_t n)
{
    buf_printf(out, "muster_named{name=\"%.*s\"}", SLICE_ARG(name));
    metrics_text_value(out, s, n);
}

/* Repeats values under the names that they have in other products. */
static void metrics_text_named(struct buf *out)
{
    buf_lit(out, "# HELP muster_named The same values by the names that they have in products of "
                 "other makers.\n# TYPE muster_named gauge\n");
    for (const struct metric *m = metric_first(); m != NULL; m = m->next) {
        struct shown s = metrics_text_shown(m);
        slice name, rest = m->also == NULL ? SLICE("") : slice_of(m->also);
        while (slice_word(&rest, &name))
            named_value(out, name, &s, metric_read(m));
        if (m->also_period != NULL)
            named_value(out, slice_of(m->also_period), &s, grown(m));
        if (m->also_mean != NULL)
            named_value(out, slice_of(m->also_mean), &s,
                        grown(m->per) > 0 ? grown(m) / grown(m->per) : 0);
    }
}

/* OpenMetrics §4.2: the family of a counter has the name without _total, and quotes in its help
 * are escaped. The unit is the end of that name. */
static void metrics_text_open_head(struct buf *out, const struct metric *m, const struct shown *s)
{
    static const char *const ends[] = { "_bytes", "_seconds" };
    const char *unit = *s->unit != '\0' ? s->unit + 1 : NULL;
    for (unsigned i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (s->stem.len > strlen(ends[i]) &&
            slice_is(slice_from(s->stem, s->stem.len - strlen(ends[i])), ends[i]))
            unit = ends[i] + 1;
    buf_printf(out, "# TYPE %.*s%s %s\n", SLICE_ARG(s->stem), s->unit, metric_type(m));
    if (unit != NULL)
        buf_printf(out, "# UNIT %.*s%s %s\n", SLICE_ARG(s->stem), s->unit, unit);
    buf_printf(out, "# HELP %.*s%s ", SLICE_ARG(s->stem), s->unit);
    for (const char *c = m->help; *c != '\0'; c++)
        buf_printf(out, "%s%c", *c == '"' || *c == '\\' ? "\\" : "", *c);
    buf_lit(out, "\n");
}

static void metrics_text_name(struct buf *out, const struct shown *s)
{
    buf_printf(out, "%.*s%s%s", SLICE_ARG(s->stem), s->unit, s->total);
}

/* {direction="sent",le="0.005"}: what there is of it. `le`: NULL, or a bucket; 0: above all. */
static void metrics_text_labels(struct buf *out, const struct metric *m, unsigned value,
                                const struct shown *s, const int64_t *le)
{
    if (m->label == NULL && le == NULL)
        return;
    buf_lit(out, "{");
    if (m->label != NULL)
        buf_printf(out, "%s=\"%s\"%s", m->label, m->values[value], le != NULL ? "," : "");
    if (le != NULL && *le == 0)
        buf_lit(out, "le=\"+Inf\"");
    if (le != NULL && *le != 0) {
        buf_lit(out, "le=\"");
        metrics_text_number(out, s, *le);
        buf_lit(out, "\"");
    }
    buf_lit(out, "}");
}

/* Each bucket counts what those before it count, too. */
static void metrics_text_histogram(struct buf *out, const struct metric *m, unsigned value,
                                   const struct shown *s)
{
    static const struct shown count = { .parts = 1 };
    int64_t sum = 0;
    for (unsigned i = 0; i <= metric_buckets(m); i++) {
        sum += metric_read_cell(m, value, i);
        metrics_text_name(out, s);
        buf_lit(out, "_bucket");
        metrics_text_labels(out, m, value, s, &m->buckets[i]);
        metrics_text_value(out, &count, sum);
    }
    metrics_text_name(out, s);
    buf_lit(out, "_sum");
    metrics_text_labels(out, m, value, s, NULL);
    metrics_text_value(out, s, metric_read_cell(m, value, metric_buckets(m) + 1));
    metrics_text_name(out, s);
    buf_lit(out, "_count");
    metrics_text_labels(out, m, value, s, NULL);
    metrics_text_value(out, &count, sum);
}

static void metrics_text_head(struct buf *out, const struct metric *m, const struct shown *s)
{
    buf_lit(out, "# HELP ");
    metrics_text_name(out, s);
    buf_printf(out, " %s\n# TYPE ", m->help);
    metrics_text_name(out, s);
    buf_printf(out, " %s\n", metric_type(m));
}

static void metrics_text_metric(struct buf *out, const struct metric *m, enum metrics_format format)
{
    struct shown s = metrics_text_shown(m);
    if (format == METRICS_OPENMETRICS)
        metrics_text_open_head(out, m, &s);
    else
        metrics_text_head(out, m, &s);
    for (unsigned value = 0; value < metric_there(m); value++) {
        if (m->kind == METRIC_HISTOGRAM) {
            metrics_text_histogram(out, m, value, &s);
            continue;
        }
        metrics_text_name(out, &s);
        metrics_text_labels(out, m, value, &s, NULL);
        metrics_text_value(out, &s, metric_read_cell(m, value, 0));
    }
}

struct family {
    struct buf *out;
    const struct metric_family *of;
};

static void family_value(void *arg, const char *value, uint64_t n)
{
    const struct family *f = arg;
    buf_printf(f->out, "%s_total{%s=\"%s\"} %" PRIu64 "\n", f->of->name, f->of->label, value, n);
}

/* total: what the names of counters end in where a family is declared. */
static void metrics_text_family(struct buf *out, const struct metric_family *m, const char *total)
{
    buf_printf(out, "# HELP %s%s %s\n# TYPE %s%s counter\n", m->name, total, m->help, m->name,
               total);
    m->each(m, family_value, &(struct family){ out, m });
}

void metrics_text(struct buf *out, enum metrics_format format)
{
    for (const struct metric *m = metric_first(); m != NULL; m = m->next)
        metrics_text_metric(out, m, format);
    FEATURES_EACH (f, families)
        for (const struct metric_family *m = f->families; m->name != NULL; m++)
            metrics_text_family(out, m, format == METRICS_OPENMETRICS ? "" : "_total");
    metrics_text_named(out);
    if (format == METRICS_OPENMETRICS)
        buf_lit(out, "# EOF\n");
}

/* How much an item of Accept is wanted, in thousandths (RFC 9110 §12.4.2). */
static int metrics_text_weight(slice item)
{
    slice part, rest = item;
    while (slice_cut(rest, ';', &part, &rest)) {
        slice q = rest;
        while (q.len > 0 && q.ptr[0] == ' ')
            q = slice_from(q, 1);
        if (q.len < 3 || (q.ptr[0] | 0x20) != 'q' || q.ptr[1] != '=')
            continue;
        int weight = q.ptr[2] == '1' ? 1000 : 0, unit = 100;
        for (size_t i = 4; i < q.len && i < 7 && q.ptr[i] >= '0' && q.ptr[i] <= '9';
             i++, unit /= 10)
            weight += (q.ptr[i] - '0') * unit;
        return weight;
    }
    return 1000;
}

enum metrics_format metrics_format_of(slice accept)
{
    static const slice open = SLICE_INIT("application/openmetrics-text"),
                       text = SLICE_INIT("text/plain");
    int open_weight = 0, text_weight = 0;
    slice item;
    while (accept.len > 0) {
        slice_cut(accept, ',', &item, &accept);
        while (item.len > 0 && item.ptr[0] == ' ')
            item = slice_from(item, 1);
        int weight = metrics_text_weight(item);
        if (slice_starts(item, open) && weight > open_weight)
            open_weight = weight;
        if (slice_starts(item, text) && weight > text_weight)
            text_weight = weight;
    }
    return open_weight > 0 && open_weight >= text_weight ? METRICS_OPENMETRICS : METRICS_PROMETHEUS;
}

static void metrics_get(struct http_request *r)
{
    static const char *const types[] = {
        "text/plain; version=0.0.4; charset=utf-8",
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    };
    enum metrics_format format = metrics_format_of(http_header(r, "Accept"));
    struct buf out;
    buf_init(&out, METRICS_BYTES_MAX);
    metrics_text(&out, format);
    http_answer(r, &(struct http_answer){ .status = 200,
                                          .type = types[format],
                                          .headers = SLICE("Vary: Accept\r\n"),
                                          .body = buf_fit(&out) });
    buf_fini(&out);
}

static const struct http_route routes[] = {
    { .path = "/metrics",
      .group = "metrics",
      .methods = HTTP_M_GET,
      .flags = HTTP_OWN_LISTENER | HTTP_WHEN_CROWDED,
      .handle = metrics_get },
    { 0 },
};

const struct feature metrics_feature = {
    .name = "metrics",
    .settings = (struct setting *const[]){ &period, NULL },
    .http = routes,
    .worker.start = metrics_text_worker_start,
    .worker.stop = metrics_text_worker_stop,
};
