#include "admin/settings/settings_history_read.h"
#include "admin/settings/settings_history.h"
#include "admin/settings/settings_private.h"
#include "admin/settings/settings_shown.h"
#include "admin/settings/settings_statements.h"
#include "home/duty.h"
#include "home/here.h"

enum { LISTED_DEFAULT = 50, LISTED_MAX = 1000 };

static void read_for(struct command_call *call, struct store_batch *b, store_done_fn *done)
{
    store_submit(b, worker_loop(call->worker), 0, done, call);
}

static bool read_failed(struct command_call *call, enum store_result result)
{
    if (result != STORE_OK)
        command_fail_cause(call, err_of_store(result), "the history cannot be read");
    return result != STORE_OK;
}

static void add_version(struct command_call *call, const struct store_batch *b, uint32_t i)
{
    slice actor = store_text(b, 0, i, 2);
    command_row(call);
    command_int(call, "version", store_int(b, 0, i, 0));
    settings_stamp(call, "time", store_int(b, 0, i, 1));
    command_text(call, "who", slice_of(settings_who(actor, call->arena)));
    command_text(call, "from", slice_of(settings_from(actor, call->arena)));
    command_text(call, "by", slice_dup(call->arena, store_text(b, 0, i, 3)));
    command_int(call, "settings", store_int(b, 0, i, 7));
    command_text(call, "state", slice_dup(call->arena, store_text(b, 0, i, 5)));
    command_text(call, "comment", slice_dup(call->arena, store_text(b, 0, i, 4)));
    if (slice_is(store_text(b, 0, i, 5), "waits"))
        settings_stamp(call, "until", store_int(b, 0, i, 6));
}

static uint32_t history_limit(const struct command_call *call)
{
    return (uint32_t)command_number(call, "limit", LISTED_DEFAULT);
}

static void versions_listed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (read_failed(call, result))
        return;
    uint32_t count = store_row_count(b, 0), limit = history_limit(call);
    for (uint32_t i = 0; i < count && i < limit; i++)
        add_version(call, b, i);
    if (count > limit)
        command_done_more_number(call, store_int(b, 0, limit - 1, 0));
    else
        command_done(call, "%s", "");
}

static void history_run(struct command_call *call)
{
    slice name = command_arg(call, "setting");
    if (name.ptr != NULL && settings_named(call) == NULL)
        return;
    struct store_batch *b = store_read(worker_store(call->worker), 0);
    STORE_ADD(b, &settings_listed, STORE_ANY_ROWS, SV_I(command_number(call, "after", INT64_MAX)),
              SV_T(name.ptr != NULL ? name : SLICE("")), SV_I(history_limit(call) + 1));
    read_for(call, b, versions_listed);
}

static void add_difference(struct command_call *call, const struct store_batch *b, unsigned stmt,
                           uint32_t i)
{
    slice name = store_text(b, stmt, i, 0), was = store_text(b, stmt, i, 1),
          now = store_text(b, stmt, i, 2);
    const struct setting *s = setting_find(name);
    if (!settings_history_differs(b, stmt, i))
        return;
    command_row(call);
    command_text(call, "setting", slice_dup(call->arena, name));
    command_text(call, "before", settings_show(s, was, call->arena));
    command_text(call, "after", settings_show(s, now, call->arena));
}

static void version_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (read_failed(call, result))
        return;
    if (store_row_count(b, 0) == 0) {
        command_fail(call, E_NOTFOUND, "no such version; `config history` lists them");
        return;
    }
    slice actor = store_text(b, 0, 0, 2), comment = store_text(b, 0, 0, 4);
    for (uint32_t i = 0; i < store_row_count(b, 1); i++)
        add_difference(call, b, 1, i);
    command_done(call, "%s, %s, by %s from %s%s%.*s",
                 settings_stamp_text(store_int(b, 0, 0, 1), call->arena),
                 slice_cstr(call->arena, store_text(b, 0, 0, 5)), settings_who(actor, call->arena),
                 settings_from(actor, call->arena), comment.len > 0 ? ": " : "",
                 SLICE_ARG(comment));
}

static void run_version(struct command_call *call)
{
    struct store_batch *b = store_read(worker_store(call->worker), 0);
    int64_t version = command_number(call, "version", 0);
    STORE_ADD(b, &settings_version_read, STORE_ANY_ROWS, SV_I(version));
    STORE_ADD(b, &settings_version_items, STORE_ANY_ROWS, SV_I(version));
    read_for(call, b, version_read);
}

