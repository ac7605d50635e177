/* log_sample: which lines of the log are held back because too many of one event came in the same
 * second: beyond log.repeats one of LOG_SAMPLE_EACH is written. An event is one of an area and a
 * level: warnings are not held back because much was said at info. log_tell() of base/log.h says
 * how many lines were held back. Errors, and areas whose lines are records (log_area.whole) or are
 * traced, are not sampled. Any thread.
 *
 * Limits: LOG_SAMPLES events are counted at a time, of which some have lines that nobody was told
 * of, and the others were logged within this second. Of one more, all lines are written. */
#pragma once
#include "base/log.h"

enum { LOG_SAMPLES = 256, LOG_SAMPLE_EACH = 100 };

struct metric;
struct setting;
extern struct setting log_repeats;
extern struct metric log_lines_held;

/* Lines of an event that were held back. */
struct log_held {
    struct log_area *area;
    enum log_level level;
    const char *event; /* a literal (LOG_EV) */
    uint32_t lines;
};

/* Whether a line is written. event: a literal; NULL: none. second: of the wall clock. */
bool log_sample(struct log_area *area, enum log_level level, const char *event, uint64_t second);
/* One event with lines that were held back, which are forgotten with this call. False: none. */
bool log_sample_held(struct log_held *out);
