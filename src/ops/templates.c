#include "ops/templates.h"
#include "account/shared.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/utf8.h"
#include "core/core.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/question.h"
#include "ops/access.h"
#include "ops/admins.h"
#include "ops/events.h"
#include "ops/users_profile.h"

enum {
    TEMPLATE_GROUPS_BYTES = TEMPLATE_GROUPS_MAX * (TEMPLATE_NAME_MAX + 1), /* as long as theirs */
    TEMPLATE_NOTE_BYTES = 2 * (TEMPLATE_GROUPS_BYTES + 2 * PROFILE_BYTES_MAX + 256), /* escaped */
    TEMPLATE_TOLD_AT_ONCE = 200, /* accounts that webhooks are told of */
    LACKS_MS = 5000,             /* that a read may take, and with the time in line before it: */
    LACKS_LINE_MS = 10000,
};

/* Data of a template, in the order of the columns. */
enum { T_DESCRIPTION, T_DEPARTMENT, T_FEDERATION, T_SHARE, T_OTHERS, T_GROUPS, T_TEXTS };
static const char *const texts[T_TEXTS] = { "description", "department", "federation",
                                            "share",       "others",     "groups" };

/* Rows. */

/* clang-format off */
#define TABLE(integer)                                                                             \
    "CREATE TABLE account_template(name TEXT PRIMARY KEY, description TEXT NOT NULL, "             \
    "department TEXT NOT NULL, federation TEXT NOT NULL, share TEXT NOT NULL, "                    \
    "others TEXT NOT NULL, member_of TEXT NOT NULL, disabled " integer " NOT NULL)"
static const struct store_migration migrations[] = {
    { 1, TABLE("INTEGER") " WITHOUT ROWID", TABLE("BIGINT") },
    { 0 },
};
#define VALUES "description, department, federation, share, others, member_of, disabled"
static struct store_stmt stmt_get = {
    .name = "templates.get", .params = "t", .cols = "tttttti",
    .sql = "SELECT " VALUES " FROM account_template WHERE name = $1",
};
static struct store_stmt stmt_put = {
    .name = "templates.put", .params = "tttttttii", .cols = "",
    .sql = "INSERT INTO account_template(name, " VALUES ") SELECT $1, $2, $3, $4, $5, $6, $7, $8 "
           "WHERE (SELECT count(*) FROM account_template) < $9 ON CONFLICT(name) DO NOTHING",
};
static struct store_stmt stmt_set = {
    .name = "templates.set", .params = "tTTTTTTI", .cols = "",
    .sql = "UPDATE account_template SET description = coalesce($2, description), "
           "department = coalesce($3, department), federation = coalesce($4, federation), "
           "share = coalesce($5, share), others = coalesce($6, others), "
           "member_of = coalesce($7, member_of), disabled = coalesce($8, disabled) "
           "WHERE name = $1",
};
static struct store_stmt stmt_drop = {
    .name = "templates.drop", .params = "t", .cols = "",
    .sql = "DELETE FROM account_template WHERE name = $1",
};
static struct store_stmt stmt_rename = {
    .name = "templates.rename", .params = "tt", .cols = "",
    .sql = "UPDATE account_template SET name = $2 WHERE name = $1 AND NOT EXISTS "
           "(SELECT 1 FROM account_template o WHERE o.name = $2)",
};
static struct store_stmt stmt_rename_accounts = {
    .name = "templates.rename-accounts", .params = "tt", .cols = "",
    .sql = "UPDATE account SET template = $2 WHERE template = $1",
};
/* Changes nothing: a row is there. */
static struct store_stmt stmt_hold = {
    .name = "templates.hold", .params = "t", .cols = "",
    .sql = "UPDATE account_template SET name = name WHERE name = $1",
};
/* Accounts with a role that name it. $2: those of admin.accounts, with a space around each. */
static struct store_stmt stmt_with_role = {
    .name = "templates.with-role", .params = "tt", .cols = "t",
    .sql = "SELECT a.jid FROM account a WHERE a.template = $1 AND (EXISTS "
           "(SELECT 1 FROM access_admin d WHERE d.jid = a.jid) OR "
           "replace($2, ' ' || a.jid || ' ', '') <> $2) ORDER BY a.jid",
};
static struct store_stmt stmt_is_account = {
    .name = "templates.account", .params = "t", .cols = "i",
    .sql = "SELECT count(*) FROM account WHERE jid = $1",
};
static struct store_stmt stmt_accounts = {
    .name = "templates.accounts", .params = "t", .cols = "i",
    .sql = "SELECT count(*) FROM account WHERE template = $1",
};
static struct store_stmt stmt_named_by = {
    .name = "templates.named-by", .params = "tti", .cols = "t",
    .sql = "SELECT jid FROM account WHERE template = $1 AND jid > $2 ORDER BY jid LIMIT $3",
};
static struct store_stmt stmt_all = {
    .name = "templates.all", .params = "", .cols = "i",
    .sql = "SELECT count(*) FROM account_template",
};
static struct store_stmt stmt_list = {
    .name = "templates.list", .params = "ti", .cols = "tttttttii",
    .sql = "SELECT t.name, t.description, t.department, t.federation, t.share, t.others, "
           "t.member_of, t.disabled, coalesce(c.accounts, 0) FROM account_template t LEFT JOIN "
           "(SELECT template, count(*) AS accounts FROM account GROUP BY template) c "
           "ON c.template = t.name WHERE t.name > $1 ORDER BY t.name LIMIT $2",
};
static struct store_stmt stmt_disable = {
    .name = "templates.disable", .params = "t", .cols = "",
    .sql = "UPDATE account SET disabled = 1 WHERE jid = $1",
};
/* clang-format on */

