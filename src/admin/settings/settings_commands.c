/* settings_commands: set, get, config show and config reset. */
#include "admin/settings/settings_commands.h"
#include "admin/settings/settings_change.h"
#include "admin/settings/settings_history.h"
#include "admin/settings/settings_impact.h"
#include "admin/settings/settings_private.h"
#include "admin/settings/settings_restart.h"
#include "admin/settings/settings_shown.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "home/command_run.h"
#include "home/duty.h"
#include "home/here.h"

/* Numbers in their shortest form, so that the history shows only what differs. */
static slice shortest(const struct setting *s, slice value, struct arena *arena)
{
    int64_t number;
    struct why why;
    char text[SETTING_BYTES_MAX];
    if (value.ptr == NULL || setting_is_text(s) ||
        param_check(&s->param, value, &number, &why) != OK)
        return value;
    size_t len = param_format(&s->param, number, text, sizeof text);
    return slice_dup(arena, (slice){ text, len });
}

static void admin_settings_set_done(struct settings_turn *t)
{
    const struct setting *s = t->arg;
    char value[SETTING_BYTES_MAX];
    setting_format(s, value, sizeof value);
    if (settings_is_locked(s)) /* a reload has locked it in the meantime */
        command_fail(t->call, E_CONFLICT, "%s: now fixed by the node file", s->name);
    else if (settings_restart_waits(s))
        command_done(t->call, "%s is %s after a restart of: %s", s->name, value, s->restart);
    else
        command_done(
            t->call, "%.*s",
            SLICE_ARG(settings_words(t, "%s is %s", s->name, *value != '\0' ? value : "empty")));
    settings_turn_over(t);
}

static struct settings_turn *new_turn(struct command_call *call, size_t count)
{
    struct settings_turn *t = arena_new(call->arena, struct settings_turn, 1);
    slice comment = command_arg(call, "comment");
    *t = (struct settings_turn){ .call = call,
                                 .arena = call->arena,
                                 .begin = settings_change,
                                 .item = arena_new(call->arena, struct settings_item, count),
                                 .comment = comment.ptr != NULL ? comment : SLICE("") };
    return t;
}

static void refuse_before_turn(struct settings_turn *t, const char *text)
{
    command_fail(t->call, E_CONFLICT, "%s", text);
}

/* Its turn, unless an item would delete something and the call has no --accept: then it fails. */
static void turn_if_accepted(struct settings_turn *t)
{
    settings_accept(t, settings_turn_take, refuse_before_turn);
}

static void admin_settings_run_set(struct command_call *call)
{
    struct setting *s = settings_named(call);
    slice value = command_arg(call, "value");
    if (s == NULL)
        return;
    if ((value.ptr == NULL) != command_flag(call, "default")) {
        command_fail(call, E_SYNTAX, "%s: give either a value or --default", s->name);
        return;
    }
    struct settings_turn *t = new_turn(call, 1);
    t->kind = SETTINGS_SET;
    t->done = admin_settings_set_done;
    t->arg = s;
    t->item[t->count++] =
        (struct settings_item){ .setting = s, .value = shortest(s, value, call->arena) };
    turn_if_accepted(t);
}

/* The answer of a reset, with the counts before it. */
struct reset {
    int changed, locked;
};

static void reset_done(struct settings_turn *t)
{
    const struct reset *r = t->arg;
    command_done(t->call, "%.*s",
                 SLICE_ARG(settings_words(t,
                                          "settings that have their defaults: %d; fixed by the "
                                          "node file: %d",
                                          r->changed, r->locked)));
    settings_turn_over(t);
}

/* It has this name, or one that begins with it and a dot. */
static bool is_below(const struct setting *s, slice prefix)
{
    slice name = slice_of(s->name);
    return slice_starts(name, prefix) && (name.len == prefix.len || name.ptr[prefix.len] == '.');
}

