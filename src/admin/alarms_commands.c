/* alarms_commands: alarm list, show, history, acknowledge and set. */
#include "admin/alarms.h"
#include "admin/alarms_private.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/setting.h"
#include "home/duty.h"
#include "home/here.h"
#include "store/store.h"

enum {
    LIST_DEFAULT = 100,
    LIST_MAX = 10000,
    VALUE_BYTES = 300,
    HOLD_DOWN_MAX_MS = 24 * 3600 * 1000
};

static void add_alarm_stamp(struct command_call *call, const char *key, uint64_t at_us)
{
    char stamp[CLOCK_STAMP_LEN] = "";
    if (at_us > 0)
        clock_stamp(stamp, at_us);
    command_text(call, key, slice_of(stamp));
}

/* "capacity.alarm-percent = 80, capacity.alarm-after = 10min". */
static slice settings_of(struct command_call *call, const struct alarm *a)
{
    const char *text = "";
    slice one, rest = slice_of(a->settings != NULL ? a->settings : "");
    while (rest.len > 0) {
        char value[VALUE_BYTES];
        slice_cut(rest, ' ', &one, &rest);
        const struct setting *s = setting_find(one);
        if (s == NULL)
            continue;
        setting_format(s, value, sizeof value);
        text = arena_printf(call->arena, "%s%s%s = %s", text, *text != '\0' ? ", " : "", s->name,
                            value);
    }
    return slice_of(text);
}

static void add_state(struct command_call *call, struct alarm *a, const char *action)
{
    char detail[ALARM_DETAIL_BYTES], by[ALARM_BY_BYTES], note[ALARM_NOTE_BYTES];
    alarm_detail(a, detail, sizeof detail);
    alarm_known_by(a, by, sizeof by);
    alarm_note(a, note, sizeof note);
    command_text(call, "name", slice_of(a->name));
    command_text(call, "severity", slice_of(alarm_severity_name(a)));
    command_bool(call, "active", atomic_load(&a->active) != 0);
    add_alarm_stamp(call, "since", atomic_load(&a->since_us));
    command_text(call, "text", slice_of(a->text));
    command_text(call, "detail", slice_of(detail));
    command_text(call, "action", slice_of(action));
    command_int(call, "raised", (int64_t)atomic_load(&a->raised_count));
    add_alarm_stamp(call, "acknowledged", atomic_load(&a->known_us));
    command_text(call, "acknowledged_by", slice_of(by));
    command_text(call, "note", slice_of(note));
    command_text(call, "settings", settings_of(call, a));
}

static void run_alarm_list(struct command_call *call)
{
    bool all = command_flag(call, "all");
    for (struct alarm *a = alarm_first(); a != NULL; a = a->next) {
        if (!all && atomic_load(&a->active) == 0)
            continue;
        command_row(call);
        add_state(call, a, atomic_load(&a->active) != 0 ? a->action : "");
    }
    command_done(call, "%s", call->rows != NULL ? "" : "no alarm is active");
}

/* The alarm that the call names. NULL: there is none, and the call has failed. */
static struct alarm *alarm_named(struct command_call *call)
{
    slice name = command_arg(call, "alarm");
    struct alarm *a = alarm_find(name);
    if (a == NULL)
        command_fail(call, E_NOTFOUND,
                     "%.*s: no such alarm; `musterctl alarm list --all` lists them",
                     SLICE_ARG(name));
    return a;
}

/* As `alarm set` takes it. */
static slice hold_down_text(struct command_call *call, const struct alarm_rule *r)
{
    static const struct param duration = { .type = PARAM_MS };
    char text[VALUE_BYTES];
    return slice_dup(call->arena,
                     (slice){ text, param_format(&duration, r->hold_down_ms, text, sizeof text) });
}

static void run_alarm_show(struct command_call *call)
{
    struct alarm *a = alarm_named(call);
    if (a == NULL)
        return;
    struct alarm_rule rule = alarms_rule(a);
    command_row(call);
    add_state(call, a, a->action);
    command_text(call, "explanation", slice_of(a->explanation));
    command_text(call, "raised_when", slice_of(a->raised_when));
    command_text(call, "cleared_when", slice_of(a->cleared_when));
    command_text(call, "hold_down", hold_down_text(call, &rule));
    command_bool(call, "delivered", rule.delivered);
    command_text(call, "also", slice_of(a->also != NULL ? a->also : ""));
    command_int(call, "entry", alarms_entry(a));
    command_done(call, "%s", "");
}