static uint64_t templates_lane(void) { return hash_keyed(SLICE("templates")); }

/* For those who make accounts. */

struct reading {
    struct arena *arena;
    templates_fn *fn;
    void *arg;
    slice name;
};

static slice template_text(const struct reading *r, const struct store_batch *b, uint32_t text)
{
    return slice_dup(r->arena, store_text(b, 0, 0, text));
}

static void template_read(void *arg, enum store_result result, const struct store_batch *b)
{
    const struct reading *r = arg;
    if (result != STORE_OK || store_row_count(b, 0) == 0) {
        r->fn(r->arg, result == STORE_OK ? E_NOTFOUND : err_of_store(result), NULL);
        return;
    }
    struct account_template *t = arena_new(r->arena, struct account_template, 1);
    *t = (struct account_template){ .name = r->name,
                                    .department = template_text(r, b, T_DEPARTMENT),
                                    .disabled = store_int(b, 0, 0, T_TEXTS) != 0,
                                    .federation = template_text(r, b, T_FEDERATION),
                                    .share = template_text(r, b, T_SHARE),
                                    .others = template_text(r, b, T_OTHERS),
                                    .groups = template_text(r, b, T_GROUPS) };
    r->fn(r->arg, OK, t);
}

void templates_read(struct worker *w, slice name, struct arena *arena, templates_fn *fn, void *arg)
{
    struct reading *r = arena_new(arena, struct reading, 1);
    ensure(worker_is_here(w) && fn != NULL);
    *r = (struct reading){ arena, fn, arg, slice_dup(arena, name) };
    struct store_batch *b = store_read(worker_store(w), templates_lane());
    STORE_ADD(b, &stmt_get, STORE_ANY_ROWS, SV_T(name));
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, template_read, r);
}

static void templates_fail_named(struct command_call *call, const char *arg, enum err e)
{
    slice name = command_arg(call, arg);
    call->culprit = arg;
    if (e == E_NOTFOUND)
        command_fail(call, e,
                     "there is no template %.*s; `template list` shows all, `template add` makes "
                     "one",
                     SLICE_ARG(name));
    else
        command_fail(call, e, "the template %.*s could not be read: %s", SLICE_ARG(name),
                     err_text(e));
}

void templates_fail(struct command_call *call, enum err e)
{
    templates_fail_named(call, "template", e);
}

void templates_hold(struct store_batch *b, slice name)
{
    ensure(name.len > 0);
    STORE_ADD(b, &stmt_hold, 1, SV_T(name));
}

void templates_add(struct store_batch *b, slice jid, const struct account_template *t)
{
    ensure(jid.len > 0 && t->name.len > 0);
    templates_hold(b, t->name);
    if (t->disabled)
        STORE_ADD(b, &stmt_disable, 1, SV_T(jid));
    EMIT(account.template, b, jid, t);
}

void templates_limits(struct store_batch *b, const struct account_template *t)
{
    EMIT_ONE(templates, limits, b, t);
}

const char *templates_refusal(const struct store_batch *b, unsigned at,
                              const struct account_template *t, int64_t more, struct arena *arena)
{
    return feature_one.templates == NULL ? NULL
                                         : feature_one.templates->refusal(b, &at, t, more, arena);
}

static void template_refused(void *arg, enum store_result result, const struct store_batch *b)
{
    const struct templates_ask *r = arg;
    const char *text = NULL;
    enum err e = err_of_store(result);
    ensure(r->template != NULL);
    if (e == OK && store_int(b, 0, 0, 0) == 0) {
        text = templates_refusal(b, 2, r->template, 0, r->arena);
        e = text != NULL ? E_LIMIT : E_CONFLICT;
        if (store_row_count(b, 1) == 0)
            e = E_NOTFOUND;
    }
    r->fn(r->arg, e, text);
}

