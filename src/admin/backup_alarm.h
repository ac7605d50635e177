/* backup_alarm: tells that backups fail, or that none is made any more. At the home of the duty
 * backup. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct alarm;
struct setting;
struct worker;

extern struct setting backup_alarm_after;
extern struct alarm backup_failed_alarm, backup_missing_alarm;

/* `finished_s` is when the last one that succeeded ended, in seconds since 1970; 0: none has. */
void backup_alarm_start(struct worker *w, int64_t finished_s);
void backup_alarm_stop(void);
void backup_alarm_failed(const char *folder, const char *why); /* one that was to be made */
void backup_alarm_succeeded(int64_t finished_s);
