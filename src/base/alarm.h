/* alarm: a condition that an operator must know about, as a static row. It is raised and cleared;
 * each change is logged, and `musterctl alarm list` shows it. admin/alarms.h keeps the history and
 * tells of it elsewhere. Any thread. */
#pragma once
#include "base/slice.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum alarm_severity { ALARM_WARNING, ALARM_ERROR, ALARM_CRITICAL };
enum { ALARM_DETAIL_BYTES = 640, ALARM_BY_BYTES = 160, ALARM_NOTE_BYTES = 300 };

struct alarm {
    const char *name;             /* "store.full" */
    enum alarm_severity severity; /* of alarm_raise() */
    const char *text;             /* what is wrong */
    const char *action;           /* what to do */
    const char *explanation;      /* why it matters */
    const char *raised_when, *cleared_when;
    const char *settings;  /* names of those that set its threshold, separated by spaces; or NULL */
    const char *also;      /* names that others know it by, separated by spaces; or NULL */
    uint32_t hold_down_ms; /* told of only when it lasts so long: admin/alarms.h */
    bool lasts;            /* nothing at the start tells whether it still holds: it is restored */

    _Atomic int active;
    _Atomic int severity_now;      /* enum alarm_severity, of the last raise */
    _Atomic uint64_t since_us;     /* wall clock of the last change; 0: never raised */
    _Atomic uint64_t raised_count; /* how often it became active */
    _Atomic int severity_set; /* what an operator has set, plus 1, which holds however it is raised;
                                 0: nothing */
    _Atomic uint64_t known_us; /* when somebody acknowledged that it is active; 0: not yet */
    /* Of the last raise, and who acknowledged it; guarded by a lock in alarm.c. */
    char detail[ALARM_DETAIL_BYTES], known_by[ALARM_BY_BYTES], note[ALARM_NOTE_BYTES];
    struct alarm *next;
};

/* Is told that alarms have changed, with a lock held, so it may not call anything here. */
struct alarm_listener {
    void (*changed)(struct alarm_listener *l);
    struct alarm_listener *next;
};

void alarm_register(struct alarm *a); /* at start */
/* Raises it with the severity of the row. Raising an active alarm again is not logged. */
void alarm_raise(struct alarm *a, slice detail);
/* The same with another severity. A change of severity is logged. What an operator has set
 * (alarm_set_severity()) holds for both. */
void alarm_raise_as(struct alarm *a, enum alarm_severity severity, slice detail);
void alarm_clear(struct alarm *a);
void alarm_detail(struct alarm *a, char *out, size_t cap); /* as a C string, cut where needed */
/* Who acknowledged it, and what they wrote, the same way. */
void alarm_known_by(struct alarm *a, char *out, size_t cap);
void alarm_note(struct alarm *a, char *out, size_t cap);
/* Somebody knows that it is active: until it is cleared. false: it is not active. */
bool alarm_acknowledge(struct alarm *a, slice by, slice note, uint64_t at_us);
/* It was active when the process ended, and still is. Not counted as raised. */
void alarm_restore(struct alarm *a, enum alarm_severity severity, slice detail, uint64_t since_us);
/* An active one began then: before this process did. */
void alarm_since(struct alarm *a, uint64_t since_us);
/* Another severity in place of the one of the row; -1: that of the row. Also of an active alarm. */
void alarm_set_severity(struct alarm *a, int severity);
const char *alarm_severity_name(const struct alarm *a); /* of the last raise: "warning" */
extern const char *const alarm_severities[];            /* by enum alarm_severity, then NULL */
struct alarm *alarm_find(slice name);                   /* NULL: there is none */
void alarm_listen(struct alarm_listener *l);
void alarm_unlisten(struct alarm_listener *l);
struct alarm *alarm_first(void); /* all rows by name, linked by next */
