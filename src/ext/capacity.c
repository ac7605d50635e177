/* capacity: raises an alarm if more clients are connected than the node is planned for. The
 * home of the duty regularly compares the number of all sessions with the limit. */
#include "base/alarm.h"
#include "base/metric.h"
#include "base/setting.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "home/duty.h"
#include "home/here.h"
#include "session/session.h"
#include <inttypes.h>
#include <stdio.h>

enum { LOOK_MS = 15000, LOOKS = 4 }; /* at least so often in the time after which the alarm comes */

static struct setting users = {
    .name = "capacity.users",
    .scope = SCOPE_NODE,
    .type = PARAM_INT,
    .def = 25000,
    .min = 1,
    .max = 10000000,
    .unit = "users",
    .doc = "The number of users that you plan for on this machine. It is not a limit: it only "
           "determines when the alarm capacity.sessions is raised.",
};
static struct setting factor = {
    .name = "capacity.sessions-percent",
    .scope = SCOPE_NODE,
    .type = PARAM_INT,
    .def = 150,
    .min = 100,
    .max = 10000,
    .unit = "percent",
    .doc = "Sessions that you plan for, in percent of capacity.users: users have several devices.",
};
static struct setting threshold = {
    .name = "capacity.alarm-percent",
    .scope = SCOPE_NODE,
    .type = PARAM_INT,
    .def = 80,
    .min = 1,
    .max = 1000,
    .unit = "percent",
    .doc = "The alarm capacity.sessions is raised when more than this percentage of the planned "
           "sessions exists for longer than capacity.alarm-after.",
};
static struct setting after = {
    .name = "capacity.alarm-after",
    .scope = SCOPE_NODE,
    .type = PARAM_MS,
    .def = 600000,
    .min = 1000,
    .max = 86400000,
    .doc = "For how long there must be too many sessions before the alarm capacity.sessions is "
           "raised.",
};
static struct metric load = {
    .name = "muster_sessions_capacity_percent",
    .kind = METRIC_GAUGE,
    .help = "Sessions in percent of what is supported.",
    .also = "JSMSessionsExceedsThreshold",
};
static struct alarm exceeded = {
    .name = "capacity.sessions",
    .severity = ALARM_WARNING,
    .text = "There are more sessions than this node is planned for (capacity.users).",
    .action = "Look at memory and processor time of the machine. If there is enough, raise "
              "capacity.users.",
    .explanation =
        "More sessions than planned need more memory and processor time than the machine may "
        "have.",
    .raised_when = "Sessions are above capacity.alarm-percent percent of what is supported, for "
                   "capacity.alarm-after.",
    .cleared_when = "Sessions are at or below the threshold.",
    .settings = "capacity.alarm-percent capacity.alarm-after",
    .also = "JSMSessionsExceedsThreshold",
};

/* At the home of the duty, the only thread that looks. */
static struct {
    struct timer timer;
    uint64_t above_us; /* since when; 0: it is not */
    int64_t told;      /* what the gauge says */
} watch;

static void capacity_judge(uint64_t now_us, int64_t percent, int64_t sessions)
{
    char detail[80];
    if (percent <= setting_int(&threshold)) {
        watch.above_us = 0;
        alarm_clear(&exceeded);
        return;
    }
    if (watch.above_us == 0)
        watch.above_us = now_us;
    if (now_us - watch.above_us < (uint64_t)setting_int(&after) * 1000)
        return;
    snprintf(detail, sizeof detail, "%" PRId64 " sessions, %" PRId64 " %% of what is supported",
             sessions, percent);
    alarm_raise(&exceeded, slice_of(detail));
}

static void capacity_look(struct timer *t, struct loop *loop)
{
    int64_t sessions = metric_read(&session_count);
    int64_t supported = setting_int(&users) * setting_int(&factor) / 100;
    int64_t percent = sessions * 100 / supported;
    int64_t next = setting_int(&after) / LOOKS;
    metric_add(&load, percent - watch.told);
    watch.told = percent;
    capacity_judge(loop_now_us(loop), percent, sessions);
    timer_set(loop, t, (uint64_t)(next < LOOK_MS ? next : LOOK_MS));
}

static void capacity_worker_start(struct worker *w)
{
    if (!duty_is_here(w, DUTY_CAPACITY))
        return;
    watch.timer.fn = capacity_look;
    timer_set(worker_loop(w), &watch.timer, 1000);
}

static void capacity_worker_stop(struct worker *w)
{
    if (duty_is_here(w, DUTY_CAPACITY))
        timer_cancel(&watch.timer);
}

const struct feature capacity_feature = {
    .name = "capacity",
    .settings = (struct setting *const[]){ &users, &factor, &threshold, &after, NULL },
    .metrics = (struct metric *const[]){ &load, NULL },
    .alarms = (struct alarm *const[]){ &exceeded, NULL },
    .worker.start = capacity_worker_start,
    .worker.stop = capacity_worker_stop,
};