/* As `alarm list` has it: hold-down is about what is told. */
static uint64_t alarm_entry_cleared_us(const struct store_batch *b, uint32_t row)
{
    const struct alarm *a = alarm_find(store_text(b, 0, row, 1));
    uint64_t cleared_us = (uint64_t)store_int(b, 0, row, 5);
    return cleared_us != 0 || a == NULL ? cleared_us
                                        : alarms_entry_cleared_us(a, store_int(b, 0, row, 0));
}

static void add_alarm_entry(struct command_call *call, const struct store_batch *b, uint32_t row)
{
    command_row(call);
    command_int(call, "id", store_int(b, 0, row, 0));
    command_text(call, "name", slice_dup(call->arena, store_text(b, 0, row, 1)));
    command_text(call, "severity", slice_dup(call->arena, store_text(b, 0, row, 2)));
    command_text(call, "detail", slice_dup(call->arena, store_text(b, 0, row, 3)));
    add_alarm_stamp(call, "raised", (uint64_t)store_int(b, 0, row, 4));
    add_alarm_stamp(call, "cleared", alarm_entry_cleared_us(b, row));
    add_alarm_stamp(call, "acknowledged", (uint64_t)store_int(b, 0, row, 6));
    command_text(call, "acknowledged_by", slice_dup(call->arena, store_text(b, 0, row, 7)));
    command_text(call, "note", slice_dup(call->arena, store_text(b, 0, row, 8)));
}

static uint32_t alarm_history_limit(const struct command_call *call)
{
    return (uint32_t)command_number(call, "limit", LIST_DEFAULT);
}

static void alarm_history_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), NULL);
        return;
    }
    uint32_t count = store_row_count(b, 0), limit = alarm_history_limit(call);
    for (uint32_t row = 0; row < count && row < limit; row++)
        add_alarm_entry(call, b, row);
    if (count > limit) {
        command_done_more_number(call, store_int(b, 0, limit - 1, 0));
        return;
    }
    /* It may be of an alarm that this version does not have any more. */
    if (call->rows != NULL || command_arg(call, "alarm").ptr == NULL || alarm_named(call) != NULL)
        command_done(call, "%s", call->rows != NULL ? "" : "no alarm was raised");
}

static void run_alarm_history(struct command_call *call)
{
    const struct worker *w = call->worker;
    slice name = command_arg(call, "alarm");
    struct store_batch *b = store_read(worker_store(w), hash_keyed(SLICE("alarms")));
    STORE_ADD(b, &alarms_history_stmt, STORE_ANY_ROWS, SV_T(name.ptr != NULL ? name : SLICE("")),
              SV_I(alarm_history_limit(call) + 1), SV_I(command_number(call, "after", INT64_MAX)));
    store_submit(b, worker_loop(w), 0, alarm_history_read, call);
}

static void run_acknowledge(struct command_call *call)
{
    struct alarm *a = alarm_named(call);
    slice note = command_arg(call, "note");
    if (note.ptr == NULL)
        note = SLICE("");
    uint64_t now_us = clock_wall_us();
    if (a == NULL)
        return;
    if (!alarm_acknowledge(a, call->who.actor, note, now_us)) {
        command_fail(call, E_CONFLICT, "%s is not active, so there is nothing to acknowledge",
                     a->name);
        return;
    }
    alarms_acknowledged(a, call->who.actor, note, now_us);
    command_done(call, "%s is acknowledged until it is cleared", a->name);
}

/* A change of a rule that is being stored. */
struct change {
    struct command_call *call;
    struct alarm *alarm;
    struct alarm_rule rule;
};

static slice alarm_rule_text(struct command_call *call, const struct alarm_rule *r)
{
    slice hold_down = hold_down_text(call, r);
    return slice_of(arena_printf(call->arena, "severity=%s hold_down=%.*s delivered=%s",
                                 r->severity < 0 ? "default" : alarm_severities[r->severity],
                                 SLICE_ARG(hold_down), r->delivered ? "on" : "off"));
}