void templates_refused(struct worker *w, const struct templates_ask *r)
{
    struct templates_ask *own = arena_new(r->arena, struct templates_ask, 1);
    struct store_batch *b = store_read(worker_store(w), templates_lane());
    ensure(worker_is_here(w) && r->template != NULL && r->jid.len > 0);
    *own = *r;
    STORE_ADD(b, &stmt_is_account, 1, SV_T(r->jid));
    STORE_ADD(b, &stmt_get, STORE_ANY_ROWS, SV_T(r->template->name));
    templates_limits(b, r->template);
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, template_refused, own);
}

static void template_given(void *arg, enum store_result result, const struct store_batch *b)
{
    const struct templates_ask *r = arg;
    const char *text = NULL;
    unsigned at = 0;
    if (result == STORE_OK && feature_one.templates != NULL)
        text = feature_one.templates->lacks(b, &at, r->template, r->arena);
    r->fn(r->arg, err_of_store(result), text);
}

void templates_lacks(struct worker *w, const struct templates_ask *r)
{
    struct store_batch *b = store_read(worker_store(w), 0);
    ensure(worker_is_here(w) && r->template != NULL && r->jid.len > 0);
    EMIT_ONE(templates, given, b, r->jid, r->template);
    if (store_stmt_count(b) == 0) {
        store_drop(&b);
        r->fn(r->arg, OK, NULL);
        return;
    }
    struct templates_ask *own = arena_new(r->arena, struct templates_ask, 1);
    *own = *r;
    store_read_long(b, 0, LACKS_MS);
    store_submit(b, worker_loop(w), LACKS_LINE_MS, template_given, own);
}

void templates_added(struct worker *w) { EMIT_ONE(templates, done, w); }

const char *templates_missing(const struct worker *w, slice groups, struct arena *arena)
{
    const char *missing = NULL;
    slice name;
    while (slice_word(&groups, &name))
        if (!shared_has_group(core_of(w)->shared.now, name))
            missing = missing == NULL ? slice_cstr(arena, name)
                                      : arena_printf(arena, "%s, %.*s", missing, SLICE_ARG(name));
    return missing;
}

/* Commands. An argument that is not given has ptr NULL. The choice "default" is stored as an empty
 * text. */

struct template_task {
    struct command_call *call;
    slice name;
    int64_t accounts; /* that name it */
    slice told;       /* the last of a page; empty: of the last one */
    uint32_t telling;
    bool untold; /* some */
};

static bool template_is_choice(unsigned text)
{
    return text == T_FEDERATION || text == T_SHARE || text == T_OTHERS;
}

static slice template_value(const struct command_call *call, unsigned text)
{
    ensure(text < T_TEXTS);
    slice value = command_arg(call, texts[text]);
    return template_is_choice(text) && slice_is(value, "default") ? SLICE("") : value;
}

static const char *on_off(int64_t value) { return value != 0 ? "on" : "off"; }

/* Nobody gives by a template what they may not give by hand. */
static const struct {
    const char *arg, *permission;
} needs[] = {
    { "federation", "federation.write" },
    { "share", "policies.write" },
    { "others", "policies.write" },
    { "groups", "groups.write" },
};

static bool templates_may_give(struct command_call *call)
{
    for (size_t i = 0; i < sizeof needs / sizeof needs[0]; i++) {
        if (command_arg(call, needs[i].arg).ptr == NULL ||
            principal_may(&call->who, needs[i].permission))
            continue;
        call->culprit = needs[i].arg;
        command_fail(call, E_DENIED, "%s needs the permission %s, which you do not have",
                     needs[i].arg, needs[i].permission);
        return false;
    }
    return true;
}

/* A word that is in the list twice; ptr NULL: none. */
static slice templates_twice(slice list)
{
    slice one, other, rest;
    while (slice_word(&list, &one))
        for (rest = list; slice_word(&rest, &other);)
            if (slice_eq(one, other))
                return one;
    return (slice){ 0 };
}

static bool templates_groups_ok(struct command_call *call)
{
    slice groups = command_arg(call, "groups"), rest = groups, name, twice = { 0 };
    unsigned count = 0;
    while (slice_word(&rest, &name))
        count++;
    if (count <= TEMPLATE_GROUPS_MAX)
        twice = templates_twice(groups);
    const char *missing = templates_missing(call->worker, groups, call->arena);
    call->culprit = "groups";
    if (count > TEMPLATE_GROUPS_MAX)
        command_fail(call, E_LIMIT, "found %u groups, allowed: up to %d", count,
                     TEMPLATE_GROUPS_MAX);
    else if (missing != NULL)
        command_fail(call, E_NOTFOUND, "there is no group %s; `group list` shows all", missing);
    else if (twice.ptr != NULL)
        command_fail(call, E_SYNTAX, "found the group %.*s twice, allowed: each group once",
                     SLICE_ARG(twice));
    else
        call->culprit = NULL;
    return count <= TEMPLATE_GROUPS_MAX && missing == NULL && twice.ptr == NULL;
}

