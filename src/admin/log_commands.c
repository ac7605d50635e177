#include "admin/status.h"
#include "base/command.h"
#include "base/log_sample.h"
#include "base/setting.h"
#include "base/similar.h"
#include "core/feature.h"
#include "home/here.h"
#include "io/timer.h"

static const char *const level_names[] = { "error", "warn", "info", "debug", "trace", NULL };

static void run_level(struct command_call *call)
{
    slice name = command_arg(call, "level");
    command_changed(call, slice_of(level_names[log_default()]), name);
    log_set_default((enum log_level)command_number(call, "level", LOG_INFO));
    command_done(call,
                 "log level is %.*s until a restart, or until log.level in the node file changes",
                 SLICE_ARG(name));
}

/* Areas whose lines are never written are for their own commands (`trace texts`). */
static struct log_area *log_written_find(slice name)
{
    struct log_area *found = log_find(name);
    return found != NULL && !found->unwritten ? found : NULL;
}

static struct log_area *log_written_next(struct log_area *area)
{
    while (area != NULL && area->unwritten)
        area = area->next;
    return area;
}

static void run_trace(struct command_call *call)
{
    slice name = command_arg(call, "area");
    bool on = command_flag(call, "state");
    bool all = slice_is(name, "all");
    struct log_area *found = log_written_find(name);
    if (found == NULL && !all) {
        struct similar similar;
        similar_init(&similar, name);
        for (const struct log_area *area = log_written_next(log_first()); area != NULL;
             area = log_written_next(area->next))
            similar_try(&similar, slice_of(area->name));
        command_fail(call, E_NOTFOUND, "%.*s: no such area; `log areas` lists them%s",
                     SLICE_ARG(name), similar_text(&similar).text);
        return;
    }
    for (struct log_area *area = log_written_next(log_first()); area != NULL;
         area = log_written_next(area->next)) {
        if (all || area == found)
            log_set_level(area, on ? LOG_TRACE : log_default());
    }
    command_done(call, "trace of %.*s is %s", SLICE_ARG(name), on ? "on" : "off");
}

static void run_areas(struct command_call *call)
{
    for (const struct log_area *area = log_written_next(log_first()); area != NULL;
         area = log_written_next(area->next)) {
        command_row(call);
        command_text(call, "area", slice_of(area->name));
        command_text(call, "level", slice_of(level_names[atomic_load(&area->level)]));
    }
    command_done(call, "%s", "");
}

static struct command level_command = {
    .name = "log level",
    .rest = "PUT /log/level",
    .effect = COMMAND_CHANGES,
    .area = "log",
    .args =
        (const struct command_arg[]){
            { .name = "level",
              .kind = ARG_POSITIONAL,
              .type = PARAM_CHOICE,
              .choices = level_names,
              .doc = "the least important level that is logged" },
            { 0 },
        },
    .run = run_level,
    .doc = "Sets the level of the log. It lasts until a restart, or until a reload finds another "
           "`log.level` in the node file.",
};
static struct command trace_command = {
    .name = "log trace",
    .rest = "PUT /log/areas/{area}",
    .effect = COMMAND_CHANGES,
    .area = "log",
    .args =
        (const struct command_arg[]){
            { .name = "area",
              .kind = ARG_POSITIONAL,
              .refers = REFERS_LOG_AREA,
              .doc = "an area from the list of log areas, or all" },
            { .name = "state", .kind = ARG_POSITIONAL, .type = PARAM_BOOL, .doc = "on or off" },
            { 0 },
        },
    .run = run_trace,
    .doc = "Starts or stops detailed logging of one area: `c2s` logs each stanza of clients, "
           "`message` the way of each message, `subscription` changes of subscriptions, `muc` the "
           "messages of rooms. The text of messages is never logged.",
};
static struct command areas_command = {
    .name = "log areas",
    .rest = "GET /log/areas",
    .effect = COMMAND_READS,
    .area = "log",
    .run = run_areas,
    .doc = "Lists the parts of the server whose log can be traced.",
    .columns =
        (const struct command_column[]){
            { .name = "area", .doc = "name of the part" },
            { .name = "level", .doc = "the least important level that is logged" },
            { 0 } },
};

/* The log is of the process: one worker of a node tells, and of a second node in the same process
 * one more, which does no harm. */
enum { TELL_MS = 5000 };
static _Thread_local struct timer tell_timer;

static void tell_due(struct timer *t, struct loop *loop)
{
    log_tell();
    timer_set(loop, t, TELL_MS);
}

static void log_worker_start(struct worker *w)
{
    tell_timer.fn = tell_due;
    if (worker_index(w) == 0)
        timer_set(worker_loop(w), &tell_timer, TELL_MS);
}

static void log_worker_stop(struct worker *w)
{
    (void)w;
    timer_cancel(&tell_timer);
}

const struct feature log_feature = {
    .name = "log",
    .settings = (struct setting *const[]){ &log_repeats, NULL },
    .metrics = (struct metric *const[]){ &log_lines_held, NULL },
    .commands = (struct command *const[]){ &level_command, &trace_command, &areas_command, NULL },
    .worker.start = log_worker_start,
    .worker.stop = log_worker_stop,
};
