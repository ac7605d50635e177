/* metrics_history: what the metrics with `history` were in the last time, for plots: a ring of
 * HISTORY_SAMPLES rows (base/series.h), at the home of DUTY_METRICS. A longer time (setting
 * metrics.history) makes the rows less frequent. The metrics of the process itself are here too:
 * memory, processor time by worker, active alarms; they are read with each row.
 *
 * A series is one number: that of a metric, of one value of its label, or the sum of a histogram:
 * "muster_sessions", "muster_s2s_streams{direction=in}", "muster_latency_us_sum{stage=login}".
 *
 * Memory: 8 bytes a row and series, at most HISTORY_SERIES_MAX: with the metrics of today and four
 * workers 3.5 MB when the ring is full. */
#pragma once
#include "base/setting.h"

struct buf;
struct feature;

enum { HISTORY_SAMPLES = 8640, HISTORY_SERIES_MAX = 192, HISTORY_POINTS_MAX = 2000 };

/* All series as they are now: {"time":"…","values":{"muster_sessions":4, …}}. At the home of
 * DUTY_METRICS. */
void metrics_history_now(struct buf *out);

extern const struct feature metrics_history_feature;