/* "department=Sales disabled=on", for the audit log. */
static slice template_note_text(unsigned text, slice value)
{
    return template_is_choice(text) && value.len == 0 ? SLICE("default") : value;
}

/* Values that the call gives; b: what is there of that (NULL: the new values). */
static slice template_note_given(const struct command_call *call, const struct store_batch *b)
{
    struct buf out;
    buf_init(&out, TEMPLATE_NOTE_BYTES);
    for (unsigned i = 0; i < T_TEXTS; i++) {
        slice given = template_value(call, i);
        if (given.ptr != NULL)
            command_changed_part(&out, texts[i],
                                 template_note_text(i, b == NULL ? given : store_text(b, 0, 0, i)));
    }
    if (command_arg(call, "disabled").ptr != NULL)
        command_changed_part(&out, "disabled",
                             slice_of(on_off(b == NULL ? command_number(call, "disabled", 0)
                                                       : store_int(b, 0, 0, T_TEXTS))));
    slice note = slice_dup(call->arena, buf_fit(&out));
    buf_fini(&out);
    return note;
}

/* All that it gives; b: what is there (NULL: what the call makes). */
static slice template_note_whole(const struct command_call *call, const struct store_batch *b)
{
    struct buf out;
    buf_init(&out, TEMPLATE_NOTE_BYTES);
    for (unsigned i = 0; i < T_TEXTS; i++) {
        slice value = b == NULL ? template_value(call, i) : store_text(b, 0, 0, i);
        if (value.len > 0)
            command_changed_part(&out, texts[i], value);
    }
    command_changed_part(&out, "disabled",
                         slice_of(on_off(b == NULL ? command_number(call, "disabled", 0)
                                                   : store_int(b, 0, 0, T_TEXTS))));
    slice note = slice_dup(call->arena, buf_fit(&out));
    buf_fini(&out);
    return note;
}

static void template_task_read(struct command_call *call, store_done_fn *done)
{
    struct template_task *t = arena_new(call->arena, struct template_task, 1);
    struct worker *w = call->worker;
    ensure(worker_is_here(w));
    *t = (struct template_task){ .call = call, .name = command_arg(call, "name") };
    struct store_batch *b = store_read(worker_store(w), templates_lane());
    STORE_ADD(b, &stmt_get, STORE_ANY_ROWS, SV_T(t->name));
    STORE_ADD(b, &stmt_accounts, 1, SV_T(t->name));
    store_add(b, &stmt_all, 1, NULL, 0);
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, done, t);
}

/* false: the call has failed, since there is no such template. */
static bool template_is_there(struct template_task *t, enum store_result result,
                              const struct store_batch *b)
{
    bool is = result == STORE_OK && store_row_count(b, 0) > 0;
    if (!is)
        templates_fail_named(t->call, "name",
                             result == STORE_OK ? E_NOTFOUND : err_of_store(result));
    else
        t->accounts = store_int(b, 1, 0, 0);
    return is;
}

static void template_write(struct template_task *t, struct store_batch *b, store_done_fn *done)
{
    struct worker *w = t->call->worker;
    ensure(worker_is_here(w) && store_stmt_count(b) > 0);
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, done, t);
}

/* template add */

static void template_added(void *arg, enum store_result result, const struct store_batch *b)
{
    struct template_task *t = arg;
    (void)b;
    if (result == STORE_OK) {
        command_changed(t->call, SLICE(""), template_note_whole(t->call, NULL));
        command_done(t->call, "template %.*s added", SLICE_ARG(t->name));
    } else if (result == STORE_CONFLICT) {
        command_fail(t->call, E_EXISTS, "there is a template %.*s already", SLICE_ARG(t->name));
    } else {
        command_fail_cause(t->call, err_of_store(result), NULL);
    }
}

static void template_put(struct template_task *t)
{
    struct command_call *call = t->call;
    struct store_val vals[3 + T_TEXTS] = { SV_T(t->name) };
    for (unsigned i = 0; i < T_TEXTS; i++) {
        slice value = template_value(call, i);
        vals[1 + i] = SV_T(value.ptr == NULL ? SLICE("") : value);
    }
    vals[1 + T_TEXTS] = SV_I(command_number(call, "disabled", 0));
    vals[2 + T_TEXTS] = SV_I(TEMPLATES_MAX);
    struct store_batch *b = store_write(worker_store(call->worker), templates_lane());
    store_add(b, &stmt_put, 1, vals, 3 + T_TEXTS);
    template_write(t, b, template_added);
}

