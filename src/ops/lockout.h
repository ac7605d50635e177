/* lockout: a name that failed to log in to the console too often is refused for a time, from
 * everywhere (settings admin.lock-*), whether there is such a name or not. So guessing ends, and
 * tells nothing about names. Addresses are refused by auth/throttle.h beside it.
 *
 * An attempt is counted as a failure before anything is compared, and uncounted if it was none: so
 * parallel attempts get no more guesses.
 *
 * One for the process, in memory; any thread. Limit: LOCKOUT_NAMES_MAX names; of each group of
 * LOCKOUT_GROUP one that is not refused gives way, of these the one with the fewest failures, and
 * of these the oldest. Which group a name has is not known outside. */
#pragma once
#include "base/setting.h"

enum { LOCKOUT_NAMES_MAX = 4096, LOCKOUT_GROUP = 8 };

/* false: it is refused now. true: exactly one of the following three must be called. */
bool lockout_take(slice name, uint64_t now_us);
bool lockout_failed(slice name, uint64_t now_us); /* true: it is refused from now on */
void lockout_passed(slice name);
void lockout_void(slice name); /* nothing was found out */

bool lockout_is(slice name, uint64_t now_us);
bool lockout_end(slice name, uint64_t now_us); /* false: it was not refused */

extern struct setting lockout_failures, lockout_window, lockout_time;