static void rule_stored(void *arg, enum store_result result, const struct store_batch *b)
{
    struct change *c = arg;
    (void)b;
    if (result != STORE_OK) {
        command_fail_cause(c->call, err_of_store(result), NULL);
        return;
    }
    struct alarm_rule before = alarms_rule(c->alarm);
    alarms_rule_set(c->alarm, &c->rule);
    slice after = alarm_rule_text(c->call, &c->rule);
    command_changed(c->call, alarm_rule_text(c->call, &before), after);
    command_done(c->call, "%s: %.*s", c->alarm->name, SLICE_ARG(after));
}

static void run_alarm_set(struct command_call *call)
{
    struct alarm *a = alarm_named(call);
    const struct worker *w = call->worker;
    if (a == NULL)
        return;
    struct change *c = arena_new(call->arena, struct change, 1);
    *c = (struct change){ .call = call, .alarm = a, .rule = alarms_rule(a) };
    struct alarm_rule *r = &c->rule;
    if (command_flag(call, "default"))
        *r = (struct alarm_rule){ .severity = -1,
                                  .hold_down_ms = a->hold_down_ms,
                                  .delivered = true };
    r->severity = (int)command_number(call, "severity", r->severity);
    r->hold_down_ms = command_number(call, "hold_down", r->hold_down_ms);
    r->delivered = command_number(call, "delivered", r->delivered) != 0;
    struct store_batch *b = store_write(worker_store(w), hash_keyed(SLICE("alarms")));
    STORE_ADD(b, &alarms_rule_put_stmt, 1, SV_T(slice_of(a->name)), SV_I(r->severity),
              SV_I(r->hold_down_ms), SV_I(r->delivered));
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, rule_stored, c);
}

#define ALARM_ARG(KIND, DOC)                                                                       \
    {                                                                                              \
        .name = "alarm", .kind = (KIND), .min = 1, .max = 100, .refers = REFERS_ALARM,             \
        .doc = (DOC)                                                                               \
    }
#define STATE_COLUMNS                                                                              \
    { .name = "name", .doc = "its name" },                                                         \
        { .name = "severity", .doc = "warning, error or critical" },                               \
        { .name = "active", .moves = true, .type = PARAM_BOOL, .doc = "whether it is active" },    \
        { .name = "since", .moves = true, .type = PARAM_STAMP, .doc = "since when" },              \
        { .name = "text", .doc = "what is wrong" },                                                \
        { .name = "detail", .moves = true, .doc = "where" },                                       \
        { .name = "action", .doc = "what to do" },                                                 \
        { .name = "raised",                                                                        \
          .moves = true,                                                                           \
          .wide = true,                                                                            \
          .type = PARAM_INT,                                                                       \
          .doc = "how often it was raised" },                                                      \
        { .name = "acknowledged",                                                                  \
          .moves = true,                                                                           \
          .wide = true,                                                                            \
          .type = PARAM_STAMP,                                                                     \
          .doc = "when somebody acknowledged it" },                                                \
        { .name = "acknowledged_by", .moves = true, .doc = "who did" },                            \
        { .name = "note", .moves = true, .wide = true, .doc = "what they wrote" },                 \
    {                                                                                              \
        .name = "settings", .wide = true,                                                          \
        .doc = "the settings that it depends on, such as its thresholds; `musterctl set` changes " \
               "them"                                                                              \
    }

