/* alarms: keeps what becomes of alarms (base/alarm.h): a history in the database, who acknowledged
 * them, and rules of the operator: severity, hold-down, whether they are delivered.
 *
 * It compares: what each alarm is now with what was told of it. So it is never behind by more than
 * one change of each alarm, however often they change. An alarm is told of when it has been active
 * for its hold-down, and its end when it has been away as long. `alarm list` and the log show each
 * change at once.
 *
 * After a restart an entry of the history goes on if its alarm is raised again within
 * ALARMS_SETTLE_MS; rows with `lasts` are restored.
 *
 * Confined to the home of DUTY_ALARMS, and about the alarms of its process. Limits:
 * ALARMS_WAITING_MAX changes wait for the database; of more the oldest are lost, which the log
 * says. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

struct alarm;
struct command_call;
struct feature;
struct worker;

enum { ALARMS_WAITING_MAX = 1000, ALARMS_SETTLE_MS = 10000 };

/* A rule of an operator; a row that is not in the table has the values of the alarm. */
struct alarm_rule {
    int severity; /* enum alarm_severity; -1: that of the alarm */
    int64_t hold_down_ms;
    bool delivered;
};

struct alarm_rule alarms_rule(const struct alarm *a);
/* Applies it; the caller stores it. */
void alarms_rule_set(const struct alarm *a, const struct alarm_rule *rule);
/* The number of its entry in the history; 0: nothing is told of it now. */
int64_t alarms_entry(const struct alarm *a);
/* Since when that entry is of the past, also while the history is not told of it yet; 0: it is
 * not. */
uint64_t alarms_entry_cleared_us(const struct alarm *a, int64_t entry);
/* In the history, with a note. The alarm is active. */
void alarms_acknowledged(const struct alarm *a, slice by, slice note, uint64_t at_us);

/* News of an alarm. */
enum alarms_what { ALARMS_RAISED, ALARMS_CHANGED, ALARMS_CLEARED };
struct alarms_news {
    const struct alarm *alarm;
    enum alarms_what what;
    int severity; /* enum alarm_severity */
    int worst;    /* the gravest since it was raised: who was told of that hears of the rest, too */
    uint64_t at_us;
    int64_t entry;    /* of the history */
    char detail[640]; /* ALARM_DETAIL_BYTES */
};
const char *alarms_what_name(enum alarms_what what);       /* "raised" */
const char *alarms_action(const struct alarms_news *news); /* what to do now; "": nothing */
/* Delivers them: called at the home of the duty, for alarms that are to be delivered. Set
 * before workers run. */
typedef void alarms_told_fn(struct worker *w, const struct alarms_news *news);
enum { ALARMS_TOLD_MAX = 4 };
void alarms_on_told(alarms_told_fn *told);
/* Tells of what has just changed now, not some milliseconds later: the server ends. At the home of
 * the duty, while it can still deliver. */
void alarms_look(void);

extern const struct feature alarms_feature;