static void template_add(void *arg, enum store_result result, const struct store_batch *b)
{
    struct template_task *t = arg;
    struct command_call *call = t->call;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), NULL);
        return;
    }
    if (store_row_count(b, 0) == 0 && store_int(b, 2, 0, 0) >= TEMPLATES_MAX) {
        command_fail(call, E_LIMIT, "there are %d templates, which is the most", TEMPLATES_MAX);
        return;
    }
    template_put(t);
}

static void run_template_add(struct command_call *call)
{
    if (templates_may_give(call) && templates_groups_ok(call))
        template_task_read(call, template_add);
}

/* template set */

static void template_changed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct template_task *t = arg;
    (void)b;
    if (result == STORE_OK)
        command_done(t->call, "template %.*s changed; accounts that are there stay as they are",
                     SLICE_ARG(t->name));
    else if (result == STORE_CONFLICT)
        templates_fail_named(t->call, "name", E_NOTFOUND);
    else
        command_fail_cause(t->call, err_of_store(result), NULL);
}

static void template_write_values(struct template_task *t)
{
    struct command_call *call = t->call;
    struct store_val vals[2 + T_TEXTS] = { SV_T(t->name) };
    for (unsigned i = 0; i < T_TEXTS; i++) {
        slice value = template_value(call, i);
        vals[1 + i] = value.ptr == NULL ? SV_NULL : SV_T(value);
    }
    bool given = command_arg(call, "disabled").ptr != NULL;
    vals[1 + T_TEXTS] = given ? SV_I(command_number(call, "disabled", 0)) : SV_NULL;
    struct store_batch *b = store_write(worker_store(call->worker), templates_lane());
    store_add(b, &stmt_set, 1, vals, 2 + T_TEXTS);
    template_write(t, b, template_changed);
}

static void template_set(void *arg, enum store_result result, const struct store_batch *b)
{
    struct template_task *t = arg;
    struct command_call *call = t->call;
    if (!template_is_there(t, result, b))
        return;
    command_changed(call, template_note_given(call, b), template_note_given(call, NULL));
    template_write_values(t);
}

static void run_template_set(struct command_call *call)
{
    bool any = command_arg(call, "disabled").ptr != NULL;
    for (unsigned i = 0; i < T_TEXTS; i++)
        any = any || command_arg(call, texts[i]).ptr != NULL;
    if (!any)
        command_fail(call, E_SYNTAX,
                     "say what changes, such as --department NAME" COMMAND_EMPTY_REMOVES);
    else if (templates_may_give(call) && templates_groups_ok(call))
        template_task_read(call, template_set);
}

/* template rename */

/* Their profiles are others by the new name: webhooks hear of each account, as of `user set`. */

static void template_tell_from(struct template_task *t, slice after);

static void template_rename_done(struct template_task *t)
{
    command_done(t->call, "template %.*s is now %.*s; accounts that name it: %lld",
                 SLICE_ARG(t->name), SLICE_ARG(command_arg(t->call, "to")), (long long)t->accounts);
}

/* Tells all of a page. */
static void template_told(struct worker *w, void *arg)
{
    struct template_task *t = arg;
    ensure(worker_is_here(w) && t->telling > 0);
    if (--t->telling > 0)
        return;
    if (t->told.len > 0) {
        template_tell_from(t, t->told);
        return;
    }
    if (t->untold)
        command_note(t->call, "webhooks did not hear of all accounts: the database did not answer");
    template_rename_done(t);
}

static void template_lost(struct worker *w, void *arg)
{
    (void)w;
    ((struct template_task *)arg)->untold = true;
}

static void template_untold(struct worker *w, void *arg, void *answer,
                            const struct message_from *from)
{
    (void)answer, (void)from;
    template_lost(w, arg);
}

static void template_tell(void *arg, enum store_result result, const struct store_batch *b)
{
    struct template_task *t = arg;
    struct worker *w = t->call->worker;
    uint32_t count = result == STORE_OK ? store_row_count(b, 0) : 0;
    t->telling = count + 1;
    t->untold = t->untold || result != STORE_OK;
    t->told = count == TEMPLATE_TOLD_AT_ONCE
                  ? slice_dup(t->call->arena, store_text(b, 0, count - 1, 0))
                  : (slice){ 0 };
    for (uint32_t i = 0; i < count; i++)
        event_ask_changed(w, store_text(b, 0, i, 0),
                          &(struct asker){ .gather = template_untold,
                                           .done = template_told,
                                           .lost = template_lost,
                                           .arg = t });
    template_told(w, t);
}

