/* alarm: a condition an operator must know, as a static row: raised and cleared, logged at each
 * change, listed by `musterctl status`. Any thread. */
#pragma once
#include "base/slice.h"
#include <stdatomic.h>

enum alarm_severity { ALARM_WARNING, ALARM_ERROR, ALARM_CRITICAL };

struct alarm {
    const char *name; /* "store.full" */
    enum alarm_severity severity;
    const char *text;   /* what is wrong */
    const char *action; /* what to do */

    _Atomic int active;
    _Atomic uint64_t since_us;     /* wall clock of the last change; 0: never raised */
    _Atomic uint64_t raised_count; /* how often it became active */
    char detail[160];              /* of the last raise; guarded by a lock in alarm.c */
    struct alarm *next;
};

void alarm_register(struct alarm *a);            /* at start */
void alarm_raise(struct alarm *a, slice detail); /* repeats while active are not logged again */
void alarm_clear(struct alarm *a);
void alarm_detail(struct alarm *a, char *out, size_t cap); /* as a C string, cut where needed */
struct alarm *alarm_first(void);                           /* all rows by name, linked by next */
