/* alarm_targets: tells of alarms by mail, to a syslog server, to journald and by SNMP, from a
 * severity on that a setting of each says. A target that cannot be reached is tried again; what it
 * has not got waits in memory, and with a mail all that waits goes at once. What waits for a mail
 * is in the database, too (notify/alarm_waiting.h).
 *
 * At the home of DUTY_ALARMS. Limits: TARGET_NEWS_MAX changes wait for a target; of more, the
 * oldest are left out, and how many it is told. */
#pragma once

struct feature;

enum { TARGET_NEWS_MAX = 200 };

extern const struct feature alarm_targets_feature;