static void compare_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    const char *gone;
    if (read_failed(call, result))
        return;
    if (!settings_history_reaches(b, call->arena, &gone)) {
        command_fail(call, E_NOTFOUND, "%s", gone);
        return;
    }
    for (uint32_t i = 0; i < store_row_count(b, 0); i++)
        add_difference(call, b, 0, i);
    command_done(call, "%s", call->rows != NULL ? "" : "they are the same");
}

static void run_compare(struct command_call *call)
{
    int64_t newest = settings_history_newest();
    int64_t from = command_number(call, "from", 0), to = command_number(call, "to", newest);
    if (from > to || to > newest) {
        command_fail(call, E_NOTFOUND,
                     "found %lld to %lld; the last version is %lld, and the older one is first",
                     (long long)from, (long long)to, (long long)newest);
        return;
    }
    read_for(call, settings_history_since(from, to), compare_read);
}

static const struct command_column difference_columns[] = {
    { .name = "setting", .doc = "its name" },
    { .name = "before",
      .doc = "its value before, as it is stored; of a secret only that it is set" },
    { .name = "after", .doc = "its value after" },
    { 0 }
};
struct command settings_history_command = {
    .name = "config history",
    .rest = "GET /settings/history",
    .effect = COMMAND_READS,
    .area = "settings",
    .args = (const struct command_arg[]){ { .name = "setting",
                                            .kind = ARG_OPTIONAL,
                                            .refers = REFERS_SETTING,
                                            .doc = "only changes of this setting" },
                                          { .name = "after",
                                            .kind = ARG_OPTION,
                                            .type = PARAM_INT,
                                            .min = 1,
                                            .max = PARAM_NONE,
                                            .doc = "begin after this version: those before it" },
                                          { .name = "limit",
                                            .kind = ARG_OPTION,
                                            .type = PARAM_INT,
                                            .def = LISTED_DEFAULT,
                                            .min = 1,
                                            .max = LISTED_MAX,
                                            .doc = "how many at most" },
                                          { 0 } },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_SETTINGS,
    .run = history_run,
    .doc = "Lists changes of settings, newest first: each is a version of the configuration. "
           "What the node file fixes is not among them.",
    .columns =
        (const struct command_column[]){
            { .name = "version", .type = PARAM_INT, .doc = "its number" },
            { .name = "time", .type = PARAM_STAMP, .doc = "when it was applied" },
            { .name = "who", .doc = "who did it" },
            { .name = "from",
              .doc = "from where: control for musterctl, xmpp/RESOURCE for a client" },
            { .name = "by",
              .doc =
                  "how: set, reset, apply or rollback; by the server: unconfirmed, or deletion of "
                  "an account" },
            { .name = "settings", .type = PARAM_INT, .doc = "how many settings it changed" },
            { .name = "state", .doc = "applied, waits, confirmed or rolled back" },
            { .name = "comment", .doc = "what its author says" },
            { .name = "until",
              .type = PARAM_STAMP,
              .wide = true,
              .optional = true,
              .doc = "when one that waits is rolled back, unless it is confirmed" },
            { 0 } },
};
struct command settings_version_command = {
    .name = "config version",
    .rest = "GET /settings/history/{version}",
    .effect = COMMAND_READS,
    .area = "settings",
    .args = (const struct command_arg[]){ { .name = "version",
                                            .kind = ARG_POSITIONAL,
                                            .type = PARAM_INT,
                                            .min = 1,
                                            .max = PARAM_NONE,
                                            .doc = "its number in the history" },
                                          { 0 } },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_SETTINGS,
    .run = run_version,
    .doc = "Shows what one version changed: each setting before and after.",
    .columns = difference_columns,
};
struct command settings_compare_command = {
    .name = "config compare",
    .rest = "GET /settings/history/{from}/differences",
    .effect = COMMAND_READS,
    .area = "settings",
    .args = (const struct command_arg[]){ { .name = "from",
                                            .kind = ARG_POSITIONAL,
                                            .type = PARAM_INT,
                                            .max = PARAM_NONE,
                                            .doc = "the older version; 0: before the first" },
                                          { .name = "to",
                                            .kind = ARG_OPTIONAL,
                                            .type = PARAM_INT,
                                            .max = PARAM_NONE,
                                            .doc = "the newer one; without it: the last" },
                                          { 0 } },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_SETTINGS,
    .run = run_compare,
    .doc = "Compares two versions: the settings whose values differ.",
    .columns = difference_columns,
};
