/* audit_send: sends the entries of the audit log to the syslog server (syslog.server) and to
 * journald, each in the order of their numbers and at least once. How far each has got is in the
 * database (table reader), so what was entered while one was away follows when it is back, also
 * after a restart or kill. What audit.keep has deleted by then is not sent.
 *
 * At the home of DUTY_AUDIT. Limits: AUDIT_SEND_ROWS entries at a time. */
#pragma once

struct feature;

enum { AUDIT_SEND_ROWS = 100 };

extern const struct feature audit_send_feature;
