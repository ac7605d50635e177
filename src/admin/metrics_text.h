/* metrics_text: all metrics as a text for scrapers, for the command and for /metrics on the
 * listeners of `listen.metrics`. Any thread. */
#pragma once
#include "base/slice.h"

struct buf;
struct metric;

enum { METRICS_BYTES_MAX = 1 << 20 };

/* The text format of Prometheus 0.0.4, and OpenMetrics 1.0.0. */
enum metrics_format { METRICS_PROMETHEUS, METRICS_OPENMETRICS };

/* Counters end in _total; times are in seconds. */
void metrics_text(struct buf *out, enum metrics_format format);
/* What a client wants that sends this Accept; the format of Prometheus if it does not say. */
enum metrics_format metrics_format_of(slice accept);
const char *metric_type(const struct metric *m);