static void admin_settings_run_reset(struct command_call *call)
{
    slice prefix = command_setting_name(command_arg(call, "prefix"), call->arena);
    size_t count = 0;
    for (const struct setting *s = setting_first(); s != NULL; s = s->next)
        count += is_below(s, prefix);
    if (count == 0) {
        command_fail(call, E_NOTFOUND,
                     "%.*s: no setting begins like that; `config show` lists them",
                     SLICE_ARG(prefix));
        return;
    }
    struct setting *alone = setting_find(prefix);
    if (count == 1 && alone != NULL && settings_is_locked(alone)) {
        command_fail(call, E_DENIED, "%s: fixed by the node file; change it there and reload",
                     alone->name);
        return;
    }
    struct settings_turn *t = new_turn(call, count);
    struct reset *r = arena_new(call->arena, struct reset, 1);
    *r = (struct reset){ 0 };
    for (struct setting *s = setting_first(); s != NULL; s = s->next) {
        bool locked = is_below(s, prefix) && settings_is_locked(s);
        r->locked += locked;
        if (locked || !is_below(s, prefix) ||
            (setting_is_open(s) && settings_stored_find(s) == NULL))
            continue;
        t->item[t->count++] = (struct settings_item){ .setting = s };
        r->changed++;
    }
    t->kind = SETTINGS_RESET;
    t->done = reset_done;
    t->arg = r;
    turn_if_accepted(t);
}

/* The value that applies without one of its own. */
static void default_text(const struct setting *s, char *out, size_t cap)
{
    if (s->general != NULL) {
        setting_format(s->general, out, cap);
        return;
    }
    struct setting row = { .param = s->param, .value = s->def, .text = s->def_text };
    setting_format(&row, out, cap);
}

static const char *source(const struct setting *s)
{
    if (setting_is_open(s))
        s = s->general;
    return s->locked ? "node file" : settings_stored_find(s) != NULL ? "database" : "default";
}

/* Adds who changed it last, if the history knows. */
static void add_last(struct command_call *call, const struct setting *s)
{
    const struct settings_touch *last = settings_last(s);
    if (last == NULL)
        return;
    command_text(call, "changed_by", slice_of(settings_who(slice_of(last->actor), call->arena)));
    settings_stamp(call, "changed_at", last->at_us);
}

static void admin_settings_add_setting(struct command_call *call, const struct setting *s)
{
    char value[SETTING_BYTES_MAX], def[SETTING_BYTES_MAX];
    setting_format(s, value, sizeof value);
    default_text(s, def, sizeof def);
    command_row(call);
    command_text(call, "name", slice_of(s->name));
    command_text(call, "type", slice_of(param_type_name(s->type)));
    command_text(call, "value", slice_of(value));
    command_text(call, "default_value", slice_of(def));
    if (s->unit != NULL)
        command_text(call, "unit", slice_of(s->unit));
    command_text(call, "source", slice_of(source(s)));
    command_bool(call, "locked", settings_is_locked(s));
    command_bool(call, "changed", strcmp(value, def) != 0);
    add_last(call, s);
}

static void run_get(struct command_call *call)
{
    char range[SETTING_BYTES_MAX];
    const struct setting *s = settings_named(call);
    if (s == NULL)
        return;
    admin_settings_add_setting(call, s);
    setting_range(s, range, sizeof range);
    command_text(call, "allowed", slice_of(range));
    command_text(call, "scope", slice_of(setting_scope_name(s)));
    command_text(call, "restart", slice_of(s->restart != NULL ? s->restart : "no"));
    command_text(call, "doc", slice_of(s->doc));
    command_done(call, "%s", "");
}

static void admin_settings_run_show(struct command_call *call)
{
    bool only_changed = command_flag(call, "changed"), found = false;
    slice prefix = command_setting_name(command_arg(call, "prefix"), call->arena);
    for (const struct setting *s = setting_first(); s != NULL; s = s->next) {
        if (!slice_starts(slice_of(s->name), prefix) || setting_is_open(s))
            continue;
        found = true;
        if (!only_changed || s->locked || settings_stored_find(s) != NULL)
            admin_settings_add_setting(call, s);
    }
    if (!found)
        settings_fail_unknown(call, prefix);
    else
        command_done(call, "%s", call->rows != NULL ? "" : "all of them have their defaults");
}

