/* snmp: tells a manager of SNMP about alarms, with the notifications of docs/MUSTER-MIB.txt. The
 * program `snmptrap` of net-snmp makes and sends them; where it is not installed, that is the
 * answer. Keys and communities are given to it in a file that only it and the server can read,
 * never in its arguments, which all users of the machine see.
 *
 * At the home of DUTY_ALARMS. */
#pragma once
#include "base/slice.h"
#include "operate/child.h"

struct feature;
struct resolve;
struct worker;

enum { SNMP_WHY_BYTES = 300 };

/* One change of an alarm. The texts are UTF-8 without NUL. */
struct snmp_notice {
    unsigned kind;     /* under musterNotifications: 1 raised, 2 changed, 3 cleared */
    unsigned severity; /* musterAlarmSeverity: 1 warning, 2 error, 3 critical */
    uint64_t at_us;    /* wall clock */
    const char *node, *alarm, *text, *detail, *action;
};

/* Embedded in its owner; zeroed at first. */
struct snmp_errand {
    struct worker *worker;
    struct arena *arena; /* NULL: nothing is under way */
    struct snmp_notice notice;
    struct resolve *resolve;
    struct child child;
    struct loop_defer over;
    char why[SNMP_WHY_BYTES];
    bool ours; /* with why: the settings of this server lack something, or snmptrap is not there */
    /* why: the manager has not got it; NULL: it was sent, and taken if snmp.confirm is on. From the
     * loop, never from inside. */
    void (*done)(struct snmp_errand *e, const char *why);
};

/* The notice is copied. done() follows once. */
void snmp_send(struct snmp_errand *e, struct worker *w, const struct snmp_notice *notice);
void snmp_cancel(struct snmp_errand *e); /* no done() follows */

extern const struct feature snmp_feature;
