#include "ops/access_lists.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "ops/access_table.h"
#include "ops/admins.h"
#include "ops/console.h"
#include "ops/lockout.h"
#include <stdatomic.h>

/* Each list has a function that adds its rows: all, or the row of a name. false: the table could
 * not be read. */

static bool is_asked(slice only, slice name) { return only.ptr == NULL || slice_eq(only, name); }

/* Ends a call for a list. */
static void access_done_all(struct command_call *call, bool known)
{
    ensure(!call->ended);
    if (known)
        command_done_listed(call, "name");
    else
        access_fail_unread(call);
}

/* Ends a call for one thing. */
static void access_done_one(struct command_call *call, bool known, const char *missing)
{
    ensure(!call->ended);
    if (!known)
        access_fail_unread(call);
    else if (call->rows != NULL)
        command_done(call, "%s", "");
    else
        command_fail(call, E_NOTFOUND, "%s", missing);
}

/* Roles. */

static bool access_add_roles(struct command_call *call, slice only)
{
    const struct access_table *t = access_table_begin();
    for (uint32_t i = 0; t != NULL && i < t->role_count; i++) {
        if (!is_asked(only, t->roles[i].name))
            continue;
        command_row(call);
        command_text(call, "name", t->roles[i].name);
        command_text(call, "permissions", t->roles[i].grants);
        command_bool(call, "built_in", t->roles[i].doc != NULL);
        if (t->roles[i].doc != NULL)
            command_text(call, "doc", slice_of(t->roles[i].doc));
    }
    bool known = t != NULL;
    access_table_end();
    return known;
}

static void run_role_list(struct command_call *call)
{
    access_done_all(call, access_add_roles(call, (slice){ 0 }));
}

static void run_role_show(struct command_call *call)
{
    bool known = access_add_roles(call, command_arg(call, "name"));
    access_done_one(call, known, "there is no such role; `role list` shows all");
}

/* Tokens. */

static bool access_add_tokens(struct command_call *call, slice only)
{
    uint64_t now_us = clock_wall_us();
    const struct access_table *t = access_table_begin();
    for (uint32_t i = 0; t != NULL && i < t->token_count; i++) {
        struct token *k = &t->tokens[i];
        if (!is_asked(only, k->name))
            continue;
        command_row(call);
        command_text(call, "name", k->name);
        command_text(call, "role", k->role);
        command_text(call, "scope", k->scope);
        command_bool(call, "expired", access_token_expired(k, now_us));
        access_stamp(call, "expires", k->expires_us);
        access_stamp(call, "created", k->created_us);
        access_stamp(call, "used", atomic_load(&k->used_us));
        command_text(call, "made_by", k->made_by);
    }
    bool known = t != NULL;
    access_table_end();
    return known;
}

static void run_token_list(struct command_call *call)
{
    access_done_all(call, access_add_tokens(call, (slice){ 0 }));
}

static void run_token_show(struct command_call *call)
{
    bool known = access_add_tokens(call, command_arg(call, "name"));
    access_done_one(call, known, "there is no such token; `token list` shows all");
}

/* Administrators. */

static void access_add_person(struct command_call *call, const struct access_table *t,
                              const struct person *p, const char *source)
{
    command_row(call);
    command_text(call, "name", p->name);
    command_text(call, "role", p->role);
    command_text(call, "source", slice_of(source));
    command_bool(call, "disabled", p->disabled);
    command_bool(call, "locked", lockout_is(p->name, clock_mono_us()));
    command_bool(call, "totp", access_has_factor(t, p->name));
    access_stamp(call, "password_changed", p->changed_us);
}

static bool access_add_admins(struct command_call *call, slice only)
{
    slice one, rest = slice_of(setting_text(&admin_accounts));
    const struct access_table *t = access_table_begin();
    while (t != NULL && slice_word(&rest, &one))
        if (is_asked(only, one))
            access_add_person(call, t,
                              &(struct person){ .name = one,
                                                .role = SLICE("administrator"),
                                                .disabled = access_account_disabled(t, one) },
                              "admin.accounts");
    for (uint32_t i = 0; t != NULL && i < t->admin_count; i++)
        if (is_asked(only, t->admins[i].jid) && !admins_has(t->admins[i].jid))
            access_add_person(call, t,
                              &(struct person){ .name = t->admins[i].jid,
                                                .role = t->admins[i].role,
                                                .disabled = t->admins[i].disabled },
                              "admin add");
    for (uint32_t i = 0; t != NULL && i < t->person_count; i++)
        if (is_asked(only, t->persons[i].name))
            access_add_person(call, t, &t->persons[i], "admin create");
    bool known = t != NULL;
    access_table_end();
    return known;
}

static void run_admin_list(struct command_call *call)
{
    access_done_all(call, access_add_admins(call, (slice){ 0 }));
}

static void run_admin_show(struct command_call *call)
{
    bool known = access_add_admins(call, command_arg(call, "name"));
    access_done_one(call, known, "there is no such administrator; `admin list` shows all");
}

static void run_user_role(struct command_call *call)
{
    slice jid = command_arg(call, "jid");
    bool ours = admins_has(jid);
    const struct access_table *t = access_table_begin();
    bool known = t != NULL;
    const struct admin *a = access_admin(t, jid);
    if (ours || a != NULL) {
        command_row(call);
        command_text(call, "jid", jid);
        command_text(call, "role", ours ? SLICE("administrator") : a->role);
        command_text(call, "source", ours ? SLICE("admin.accounts") : SLICE("admin add"));
    }
    access_table_end();
    access_done_one(call, known,
                    "this account has no role; `admin list` shows those that have one");
}