/* What a setting is now. `all`: of all settings, where some columns are too much for a table. */
#define VALUE_COLUMNS(all)                                                                         \
    { .name = "value", .doc = "its value" }, { .name = "default_value", .doc = "its default" },    \
        { .name = "unit",                                                                          \
          .optional = true,                                                                        \
          .wide = (all),                                                                           \
          .doc = "what a number counts, such as requests a second" },                              \
        { .name = "source", .doc = "where the value comes from: node file, database or default" }, \
        { .name = "locked",                                                                        \
          .wide = (all),                                                                           \
          .type = PARAM_BOOL,                                                                      \
          .doc = "whether the node file fixes it" },                                               \
        { .name = "changed",                                                                       \
          .wide = (all),                                                                           \
          .type = PARAM_BOOL,                                                                      \
          .doc = "whether it is not the default" },                                                \
        { .name = "changed_by",                                                                    \
          .optional = true,                                                                        \
          .wide = (all),                                                                           \
          .doc = "who changed it last, if the history has it" },                                   \
    {                                                                                              \
        .name = "changed_at", .optional = true, .wide = (all), .type = PARAM_STAMP,                \
        .doc = "and when"                                                                          \
    }

struct command settings_set_command = {
    .name = "set",
    .rest = "PUT /settings/{setting}",
    .effect = COMMAND_CHANGES,
    .area = "settings",
    .args =
        (const struct command_arg[]){
            SETTINGS_NAME_ARG,
            SETTINGS_VALUE_ARGS,
            SETTINGS_ACCEPT_ARG,
            SETTINGS_COMMENT_ARG,
            { 0 },
        },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_SETTINGS,
    .run = admin_settings_run_set,
    .doc =
        "Changes a setting and stores it in the database. It applies at once, unless `get` says "
        "that a restart is needed. Settings with the scope domain can have another value for "
        "the users of one domain: `set register.enabled@example.org off`. A lower limit that would "
        "delete something that is stored needs --accept.",
};
struct command settings_get_command = {
    .name = "get",
    .rest = "GET /settings/{setting}",
    .effect = COMMAND_READS,
    .area = "settings",
    .args =
        (const struct command_arg[]){
            SETTINGS_NAME_ARG,
            { 0 },
        },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_SETTINGS,
    .run = run_get,
    .doc = "Shows a setting: its value, description and allowed values.",
    .record = true,
    .columns =
        (const struct command_column[]){
            { .name = "name", .doc = "its name" },
            { .name = "type", .doc = "what its values are" },
            VALUE_COLUMNS(false),
            { .name = "allowed", .doc = "what is allowed" },
            { .name = "scope", .doc = "how far it reaches: cluster, node or domain" },
            { .name = "restart", .doc = "what must be restarted after a change, or no" },
            { .name = "doc", .doc = "what it does" },
            { 0 } },
};
struct command settings_show_command = {
    .name = "config show",
    .rest = "GET /settings",
    .effect = COMMAND_READS,
    .area = "settings",
    .args =
        (const struct command_arg[]){
            { .name = "prefix",
              .kind = ARG_OPTIONAL,
              .doc = "first part of their names: muc, c2s.tls, ..." },
            { .name = "changed",
              .kind = ARG_FLAG,
              .type = PARAM_BOOL,
              .doc = "only settings in the node file or the database" },
            { 0 },
        },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_SETTINGS,
    .run = admin_settings_run_show,
    .doc = "Lists settings, their values, and where these come from: all, or those that begin with "
           "PREFIX.",
    .columns =
        (const struct command_column[]){
            { .name = "name", .doc = "its name" },
            { .name = "type", .wide = true, .doc = "what its values are" },
            VALUE_COLUMNS(true),
            { 0 } },
};
struct command settings_reset_command = {
    .name = "config reset",
    .effect = COMMAND_CHANGES,
    .area = "settings",
    .asks = "These settings lose the values that were set.",
    .args =
        (const struct command_arg[]){
            { .name = "prefix",
              .kind = ARG_POSITIONAL,
              .doc = "name of one, or the first part of their names: muc, c2s, ..." },
            SETTINGS_ACCEPT_ARG,
            SETTINGS_COMMENT_ARG,
            { 0 },
        },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_SETTINGS,
    .run = admin_settings_run_reset,
    .doc = "Sets settings back to their defaults: one, or all that begin with PREFIX, at once, "
           "except those in the node file. After `config reset muc`, existing rooms keep their "
           "configuration. What would delete something that is stored needs --accept. If one of "
           "them is "
           "not for the client of an administrator, that client resets none.",
};
