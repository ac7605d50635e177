/* metrics_text: all metrics in the text format of Prometheus (0.0.4), for the command
 * and for /metrics on the listeners of `listen.metrics`. Any thread. */
#pragma once
struct buf;
struct metric;

enum { METRICS_BYTES_MAX = 1 << 20 };

/* Counters end in _total; times are in seconds. */
void metrics_text(struct buf *out);
const char *metric_type(const struct metric *m);
