/* log_sample: which lines of the log are held back because too many of one event came in the same
 * second: beyond log.repeats one of LOG_SAMPLE_EACH is written, and how many were not is told
 * before the next line of that event in a later second. Errors, and areas whose lines are records
 * (log_area.whole) or are traced, are not sampled. Any thread.
 *
 * Limits: LOG_SAMPLES events are counted; those of the same hash share one count. */
#pragma once
#include "base/log.h"

enum { LOG_SAMPLES = 256, LOG_SAMPLE_EACH = 100 };

struct metric;
struct setting;
extern struct setting log_repeats;
extern struct metric log_lines_held;

/* Whether a line is written. held: how many of the event were not, in an earlier second; 0: none,
 * or another thread tells it. */
bool log_sample(const struct log_area *area, enum log_level level, const char *event,
                uint64_t second, uint32_t *held);
