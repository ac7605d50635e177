#include "admin/backup_alarm.h"
#include "base/alarm.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "home/here.h"
#include "io/timer.h"
#include <inttypes.h>
#include <stdio.h>

enum { LOOK_MS = 15000, FIRST_LOOK_MS = 1000, AHEAD_S = 3600 /* that clocks may differ */ };

struct setting backup_alarm_after = {
    .name = "backup.alarm-after",
    .scope = SCOPE_NODE,
    .type = PARAM_MS,
    .def = PARAM_NONE,
    .min = 60000,
    .max = 366ll * 86400000,
    .allow_none = true,
    .doc = "How old the last backup that `backup create` has made may become before the alarm "
           "backup.missing is raised. `none`: never, for those who make backups with other tools.",
};
struct alarm backup_failed_alarm = {
    .name = "backup.failed",
    .severity = ALARM_ERROR,
    .text = "The last backup failed.",
    .action = "Look at the detail. Mend the cause, most often a full disk or a folder that musterd "
              "may not write to, and run `musterctl backup create` again.",
    .explanation = "If the disk of this machine breaks, all that has changed since the last backup "
                   "is lost.",
    .raised_when = "`backup create` ends with an error. One that somebody has canceled, or that a "
                   "stop of the server has ended, does not count, nor one whose folder is there.",
    .cleared_when = "`backup create` succeeds.",
    .also = "DRFBackupFailure DRFFailure",
    .lasts = true,
};
struct alarm backup_missing_alarm = {
    .name = "backup.missing",
    .severity = ALARM_WARNING,
    .text = "No backup has been made for a long time.",
    .action = "Run `musterctl backup create`, and look at why the timer that should do it does "
              "not (docs/backup.md). If backups are made with other tools: `musterctl set "
              "backup.alarm-after none`.",
    .explanation = "If the disk of this machine breaks, all that has changed since the last backup "
                   "is lost.",
    .raised_when = "The last `backup create` that succeeded is older than backup.alarm-after, its "
                   "time is more than an hour ahead of the clock, or none has succeeded yet.",
    .cleared_when = "`backup create` succeeds, or backup.alarm-after allows that age.",
    .settings = "backup.alarm-after",
    .also = "DRFNoBackupTaken",
};

static struct {
    struct timer timer;
    int64_t finished_s;
} watch;

static void backup_age_judge(void)
{
    char detail[96] = "none has been made yet";
    int64_t most_ms = setting_int(&backup_alarm_after),
            age_s = (int64_t)(clock_wall_us() / 1000000) - watch.finished_s;
    bool ahead = age_s < -AHEAD_S;
    if (most_ms == PARAM_NONE || (watch.finished_s > 0 && !ahead && age_s <= most_ms / 1000)) {
        alarm_clear(&backup_missing_alarm);
        return;
    }
    if (ahead)
        snprintf(detail, sizeof detail,
                 "the time of the last one is %" PRId64 " hours ahead of the clock", -age_s / 3600);
    else if (watch.finished_s > 0)
        snprintf(detail, sizeof detail, "the last one is %" PRId64 " hours old", age_s / 3600);
    alarm_raise(&backup_missing_alarm, slice_of(detail));
}

static void backup_age_look(struct timer *t, struct loop *loop)
{
    backup_age_judge();
    timer_set(loop, t, LOOK_MS);
}

void backup_alarm_start(struct worker *w, int64_t finished_s)
{
    ensure(finished_s >= 0 && !timer_is_set(&watch.timer));
    watch.finished_s = finished_s;
    watch.timer.fn = backup_age_look;
    timer_set(worker_loop(w), &watch.timer, FIRST_LOOK_MS);
}

void backup_alarm_stop(void) { timer_cancel(&watch.timer); }

void backup_alarm_failed(const char *folder, const char *why)
{
    char detail[ALARM_DETAIL_BYTES];
    snprintf(detail, sizeof detail, "%s: %s", folder, why);
    alarm_raise(&backup_failed_alarm, slice_of(detail));
}

void backup_alarm_succeeded(int64_t finished_s)
{
    ensure(finished_s > 0);
    watch.finished_s = finished_s;
    alarm_clear(&backup_failed_alarm);
    backup_age_judge();
}
