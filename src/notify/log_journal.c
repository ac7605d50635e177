#include "notify/log_journal.h"
#include "base/utf8.h"
#include "codec/syslog.h"
#include "notify/syslog.h"
#include <inttypes.h>
#include <stdio.h>

/* The line itself has all of them, as far as it is not cut. */
enum { JOURNAL_FIELDS_MAX = 24, JOURNAL_VALUE_MAX = 1024, JOURNAL_DIGITS = 24 };

static slice journal_value(const struct log_field *f, char digits[JOURNAL_DIGITS])
{
    slice value = f->str;
    if (f->kind == LOG_KIND_INT) {
        snprintf(digits, JOURNAL_DIGITS, "%" PRId64, f->num);
        return slice_of(digits);
    }
    return utf8_head(value, JOURNAL_VALUE_MAX);
}

bool log_journal_write(const struct log_area *area, enum log_level level, uint64_t wall_us,
                       const struct log_field *fields, slice line)
{
    static const enum syslog_severity severities[] = {
        [LOG_ERROR] = SYSLOG_ERROR, [LOG_WARN] = SYSLOG_WARNING, [LOG_INFO] = SYSLOG_INFO,
        [LOG_DEBUG] = SYSLOG_DEBUG, [LOG_TRACE] = SYSLOG_DEBUG,
    };
    struct syslog_field out[JOURNAL_FIELDS_MAX + 2] = { { "area", slice_of(area->name) } };
    char digits[JOURNAL_FIELDS_MAX][JOURNAL_DIGITS];
    for (unsigned i = 0; i < JOURNAL_FIELDS_MAX && fields[i].key != NULL; i++)
        out[i + 1] = (struct syslog_field){ fields[i].key, journal_value(&fields[i], digits[i]) };
    return journal_send(&(struct syslog_line){ .severity = severities[level],
                                               .facility = SYSLOG_DAEMON,
                                               .at_us = wall_us,
                                               .kind = "log",
                                               .fields = out,
                                               .text = line }) == NULL;
}