static void template_tell_from(struct template_task *t, slice after)
{
    struct store_batch *b = store_read(worker_store(t->call->worker), templates_lane());
    ensure(!t->call->ended);
    STORE_ADD(b, &stmt_named_by, STORE_ANY_ROWS, SV_T(command_arg(t->call, "to")), SV_T(after),
              SV_I(TEMPLATE_TOLD_AT_ONCE));
    store_submit(b, worker_loop(t->call->worker), STORE_UNTIL_DONE, template_tell, t);
}

static void template_renamed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct template_task *t = arg;
    slice to = command_arg(t->call, "to");
    if (result == STORE_OK) {
        t->accounts = store_changed(b, 1);
        EMIT_ONE(templates, done, t->call->worker);
        if (event_is_wanted(EVENT_USER_CHANGED))
            template_tell_from(t, SLICE(""));
        else
            template_rename_done(t);
    } else if (result == STORE_CONFLICT) {
        t->call->culprit = "to";
        command_fail(t->call, E_EXISTS, "there is a template %.*s already", SLICE_ARG(to));
    } else {
        command_fail_cause(t->call, err_of_store(result), NULL);
    }
}

static void template_rename_now(struct template_task *t)
{
    slice to = command_arg(t->call, "to");
    ensure(to.len > 0 && !t->call->ended);
    command_changed(t->call, t->name, to);
    struct store_batch *set = store_write(worker_store(t->call->worker), templates_lane());
    STORE_ADD(set, &stmt_rename, 1, SV_T(t->name), SV_T(to));
    STORE_ADD(set, &stmt_rename_accounts, STORE_ANY_ROWS, SV_T(t->name), SV_T(to));
    EMIT_ONE(templates, renamed, set, t->name, to);
    template_write(t, set, template_renamed);
}

/* It changes their profiles, as `user set` would. Those of a role are in the first statement, and
 * those of a power in the one of its feature. */
static void template_with_role(void *arg, enum store_result result, const struct store_batch *b)
{
    struct template_task *t = arg;
    struct command_call *call = t->call;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), NULL);
        return;
    }
    for (unsigned stmt = 0; stmt <= FEATURES_COUNT(power); stmt++)
        for (uint32_t i = 0; i < store_row_count(b, stmt); i++) {
            slice jid = store_text(b, stmt, i, 0);
            const char *above = access_above(call, jid);
            if (above == NULL)
                continue;
            command_fail(call, E_DENIED, "%.*s names the template %.*s and %s", SLICE_ARG(jid),
                         SLICE_ARG(t->name), above);
            return;
        }
    template_rename_now(t);
}

static void template_rename(void *arg, enum store_result result, const struct store_batch *b)
{
    struct template_task *t = arg;
    struct worker *w = t->call->worker;
    if (!template_is_there(t, result, b))
        return;
    const char *set = arena_printf(t->call->arena, " %s ", setting_text(&admin_accounts));
    struct store_batch *read = store_read(worker_store(w), templates_lane());
    STORE_ADD(read, &stmt_with_role, STORE_ANY_ROWS, SV_T(t->name), SV_T(slice_of(set)));
    FEATURES_EACH (f, power)
        f->power->of_template(read, t->name);
    store_submit(read, worker_loop(w), STORE_UNTIL_DONE, template_with_role, t);
}

static void run_template_rename(struct command_call *call)
{
    template_task_read(call, template_rename);
}

/* template del */

static void template_deleted(void *arg, enum store_result result, const struct store_batch *b)
{
    struct template_task *t = arg;
    (void)b;
    if (result != STORE_OK)
        command_fail_cause(t->call, err_of_store(result), NULL);
    else if (t->accounts == 0)
        command_done(t->call, "template %.*s deleted; no account names it", SLICE_ARG(t->name));
    else
        command_done(t->call,
                     "template %.*s deleted; accounts that name it, and keep what they have: %lld",
                     SLICE_ARG(t->name), (long long)t->accounts);
}

static void template_del(void *arg, enum store_result result, const struct store_batch *b)
{
    struct template_task *t = arg;
    if (!template_is_there(t, result, b))
        return;
    ensure(t->name.len > 0 && !t->call->ended);
    command_changed(t->call, template_note_whole(t->call, b), SLICE(""));
    struct store_batch *drop = store_write(worker_store(t->call->worker), templates_lane());
    STORE_ADD(drop, &stmt_drop, STORE_ANY_ROWS, SV_T(t->name));
    template_write(t, drop, template_deleted);
}

