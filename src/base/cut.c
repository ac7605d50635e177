#include "base/cut.h"
#include "base/clock.h"
#include "base/ensure.h"
#include <stdatomic.h>

struct metric texts_cut = {
    .name = "muster_texts_cut",
    .kind = METRIC_COUNTER,
    .help = "Texts that were cut (lines of the log, details of alarms) or left out (other texts) "
            "because they were too long.",
    .label = "text",
    .values = (const char *const[]){ "buffer", "log", "alarm", NULL },
};
struct metric log_lines_suppressed = {
    .name = "muster_log_lines_suppressed",
    .kind = METRIC_COUNTER,
    .help = "Lines of the log that were not written because there were too many in a second.",
};
struct log_area log_cut = { .name = "cut" };

void cut_count(enum cut_text text)
{
    ensure(text <= CUT_ALARM); /* a value of the label */
    metric_add_to(&texts_cut, text, 1);
}

void cut_buffer(const char *where, size_t bytes_max)
{
    static _Atomic uint64_t told_s;
    uint64_t now_s = clock_wall_us() / 1000000;
    cut_count(CUT_BUFFER);
    if (atomic_exchange(&told_s, now_s) != now_s)
        log_warn(&log_cut, LOG_EV("text.left-out"), LOG_C("function", where),
                 LOG_I("bytes_max", bytes_max),
                 LOG_C("hint", "a text that is longer than this was neither sent nor stored; if "
                               "clients miss something, report the function"));
}
