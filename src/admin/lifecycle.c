#include "admin/lifecycle.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/units.h"
#include "core/command_form.h"
#include "home/duty.h"
#include "home/here.h"
#include "io/timer.h"
#include "ops/announce.h"
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum { DELAY_MS_MAX = 24 * 3600 * 1000, ANSWER_MS = 200 };

static struct log_area log_lifecycle = { .name = "lifecycle" };
static _Atomic enum lifecycle_end end_wanted; /* set when the delay has passed */
static struct timer end_timer;                /* at the home of the duty */
static bool end_restarts, end_is_now;         /* end_is_now: nothing changes that any more */
static _Atomic uint64_t end_due; /* wall time of the end in us, doubled, + 1: a restart; 0: none */

void lifecycle_scheduled(char out[LIFECYCLE_TEXT_MAX])
{
    uint64_t due = atomic_load(&end_due);
    char stamp[CLOCK_STAMP_LEN];
    if (due == 0) {
        snprintf(out, LIFECYCLE_TEXT_MAX, "no");
        return;
    }
    clock_stamp(stamp, due / 2);
    snprintf(out, LIFECYCLE_TEXT_MAX, "%s at %s", due % 2 != 0 ? "restart" : "stop", stamp);
}

enum lifecycle_end lifecycle_end(void) { return atomic_load(&end_wanted); }

static void end_now(struct timer *t, struct loop *loop)
{
    (void)t;
    (void)loop;
    end_is_now = true;
    atomic_store(&end_wanted, end_restarts ? LIFECYCLE_RESTARTS : LIFECYCLE_STOPS);
    kill(getpid(), LIFECYCLE_SIGNAL);
}

/* The request; lives in the arena of its call. */
struct wish {
    struct command_call *call;
    int64_t delay_s;
    bool restart;
};

/* Whoever asked for an end at once was told that it comes. */
static bool end_is_refused(struct command_call *call, bool same)
{
    if (!end_is_now || same)
        return false;
    command_fail(call, E_CONFLICT, "the server %s now", end_restarts ? "restarts" : "stops");
    return true;
}

static void schedule(struct worker *w, void *arg)
{
    struct wish *wish = arg;
    const char *what = wish->restart ? "restarts" : "stops";
    bool same = wish->delay_s == 0 && wish->restart == end_restarts;
    if (end_is_refused(wish->call, same))
        return;
    end_is_now = wish->delay_s == 0;
    end_timer.fn = end_now;
    end_restarts = wish->restart;
    /* the reply is sent before the server begins to end */
    uint64_t ms = ANSWER_MS + (uint64_t)wish->delay_s * 1000;
    timer_set(worker_loop(w), &end_timer, ms);
    atomic_store(&end_due,
                 (loop_wall_us(worker_loop(w)) + ms * 1000) * 2 + (wish->restart ? 1 : 0));
    log_info(&log_lifecycle, LOG_EV("server.end-scheduled"), LOG_C("what", what),
             LOG_I("delay_s", wish->delay_s), LOG_S("actor", wish->call->who.actor));
    if (wish->delay_s == 0)
        command_done(wish->call, "the server %s now", what);
    else
        command_done(wish->call, "the server %s in %lld s", what, (long long)wish->delay_s);
}

static void end_with(struct command_call *call, const struct wish *given)
{
    slice text = command_arg(call, "text");
    struct wish *wish = arena_new(call->arena, struct wish, 1);
    *wish = *given;
    wish->delay_s = command_number(call, "delay", 0) / 1000;
    if (text.len == 0)
        schedule(call->worker, wish);
    else
        announce_online(call->worker, announce_content(call->arena, (slice){ "", 0 }, text),
                        schedule, wish);
}

static void run_stop(struct command_call *call) { end_with(call, &(struct wish){ .call = call }); }

static void run_restart(struct command_call *call)
{
    end_with(call, &(struct wish){ .call = call, .restart = true });
}

static void run_cancel(struct command_call *call)
{
    if (end_is_refused(call, false))
        return;
    if (!timer_is_set(&end_timer)) {
        command_fail(call, E_NOTFOUND, "nothing is scheduled");
        return;
    }
    timer_cancel(&end_timer);
    atomic_store(&end_due, 0);
    command_done(call, "the server goes on");
}

static void lifecycle_worker_stop(struct worker *w)
{
    if (duty_is_here(w, DUTY_LIFECYCLE))
        timer_cancel(&end_timer);
}

static const struct command_arg end_args[] = {
    { .name = "delay",
      .kind = ARG_OPTION,
      .type = PARAM_MS,
      .max = DELAY_MS_MAX,
      .doc = "time until then, as 90s or 5min; the default is at once" },
    { .name = "text",
      .kind = ARG_OPTION,
      .max = ANNOUNCE_BYTES_MAX,
      .doc = "message to all users who are online" },
    { 0 },
};
static struct command stop_command = {
    .name = "server stop",
    .effect = COMMAND_CHANGES,
    .area = "server",
    .asks = "Nobody can use the service until it is started again.",
    .args = end_args,
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_LIFECYCLE,
    .run = run_stop,
    .doc = "Stops the server. Sessions that can be resumed are kept.",
};
static struct command restart_command = {
    .name = "server restart",
    .effect = COMMAND_CHANGES,
    .area = "server",
    .args = end_args,
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_LIFECYCLE,
    .run = run_restart,
    .doc = "Restarts the server. The installed program starts with the current node file, in the "
           "same process. Clients resume their sessions.",
};
static struct command cancel_command = {
    .name = "server continue",
    .effect = COMMAND_CHANGES,
    .area = "server",
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_LIFECYCLE,
    .run = run_cancel,
    .doc = "Cancels a scheduled `server stop` or `server restart`.",
};

/* Their forms (XEP-0133 §4.30, §4.31). */
static const struct form_option delays[] = {
    { "30", "30 seconds" }, { "60", "60 seconds" }, { "90", "90 seconds" }, { "120", "2 minutes" },
    { "180", "3 minutes" }, { "240", "4 minutes" }, { "300", "5 minutes" }, { 0 },
};
static const struct command_ask stop[] = {
    { .row = { .var = "delay",
               .type = FORM_LIST_SINGLE,
               .label = "How long to wait",
               .options = delays },
      .use = USE_VALUE,
      .arg = "delay" },
    COMMAND_ASK("announcement", FORM_TEXT_MULTI, "Announcement", .use = USE_LINES, .arg = "text"),
    COMMAND_ASK_END,
};
static const struct command_form forms[] = {
    { ADMIN_NODE("restart"), .title = "Restarting the Service",
      .instructions = "Clients come back by themselves.", .command = "server restart",
      .fields = stop },
    { ADMIN_NODE("shutdown"), .title = "Shutting Down the Service",
      .instructions = "Nobody can start it again from here.", .command = "server stop",
      .fields = stop },
    { 0 },
};

const struct feature lifecycle_feature = {
    .name = "lifecycle",
    .commands = (struct command *const[]){ &stop_command, &restart_command, &cancel_command, NULL },
    .command_forms = forms,
    .logs = (struct log_area *const[]){ &log_lifecycle, NULL },
    .worker.stop = lifecycle_worker_stop,
};
