/* audit_verify: checks the chain of the audit log, for `audit verify`, and by itself: all of it
 * after the start and once a week, in between what is new since the last check, at intervals of
 * audit.verify-every. A fault raises the alarm audit.broken.
 *
 * At the home of DUTY_AUDIT. Limit: a check by itself reads WATCH_ROWS entries at a time and pauses
 * between, so a million entries take some minutes and little of the worker. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

struct alarm;
struct command;
struct setting;
struct store_batch;
struct worker;

void audit_watch_start(struct worker *w);
void audit_watch_stop(void);

/* The log is not as the server left it: raises the alarm. */
void audit_broken_at(slice why);

struct audit_fault {
    int64_t at; /* the entry; 0: the ends of the log are not what the server has written */
    struct why why;
};

/* Whether these are the entries that were written: the first `rows` of a page that was read with
 * the head and the last entry. A page that goes on behind `after` begins with that entry. */
bool audit_page_fits(const struct store_batch *b, uint32_t rows, int64_t after,
                     struct audit_fault *fault);

extern struct alarm audit_broken_alarm;
extern struct command audit_verify_command;
extern struct setting audit_verify_every;