static void run_template_del(struct command_call *call) { template_task_read(call, template_del); }

/* template list, show */

static void template_row(struct command_call *call, slice name, const struct store_batch *b,
                         uint32_t row, uint32_t first)
{
    ensure(name.len > 0 && row < store_row_count(b, 0));
    command_row(call);
    command_text(call, "name", slice_dup(call->arena, name));
    for (unsigned i = 0; i < T_TEXTS; i++) {
        slice value = store_text(b, 0, row, first + i);
        bool none = template_is_choice(i) && value.len == 0;
        command_text(call, texts[i], none ? SLICE("default") : slice_dup(call->arena, value));
    }
    command_bool(call, "disabled", store_int(b, 0, row, first + T_TEXTS) != 0);
}

static void templates_listed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), NULL);
        return;
    }
    uint32_t count = store_row_count(b, 0), shown = command_page_limit(call);
    shown = count < shown ? count : shown;
    for (uint32_t i = 0; i < shown; i++) {
        template_row(call, store_text(b, 0, i, 0), b, i, 1);
        command_int(call, "accounts", store_int(b, 0, i, 2 + T_TEXTS));
    }
    if (count > shown)
        command_done_more(call, slice_dup(call->arena, store_text(b, 0, shown - 1, 0)));
    else
        command_done(call, "%s", "");
}

static void run_template_list(struct command_call *call)
{
    struct worker *w = call->worker;
    slice after = command_arg(call, "after");
    struct store_batch *b = store_read(worker_store(w), templates_lane());
    STORE_ADD(b, &stmt_list, STORE_ANY_ROWS, SV_T(after.ptr == NULL ? SLICE("") : after),
              SV_I(command_page_limit(call) + 1));
    store_submit(b, worker_loop(w), 0, templates_listed, call);
}

static void template_shown(void *arg, enum store_result result, const struct store_batch *b)
{
    struct template_task *t = arg;
    struct command_call *call = t->call;
    if (!template_is_there(t, result, b))
        return;
    const char *missing =
        templates_missing(call->worker, store_text(b, 0, 0, T_GROUPS), call->arena);
    template_row(call, t->name, b, 0, 0);
    if (missing != NULL)
        command_text(call, "missing", slice_of(missing));
    command_int(call, "accounts", t->accounts);
    command_done(call, "%s", "");
}

static void run_template_show(struct command_call *call)
{
    template_task_read(call, template_shown);
}

/* Rows. */

static const char *const federations[] = { "default", "on", "off", NULL };
static const char *const shares[] = { "default", "on", "off", NULL };
static const char *const others[] = { "default", "allow", "block", "ask", NULL };
/* clang-format off */
#define NAME_ARG(name_, of, says)                                                                  \
    { .name = (name_), .kind = ARG_POSITIONAL, .min = 1, .max = TEMPLATE_NAME_MAX,                 \
      .refers = (of), .check = param_is_name, .example = "staff",                               \
      .form = PARAM_NAME, .doc = (says) }
#define LINE_ARG(name_, example_, says)                                                            \
    { .name = (name_), .kind = ARG_OPTION, .max = PROFILE_BYTES_MAX, .check = utf8_is_printable,   \
      .form = "one line without control characters", .example = (example_), .doc = (says) }
#define CHOICE_ARG(name_, choices_, says)                                                          \
    { .name = (name_), .kind = ARG_OPTION, .type = PARAM_CHOICE, .choices = (choices_),            \
      .doc = (says) }
#define VALUE_ARGS                                                                                 \
    LINE_ARG("description", "Staff in the office", "what it is for"),                              \
    LINE_ARG("department", "Sales", "department of the accounts"),                                 \
    { .name = "disabled", .kind = ARG_OPTION, .type = PARAM_BOOL,                                  \
      .doc = "whether the accounts begin disabled, until they are enabled" },                  \
    CHOICE_ARG("federation", federations,                                                          \
               "whether the users communicate with other servers"),              \
    CHOICE_ARG("share", shares, "whether anybody sees their availability"),          \
    CHOICE_ARG("others", others, "what applies to users without a rule of theirs"),            \
    { .name = "groups", .kind = ARG_OPTION, .many = true, .refers = REFERS_GROUP,                  \
      .max = TEMPLATE_GROUPS_BYTES,                                                                \
      .doc = "groups that the accounts are put into by name, separated by spaces; up to 20" }
