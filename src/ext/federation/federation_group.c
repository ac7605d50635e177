#include "ext/federation/federation_group.h"
#include "account/shared.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/ensure.h"
#include "core/core.h"
#include "ext/federation/federation.h"
#include "ext/federation/federation_book.h"
#include "home/here.h"
#include "home/node.h"
#include "ops/profile_values.h"
#include "store/store.h"

struct store_stmt federation_groups_all = {
    .name = "federation.groups",
    .sql = "SELECT name, mode, domains FROM federation_group ORDER BY name LIMIT 1000",
    .params = "",
    .cols = "tit",
};
static struct store_stmt stmt_put = {
    .name = "federation.group-put",
    .sql = "INSERT INTO federation_group(name, mode, domains) SELECT v.n, v.m, v.d FROM "
           "(SELECT CAST($1 AS TEXT) AS n, CAST($2 AS BIGINT) AS m, CAST($3 AS TEXT) AS d) AS v "
           "WHERE (SELECT count(*) FROM federation_group WHERE name <> $1) < $4 "
           "ON CONFLICT(name) DO UPDATE SET mode = excluded.mode, domains = excluded.domains",
    .params = "titi",
    .cols = "",
};
static struct store_stmt stmt_del = {
    .name = "federation.group-del",
    .sql = "DELETE FROM federation_group WHERE name = $1",
    .params = "t",
    .cols = "",
};
struct store_stmt *const federation_group_stmts[] = { &federation_groups_all, &stmt_put, &stmt_del,
                                                      NULL };

void federation_groups_read(const struct store_batch *b, unsigned stmt)
{
    uint32_t count = store_row_count(b, stmt);
    ensure(count <= FEDERATION_GROUPS_MAX);
    struct arena *arena = arena_create(0);
    struct federation_group *groups = arena_new(arena, struct federation_group, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        int64_t mode = store_int(b, stmt, i, 1);
        bool sound = mode > FEDERATION_DEFAULT && mode < FEDERATION_MODES;
        groups[i].name = store_text(b, stmt, i, 0);
        groups[i].rule.mode = sound ? (enum federation_mode)mode : FEDERATION_DEFAULT;
        groups[i].rule.domains = store_text(b, stmt, i, 2);
    }
    federation_book_put_groups(groups, count);
    arena_destroy(&arena);
}

static void group_applies(struct worker *w, void *arg)
{
    struct command_call *call = arg;
    slice name = command_arg(call, "who");
    (void)w;
    bool shared = slice_starts(name, FEDERATION_GROUP_MARK);
    const char *what = shared ? "group" : "department";
    name = slice_from(name, shared ? FEDERATION_GROUP_MARK.len : 0);
    if (call->command == &federation_group_del)
        command_done(call, "the %s %.*s has no rule any more", what, SLICE_ARG(name));
    else
        command_done(call, "federation of the %s %.*s: %s", what, SLICE_ARG(name),
                     federation_mode_names[command_number(call, "mode", 0)]);
}

static void group_put_done(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), NULL);
    } else if (store_changed(b, 0) == 0) {
        command_fail(call, E_LIMIT,
                     "there are rules for %d departments and groups, which is the most; "
                     "`s2s-group del` removes one",
                     FEDERATION_GROUPS_MAX);
    } else {
        federation_reload(call->worker, group_applies, call);
    }
}

static slice group_rule_now(const struct command_call *call)
{
    struct federation_rule now = federation_book_named(command_arg(call, "who"), call->arena);
    return federation_rule_text(&now, call->arena);
}

static void group_put(void *arg)
{
    struct command_call *call = arg;
    const struct worker *w = call->worker;
    struct store_batch *b = store_write(worker_store(w), 0);
    struct federation_rule rule = {
        (enum federation_mode)command_number(call, "mode", FEDERATION_DEFAULT),
        federation_domains_prepared(command_arg(call, "domains"), call->arena)
    };
    command_changed(call, group_rule_now(call), federation_rule_text(&rule, call->arena));
    STORE_ADD(b, &stmt_put, STORE_ANY_ROWS, SV_T(command_arg(call, "who")), SV_I(rule.mode),
              SV_T(rule.domains), SV_I(FEDERATION_GROUPS_MAX));
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, group_put_done, call);
}

/* It may be made tomorrow, so it is no mistake. */
static void group_put_shared(struct command_call *call, slice name)
{
    if (!shared_has_group(core_of(call->worker)->shared.now, name))
        command_note(call, arena_printf(call->arena,
                                        "there is no group %.*s now; `musterctl group list` shows "
                                        "all",
                                        SLICE_ARG(name)));
    group_put(call);
}