/* Rows. */

#define READ .effect = COMMAND_READS, .area = "admins"
#define NAME_ARG(of, longest, text)                                                                \
    {                                                                                              \
        .name = "name", .kind = ARG_POSITIONAL, .min = 1, .max = (longest), .refers = (of),        \
        .doc = text                                                                                \
    }

static const struct command_column role_columns[] = {
    { .name = "name", .doc = "the role" },
    { .name = "permissions", .doc = "patterns; one behind ! takes away" },
    { .name = "built_in", .type = PARAM_BOOL, .doc = "whether it cannot be changed" },
    { .name = "doc", .optional = true, .doc = "what it is for" },
    { 0 }
};
struct command access_role_list = {
    .name = "role list",
    .rest = "GET /roles",
    READ,
    .args = (const struct command_arg[]){ COMMAND_PAGE_ARGS("role"), { 0 } },
    .run = run_role_list,
    .doc = "Lists the roles and their permissions.",
    .columns = role_columns,
};
struct command access_role_show = {
    .name = "role show",
    .rest = "GET /roles/{name}",
    READ,
    .args =
        (const struct command_arg[]){ NAME_ARG(REFERS_ROLE, ACCESS_NAME_MAX, "name of the role"),
                                      { 0 } },
    .run = run_role_show,
    .record = true,
    .doc = "Shows a role and its permissions.",
    .columns = role_columns,
};
static const struct command_column token_columns[] = {
    { .name = "name", .doc = "its name" },
    { .name = "role", .doc = "its role" },
    { .name = "scope", .doc = "only these permissions of the role; empty: all" },
    { .name = "expired", .moves = true, .type = PARAM_BOOL, .doc = "whether it has expired" },
    { .name = "expires", .optional = true, .type = PARAM_STAMP, .doc = "when it expires" },
    { .name = "created", .optional = true, .type = PARAM_STAMP, .doc = "when it was made" },
    { .name = "used",
      .moves = true,
      .optional = true,
      .type = PARAM_STAMP,
      .doc = "when it was last used, to the minute" },
    { .name = "made_by", .doc = "who made it" },
    { 0 }
};
struct command access_token_list = {
    .name = "token list",
    .rest = "GET /tokens",
    READ,
    .args = (const struct command_arg[]){ COMMAND_PAGE_ARGS("token"), { 0 } },
    .run = run_token_list,
    .doc = "Lists the access tokens. The tokens themselves are not stored.",
    .columns = token_columns,
};
struct command access_token_show = {
    .name = "token show",
    .rest = "GET /tokens/{name}",
    READ,
    .args =
        (const struct command_arg[]){ NAME_ARG(REFERS_TOKEN, ACCESS_NAME_MAX, "name of the token"),
                                      { 0 } },
    .run = run_token_show,
    .record = true,
    .doc = "Shows an access token: its role, and until when it is valid. The token itself is not "
           "stored.",
    .columns = token_columns,
};
static const struct command_column admin_columns[] = {
    { .name = "name", .doc = "the administrator, or the account" },
    { .name = "role", .doc = "its role" },
    { .name = "source",
      .doc = "what gave the role: admin.accounts, admin add or admin "
             "create" },
    { .name = "disabled", .type = PARAM_BOOL, .doc = "whether it is refused" },
    { .name = "locked",
      .moves = true,
      .type = PARAM_BOOL,
      .doc = "whether it is refused for a time at this node, after failed logins" },
    { .name = "totp", .type = PARAM_BOOL, .doc = "whether it has a second factor" },
    { .name = "password_changed",
      .optional = true,
      .type = PARAM_STAMP,
      .doc = "of an administrator: when it was set" },
    { 0 }
};
struct command access_admin_list = {
    .name = "admin list",
    .rest = "GET /admins",
    READ,
    .args = (const struct command_arg[]){ COMMAND_PAGE_ARGS("name"), { 0 } },
    .run = run_admin_list,
    .doc = "Lists administrators and the accounts that have a role.",
    .columns = admin_columns,
};
struct command access_admin_show = {
    .name = "admin show",
    .rest = "GET /admins/{name}",
    READ,
    .args =
        (const struct command_arg[]){
            NAME_ARG(REFERS_ADMIN, CONSOLE_NAME_MAX, "the administrator, or the account"), { 0 } },
    .run = run_admin_show,
    .record = true,
    .doc = "Shows an administrator or an account that has a role.",
    .columns = admin_columns,
};
struct command access_user_role = {
    .name = "user role",
    .rest = "GET /users/{jid}/role",
    READ,
    .args = (const struct command_arg[]){ COMMAND_ANY_USER_ARG, { 0 } },
    .run = run_user_role,
    .record = true,
    .doc = "Shows the role of an account.",
    .columns =
        (const struct command_column[]){
            { .name = "jid", .type = PARAM_USER, .doc = "the account" },
            { .name = "role", .refers = REFERS_ROLE, .doc = "its role" },
            { .name = "source", .doc = "what gave the role: admin.accounts or admin add" },
            { 0 } },
};