#define VALUE_COLUMNS                                                                              \
    { .name = "name", .refers = REFERS_TEMPLATE, .doc = "the template" },                          \
    { .name = "description", .doc = "what it is for" },                                            \
    { .name = "department", .doc = "department of the accounts" },                                 \
    { .name = "federation", .doc = "whether they communicate with other servers" },                \
    { .name = "share", .doc = "whether anybody sees their availability" },                         \
    { .name = "others", .doc = "what applies to users without a rule" },                           \
    { .name = "groups", .doc = "groups that they are put into" },                                  \
    { .name = "disabled", .type = PARAM_BOOL, .doc = "whether they begin disabled" }
/* clang-format on */

static struct command template_add_command = {
    .name = "template add",
    .rest = "POST /templates, PUT /templates/{name}",
    .effect = COMMAND_CHANGES,
    .area = "templates",
    .also_permission = "users.write",
    .args = (const struct command_arg[]){ NAME_ARG("name", REFERS_NOTHING, "name of the template"),
                                          VALUE_ARGS,
                                          { 0 } },
    .run = run_template_add,
    .doc = "Makes a template: what new accounts are given. `user add --template` and imports apply "
           "it once, when they make an account. A value that is given needs the permission of the "
           "command that sets it.",
};
static struct command template_set_command = {
    .name = "template set",
    .rest = "PATCH /templates/{name}",
    .effect = COMMAND_CHANGES,
    .area = "templates",
    .also_permission = "users.write",
    .args = (const struct command_arg[]){ NAME_ARG("name", REFERS_TEMPLATE, "name of the template"),
                                          VALUE_ARGS,
                                          { 0 } },
    .empties = true,
    .run = run_template_set,
    .doc = "Changes a template. Accounts that were made from it stay as they are. Options that are "
           "not given stay; an empty value removes one.",
};
static struct command template_rename_command = {
    .name = "template rename",
    .rest = "PUT /templates/{name}/name",
    .effect = COMMAND_CHANGES,
    .area = "templates",
    .also_permission = "users.write",
    .args = (const struct command_arg[]){ NAME_ARG("name", REFERS_TEMPLATE, "name of the template"),
                                          NAME_ARG("to", REFERS_NOTHING, "its new name"),
                                          { 0 } },
    .run = run_template_rename,
    .doc = "Renames a template. Accounts that name it and rules of groups have the new name then.",
};
static struct command template_del_command = {
    .name = "template del",
    .rest = "DELETE /templates/{name}",
    .effect = COMMAND_CHANGES,
    .area = "templates",
    .asks = "Accounts that were made from it keep what they have.",
    .args = (const struct command_arg[]){ NAME_ARG("name", REFERS_TEMPLATE, "name of the template"),
                                          { 0 } },
    .run = run_template_del,
    .doc = "Deletes a template, and says how many accounts name it. They keep its name and what it "
           "gave them, and rules of groups go on to match the name.",
};
static struct command template_list_command = {
    .name = "template list",
    .rest = "GET /templates",
    .effect = COMMAND_READS,
    .area = "templates",
    .args = (const struct command_arg[]){ COMMAND_PAGE_ARGS("template"), { 0 } },
    .run = run_template_list,
    .doc = "Lists the templates of accounts by name.",
    .columns =
        (const struct command_column[]){
            VALUE_COLUMNS,
            { .name = "accounts", .type = PARAM_INT, .doc = "accounts that name it" },
            { 0 } },
};
static struct command template_show_command = {
    .name = "template show",
    .rest = "GET /templates/{name}",
    .effect = COMMAND_READS,
    .area = "templates",
    .record = true,
    .args = (const struct command_arg[]){ NAME_ARG("name", REFERS_TEMPLATE, "name of the template"),
                                          { 0 } },
    .run = run_template_show,
    .doc = "Shows a template: what new accounts are given.",
    .columns =
        (const struct command_column[]){
            VALUE_COLUMNS,
            { .name = "missing",
              .optional = true,
              .moves = true,
              .doc = "groups of these that are there no more; they are left out" },
            { .name = "accounts",
              .type = PARAM_INT,
              .moves = true,
              .doc = "accounts that name it" },
            { 0 } },
};

const struct feature templates_feature = {
    .name = "templates",
    .schema =
        &(const struct store_schema){
            .feature = "templates",
            .migrations = migrations,
            .stmts = (struct store_stmt *const[]){ &stmt_get, &stmt_put, &stmt_set, &stmt_drop,
                                                   &stmt_rename, &stmt_rename_accounts, &stmt_hold,
                                                   &stmt_with_role, &stmt_accounts, &stmt_all,
                                                   &stmt_list, &stmt_disable, &stmt_is_account,
                                                   &stmt_named_by, NULL } },
    .commands = (struct command *const[]){ &template_add_command, &template_set_command,
                                           &template_rename_command, &template_del_command,
                                           &template_list_command, &template_show_command, NULL },
};