static void group_run_set(struct command_call *call)
{
    int64_t mode = command_number(call, "mode", FEDERATION_DEFAULT);
    if (!federation_mode_fits(call, mode, command_arg(call, "domains")))
        return;
    if (mode >= FEDERATION_ON)
        command_idle_while_off(call, "s2s.policy", "open");
    slice name = command_arg(call, "who");
    if (slice_starts(name, FEDERATION_GROUP_MARK))
        group_put_shared(call, slice_from(name, FEDERATION_GROUP_MARK.len));
    else
        profile_values_note(call, &(struct profile_value){ SLICE("department"), name }, 1,
                            group_put, call);
}

static void group_del_done(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), NULL);
    } else if (store_changed(b, 0) == 0) {
        command_fail(call, E_NOTFOUND, "there is no rule for this; `s2s-group list` shows all");
    } else {
        federation_reload(call->worker, group_applies, call);
    }
}

static void group_run_del(struct command_call *call)
{
    const struct worker *w = call->worker;
    struct store_batch *b = store_write(worker_store(w), 0);
    command_changed(call, group_rule_now(call), SLICE(""));
    STORE_ADD(b, &stmt_del, STORE_ANY_ROWS, SV_T(command_arg(call, "who")));
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, group_del_done, call);
}

static void group_listed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), NULL);
        return;
    }
    for (uint32_t i = 0; i < store_row_count(b, 0); i++) {
        int64_t mode = store_int(b, 0, i, 1);
        bool sound = mode >= 0 && mode < FEDERATION_MODES;
        command_row(call);
        command_text(call, "who", slice_dup(call->arena, store_text(b, 0, i, 0)));
        command_text(call, "mode", slice_of(federation_mode_names[sound ? mode : 0]));
        command_text(call, "domains", slice_dup(call->arena, store_text(b, 0, i, 2)));
    }
    command_done(call, "%s", "");
}

static void group_run_list(struct command_call *call)
{
    const struct worker *w = call->worker;
    struct store_batch *b = store_read(worker_store(w), 0);
    store_add(b, &federation_groups_all, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(w), 0, group_listed, call);
}

/* As a department is named: without spaces around it. */
static bool group_who_ok(slice text)
{
    return text.len > 0 && text.ptr[0] != ' ' && text.ptr[text.len - 1] != ' ';
}

/* A rule of a group that can never be there would wait for ever. */
static bool group_who_fits(slice text)
{
    return slice_starts(text, FEDERATION_GROUP_MARK)
               ? shared_is_name(slice_from(text, FEDERATION_GROUP_MARK.len))
               : group_who_ok(text);
}

/* clang-format off */
#define ARG_WHO(is_right)                                                                          \
    { .name = "who", .kind = ARG_POSITIONAL, .type = PARAM_TEXT, .min = 1, .max = 200,             \
      .check = (is_right),                                                                         \
      .form = "a department without spaces around it, or group: and the name of a group, which "  \
              "has " PARAM_NAME,                                   \
      .doc = "the department of accounts, or group:NAME for the members of a group" }
/* clang-format on */
static const struct command_arg set_args[] = {
    ARG_WHO(group_who_fits),
    { .name = "mode",
      .kind = ARG_POSITIONAL,
      .type = PARAM_CHOICE,
      .choices = federation_mode_names,
      .doc = "default: as the domain; " FEDERATION_MODE_DOC },
    { .name = "domains",
      .kind = ARG_OPTION,
      .type = PARAM_TEXT,
      .max = FEDERATION_DOMAINS_BYTES,
      .check = federation_domains_ok,
      .form = FEDERATION_DOMAINS_FORM,
      .doc = "the domains for only or except" },
    { 0 },
};
static const struct command_arg del_args[] = { ARG_WHO(group_who_ok), { 0 } };
struct command federation_group_set = {
    .name = "s2s-group set",
    .rest = "PUT /federation/groups/{who}",
    .effect = COMMAND_CHANGES,
    .area = "federation",
    .args = set_args,
    .run = group_run_set,
    .doc = "Sets the rule of a department or a group: with which other servers its users may "
           "communicate. The rule of a single user (`federation set`) comes first, then that of "
           "the department, then that of a group: of several groups of a user, the first that "
           "`s2s-group list` shows.",
};
struct command federation_group_del = {
    .name = "s2s-group del",
    .rest = "DELETE /federation/groups/{who}",
    .effect = COMMAND_CHANGES,
    .area = "federation",
    .args = del_args,
    .run = group_run_del,
    .doc = "Removes the rule of a department or a group.",
};
struct command federation_group_list = {
    .name = "s2s-group list",
    .rest = "GET /federation/groups",
    .effect = COMMAND_READS,
    .area = "federation",
    .args = (const struct command_arg[]){ { 0 } },
    .run = group_run_list,
    .doc = "Lists the rules of departments and groups.",
    .columns =
        (const struct command_column[]){ { .name = "who", .doc = "the department, or group:NAME" },
                                         { .name = "mode", .doc = "off, on, only or except" },
                                         { .name = "domains", .doc = "the domains for these" },
                                         { 0 } },
};
