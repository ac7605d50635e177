/* cut: texts that somebody misses: counts what was cut or left out because it was too long. Any
 * thread. */
#pragma once
#include "base/log.h"
#include "base/metric.h"

enum cut_text {
    CUT_BUFFER, /* left out whole: its buffer ran over (base/buf.h) */
    CUT_LOG,    /* a line of the log */
    CUT_ALARM   /* the detail of an alarm; the log has all of it */
};

void cut_count(enum cut_text text);
/* The same for CUT_BUFFER, and logs it, at most one line a second. `where` names the function. */
void cut_buffer(const char *where, size_t bytes_max);

/* Rows, for app/. */
extern struct metric texts_cut, log_lines_suppressed;
extern struct log_area log_cut;