struct command alarm_list_command = {
    .name = "alarm list",
    .rest = "GET /alarms",
    .effect = COMMAND_READS,
    .area = "server",
    .args =
        (const struct command_arg[]){
            { .name = "all",
              .kind = ARG_FLAG,
              .type = PARAM_BOOL,
              .doc = "also alarms that are not active" },
            { 0 },
        },
    .run = run_alarm_list,
    .doc = "Lists the active alarms: what is wrong, and what to do about it.",
    .columns = (const struct command_column[]){ STATE_COLUMNS, { 0 } },
};
struct command alarm_show_command = {
    .name = "alarm show",
    .rest = "GET /alarms/{alarm}",
    .effect = COMMAND_READS,
    .area = "server",
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_ALARMS,
    .record = true,
    .args = (const struct command_arg[]){ ALARM_ARG(ARG_POSITIONAL, "the alarm"), { 0 } },
    .run = run_alarm_show,
    .doc = "Shows an alarm: why it matters, what to do, when it is raised and when cleared, and "
           "which settings are its thresholds.",
    .columns =
        (const struct command_column[]){
            STATE_COLUMNS,
            { .name = "explanation", .doc = "why it matters" },
            { .name = "raised_when", .doc = "when it is raised" },
            { .name = "cleared_when", .doc = "when it is cleared" },
            { .name = "hold_down", .doc = "told of only when it is active, or away, for so long" },
            { .name = "delivered",
              .type = PARAM_BOOL,
              .doc = "whether mails and other targets tell of it" },
            { .name = "also", .doc = "its names in other products" },
            { .name = "entry",
              .moves = true,
              .type = PARAM_INT,
              .doc = "number of its entry in the history; 0: it has none that is open" },
            { 0 } },
};
struct command alarm_history_command = {
    .name = "alarm history",
    .rest = "GET /alarms/history",
    .effect = COMMAND_READS,
    .area = "server",
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_ALARMS,
    .args =
        (const struct command_arg[]){ ALARM_ARG(ARG_OPTIONAL, "only this alarm"),
                                      { .name = "after",
                                        .kind = ARG_OPTION,
                                        .type = PARAM_INT,
                                        .min = 1,
                                        .max = PARAM_NONE,
                                        .doc = "go on behind the entry of this number, with "
                                               "older ones" },
                                      COMMAND_LIMIT_ARG(LIST_MAX, "at most this number of entries"),
                                      { 0 } },
    .run = run_alarm_history,
    .doc =
        "Lists when alarms were raised and cleared. The newest are first, and those before the "
        "last "
        "restart are there, too. alarm.history-keep and alarm.history-max say how long they stay.",
    .columns =
        (const struct command_column[]){
            { .name = "id", .type = PARAM_INT, .doc = "number of the entry" },
            { .name = "name", .doc = "the alarm" },
            { .name = "severity", .doc = "its severity, the last one" },
            { .name = "detail", .doc = "where" },
            { .name = "raised", .type = PARAM_STAMP, .exact = true, .doc = "when it was raised" },
            { .name = "cleared",
              .type = PARAM_STAMP,
              .exact = true,
              .doc = "when it was cleared; empty: not yet" },
            { .name = "acknowledged",
              .type = PARAM_STAMP,
              .exact = true,
              .doc = "when somebody acknowledged it; empty: nobody did" },
            { .name = "acknowledged_by", .doc = "who did" },
            { .name = "note", .wide = true, .doc = "what they wrote" },
            { 0 } },
};
struct command alarm_acknowledge_command = {
    .name = "alarm acknowledge",
    .rest = "PUT /alarms/{alarm}/acknowledged",
    .effect = COMMAND_CHANGES,
    .area = "server",
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_ALARMS,
    .args = (const struct command_arg[]){ ALARM_ARG(ARG_POSITIONAL, "the alarm"),
                                          { .name = "note",
                                            .kind = ARG_OPTION,
                                            .max = ALARM_NOTE_BYTES - 1,
                                            .doc = "what is being done about it" },
                                          { 0 } },
    .run = run_acknowledge,
    .doc = "Says that you know of an active alarm. Others see who and when, until it is cleared.",
};
struct command alarm_set_command = {
    .name = "alarm set",
    .rest = "PATCH /alarms/{alarm}",
    .effect = COMMAND_CHANGES,
    .area = "server",
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_ALARMS,
    .args =
        (const struct command_arg[]){
            ALARM_ARG(ARG_POSITIONAL, "the alarm"),
            { .name = "severity",
              .kind = ARG_OPTION,
              .type = PARAM_CHOICE,
              .choices = alarm_severities,
              .doc = "in place of the severity that it has by itself" },
            { .name = "hold_down",
              .kind = ARG_OPTION,
              .type = PARAM_MS,
              .max = HOLD_DOWN_MAX_MS,
              .doc = "tell of it only when it is active, or away, for so long" },
            { .name = "delivered",
              .kind = ARG_OPTION,
              .type = PARAM_BOOL,
              .max = 1,
              .doc = "whether mails and other targets tell of it" },
            { .name = "default",
              .kind = ARG_FLAG,
              .type = PARAM_BOOL,
              .doc = "first, everything as it was at the beginning" },
            { 0 } },
    .run = run_alarm_set,
    .doc = "Changes how an alarm is told of. Its thresholds are settings: see `alarm show`.",
};
