/* audit_verify: checks the chain of the audit log, for `audit verify`, and by itself: all of it
 * after the start and once a week, in between what is new since the last check, at intervals of
 * audit.verify-every. A fault raises the alarm audit.broken.
 *
 * At the home of DUTY_AUDIT. Limit: a check by itself reads WATCH_ROWS entries at a time and pauses
 * between, so a million entries take some minutes and little of the worker. */
#pragma once
#include "base/slice.h"

struct alarm;
struct command;
struct setting;
struct worker;

void audit_watch_start(struct worker *w);
void audit_watch_stop(void);

/* The log is not as the server left it: raises the alarm. */
void audit_broken_at(slice why);

extern struct alarm audit_broken_alarm;
extern struct command audit_verify_command;
extern struct setting audit_verify_every;
