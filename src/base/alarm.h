/* alarm: a condition that an operator must know about, as a static row. It is raised and cleared;
 * each change is logged, and `musterctl alarm list` shows it. Any thread. */
#pragma once
#include "base/slice.h"
#include <stdatomic.h>

enum alarm_severity { ALARM_WARNING, ALARM_ERROR, ALARM_CRITICAL };

struct alarm {
    const char *name;             /* "store.full" */
    enum alarm_severity severity; /* of alarm_raise() */
    const char *text;             /* what is wrong */
    const char *action;           /* what to do */

    _Atomic int active;
    _Atomic int severity_now;      /* enum alarm_severity, of the last raise */
    _Atomic uint64_t since_us;     /* wall clock of the last change; 0: never raised */
    _Atomic uint64_t raised_count; /* how often it became active */
    char detail[160];              /* of the last raise; guarded by a lock in alarm.c */
    struct alarm *next;
};

void alarm_register(struct alarm *a); /* at start */
/* Raises it with the severity of the row. Raising an active alarm again is not logged. */
void alarm_raise(struct alarm *a, slice detail);
/* The same with another severity. A change of severity is logged. */
void alarm_raise_as(struct alarm *a, enum alarm_severity severity, slice detail);
void alarm_clear(struct alarm *a);
void alarm_detail(struct alarm *a, char *out, size_t cap); /* as a C string, cut where needed */
const char *alarm_severity_name(const struct alarm *a);    /* of the last raise: "warning" */
struct alarm *alarm_first(void);                           /* all rows by name, linked by next */
