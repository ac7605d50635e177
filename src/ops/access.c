#include "ops/access.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/question.h"
#include "ops/access_lists.h"
#include "ops/access_pattern.h"
#include "ops/access_table.h"
#include "ops/access_turn.h"
#include "ops/admins.h"
#include "ops/owner.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdatomic.h>

enum {
    HASH_BYTES = 32,
    HASH_TEXT = 2 * HASH_BYTES,
    USE_WRITE_US = 60 * 1000000, /* the last use is stored so often */
    EXPIRES_MIN_MS = 60 * 1000,
};

static struct log_area log_access = { .name = "access" };

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE access_role(name TEXT PRIMARY KEY, grants TEXT NOT NULL) WITHOUT ROWID;"
      "CREATE TABLE access_token(name TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, "
      "role TEXT NOT NULL, scope TEXT NOT NULL, expires_us INTEGER NOT NULL, "
      "created_us INTEGER NOT NULL, used_us INTEGER NOT NULL, made_by TEXT NOT NULL) "
      "WITHOUT ROWID;"
      "CREATE TABLE access_admin(jid TEXT PRIMARY KEY, role TEXT NOT NULL) WITHOUT ROWID",
      "CREATE TABLE access_role(name TEXT PRIMARY KEY, grants TEXT NOT NULL);"
      "CREATE TABLE access_token(name TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, "
      "role TEXT NOT NULL, scope TEXT NOT NULL, expires_us BIGINT NOT NULL, "
      "created_us BIGINT NOT NULL, used_us BIGINT NOT NULL, made_by TEXT NOT NULL);"
      "CREATE TABLE access_admin(jid TEXT PRIMARY KEY, role TEXT NOT NULL)" },
    /* Administrators that are no accounts, with their passwords: the newest, and those before it.
     */
    { 2,
      "CREATE TABLE administrator(name TEXT PRIMARY KEY, role TEXT NOT NULL, "
      "disabled INTEGER NOT NULL, generation INTEGER NOT NULL, created_us INTEGER NOT NULL, "
      "changed_us INTEGER NOT NULL) WITHOUT ROWID;"
      "CREATE TABLE administrator_password(name TEXT NOT NULL, number INTEGER NOT NULL, "
      "iterations INTEGER NOT NULL, salt BLOB NOT NULL, stored_key BLOB NOT NULL, "
      "server_key BLOB NOT NULL, PRIMARY KEY(name, number)) WITHOUT ROWID;"
      "CREATE TABLE admin_factor(name TEXT PRIMARY KEY, secret TEXT NOT NULL, "
      "confirmed INTEGER NOT NULL, step INTEGER NOT NULL) WITHOUT ROWID;"
      "CREATE TABLE admin_recovery(name TEXT NOT NULL, hash TEXT NOT NULL, "
      "PRIMARY KEY(name, hash)) WITHOUT ROWID",
      "CREATE TABLE administrator(name TEXT PRIMARY KEY, role TEXT NOT NULL, "
      "disabled BIGINT NOT NULL, generation BIGINT NOT NULL, created_us BIGINT NOT NULL, "
      "changed_us BIGINT NOT NULL);"
      "CREATE TABLE administrator_password(name TEXT NOT NULL, number BIGINT NOT NULL, "
      "iterations BIGINT NOT NULL, salt BYTEA NOT NULL, stored_key BYTEA NOT NULL, "
      "server_key BYTEA NOT NULL, PRIMARY KEY(name, number));"
      "CREATE TABLE admin_factor(name TEXT PRIMARY KEY, secret TEXT NOT NULL, "
      "confirmed BIGINT NOT NULL, step BIGINT NOT NULL);"
      "CREATE TABLE admin_recovery(name TEXT NOT NULL, hash TEXT NOT NULL, "
      "PRIMARY KEY(name, hash))" },
    { 0 },
};
static struct store_stmt role_put = {
    .name = "access.role-put",
    .sql = "INSERT INTO access_role(name, grants) VALUES($1, $2) "
           "ON CONFLICT(name) DO UPDATE SET grants = excluded.grants",
    .params = "tt",
    .cols = "",
};
static struct store_stmt role_drop = {
    .name = "access.role-drop",
    .sql = "DELETE FROM access_role WHERE name = $1",
    .params = "t",
    .cols = "",
};
static struct store_stmt token_put = {
    .name = "access.token-put",
    .sql = "INSERT INTO access_token(name, hash, role, scope, expires_us, created_us, used_us, "
           "made_by) VALUES($1, $2, $3, $4, $5, $6, 0, $7) ON CONFLICT(name) DO NOTHING",
    .params = "ttttiit",
    .cols = "",
};
static struct store_stmt token_drop = {
    .name = "access.token-drop",
    .sql = "WITH RECURSIVE made(name) AS (SELECT $1 UNION SELECT t.name FROM access_token t "
           "JOIN made ON t.made_by = 'token:' || made.name) "
           "DELETE FROM access_token WHERE name IN (SELECT name FROM made)",
    .params = "t",
    .cols = "",
};
static struct store_stmt admin_put = {
    .name = "access.admin-put",
    .sql = "INSERT INTO access_admin(jid, role) SELECT jid, $2 FROM account WHERE jid = $1 "
           "ON CONFLICT(jid) DO UPDATE SET role = excluded.role",
    .params = "tt",
    .cols = "",
};
static struct store_stmt admin_drop = {
    .name = "access.admin-drop",
    .sql = "DELETE FROM access_admin WHERE jid = $1",
    .params = "t",
    .cols = "",
};
static const struct store_schema schema = {
    .feature = "access",
    .migrations = migrations,
    .addresses =
        (const struct store_address[]){
            { "access_admin", "jid", .kind = STORE_JID, .beside = "" },
            { "access_token", "made_by", .kind = STORE_JID, .beside = "name", .mark = "'xmpp:'",
              .only = "made_by LIKE 'xmpp:%'" },
            { "access_token", "made_by", .kind = STORE_JID, .beside = "name", .mark = "'console:'",
              .only = "made_by LIKE 'console:%@%'" },
            { 0 } },
    .stmts =
        (struct store_stmt *const[]){ &access_roles_stmt, &access_tokens_stmt, &access_admins_stmt,
                                      &access_used_stmt, &access_persons_stmt, &access_factors_stmt,
                                      &access_disabled_stmt, &role_put, &role_drop, &token_put,
                                      &token_drop, &admin_put, &admin_drop, NULL },
};

/* Reading the table. */

struct reading {
    struct worker *worker;
    uint64_t number;
    struct message_from from; /* who asked, and waits */
    bool asked;
};

static void table_was_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct reading *r = arg;
    access_table_set(worker_node(r->worker), r->number, result, b);
    if (result != STORE_OK)
        log_error(&log_access, LOG_EV("access.unread"), LOG_C("why", store_result_name(result)),
                  LOG_C("hint", "until the database works, tokens and roles of accounts are "
                                "refused"));
    else
        EMIT(worker.access_changed, r->worker);
    if (r->asked)
        question_end(r->worker, &r->from);
    mem_free(&r);
}

static void table_read_again(struct worker *w, const struct message_from *from)
{
    struct reading *r = mem_new(struct reading);
    struct store_batch *b = store_read(worker_store(w), 0);
    r->worker = w;
    r->asked = from != NULL;
    if (from != NULL)
        r->from = *from;
    r->number = access_table_add(b);
    store_submit(b, worker_loop(w), 0, table_was_read, r);
}

/* One worker reads for its process. */
static void changed_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)message;
    if (worker_index(w) == 0)
        table_read_again(w, from);
    else
        question_end(w, from);
}

struct access_changed {
    uint64_t at_us;
};
static const struct message_field changed_fields[] = {
    F_U64(struct access_changed, at_us),
    { 0 },
};
static const struct message_row access_changed_message = {
    .id = 138,
    .scope = MESSAGE_CLUSTER,
    .name = "access-changed",
    .size = sizeof(struct access_changed),
    .fields = changed_fields,
    .run = changed_run,
    .later = true,
};

void access_read_again(struct worker *w)
{
    if (worker_index(w) == 0)
        table_read_again(w, NULL);
}

void access_changed(struct worker *w, const struct asker *by)
{
    each_home(w, &access_changed_message, &(struct access_changed){ clock_wall_us() }, by);
}

static void table_first(void *arg, enum store_result result, const struct store_batch *b)
{
    const struct reading *r = arg;
    access_table_set(worker_node(r->worker), r->number, result, b);
}

static void access_start(struct worker *w)
{
    if (worker_index(w) != 0)
        return;
    struct store_batch *b = store_read(worker_store(w), 0);
    struct reading r = { .worker = w, .number = access_table_add(b) };
    if (store_run(b, table_first, &r) != STORE_OK)
        log_error(&log_access, LOG_EV("access.unread"),
                  LOG_C("hint", "tokens and roles of accounts are refused until it is read again"));
}

static void access_worker_ended(struct worker *w)
{
    access_turns_end(w);
    if (worker_index(w) == 0)
        access_table_free();
}

/* The asker. */

static void hash_of(char out[HASH_TEXT + 1], slice token)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (EVP_Digest(token.ptr, token.len, hash, &len, EVP_sha256(), NULL) != 1)
        len = 0;
    hex_encode(out, (slice){ (const char *)hash, len });
}

/* All are looked at, each in the same time. */
static struct token *token_of(const struct access_table *t, const char hash[HASH_TEXT + 1])
{
    struct token *found = NULL;
    for (uint32_t i = 0; i < t->token_count; i++)
        if (t->tokens[i].hash.len == HASH_TEXT &&
            CRYPTO_memcmp(t->tokens[i].hash.ptr, hash, HASH_TEXT) == 0)
            found = &t->tokens[i];
    return found;
}

static void note_use(struct worker *w, struct token *k, uint64_t now_us)
{
    uint64_t used_us = atomic_load(&k->used_us);
    if (now_us < used_us + USE_WRITE_US ||
        !atomic_compare_exchange_strong(&k->used_us, &used_us, now_us))
        return;
    struct store_batch *b = store_write(worker_store(w), hash_keyed(k->hash));
    STORE_ADD(b, &access_used_stmt, STORE_ANY_ROWS, SV_T(k->hash), SV_I((int64_t)now_us));
    store_submit(b, worker_loop(w), 0, NULL, NULL);
}

/* A role that is gone grants nothing. */
static void give_role(const struct access_table *t, slice name, struct arena *arena,
                      struct principal *out)
{
    const struct role *r = access_role(t, name);
    out->role = slice_dup(arena, name);
    out->grants = r == NULL ? SLICE("") : slice_dup(arena, r->grants);
}

enum err access_of_token(struct worker *w, slice token, slice from, struct arena *arena,
                         struct principal *out, struct why *why)
{
    char hash[HASH_TEXT + 1];
    uint64_t now_us = clock_wall_us();
    enum err e = E_AUTH;
    hash_of(hash, token);
    *out = (struct principal){ 0 };
    const struct access_table *t = access_table_begin();
    struct token *k = t == NULL ? NULL : token_of(t, hash);
    if (t == NULL) {
        why_set(why, "tokens cannot be looked up while the database is away; try again later");
        e = E_DOWN;
    } else if (k == NULL || access_token_expired(k, now_us)) {
        why_set(why, "this token is not known here, or has expired; `token add` makes one");
    } else {
        *out = (struct principal){
            .kind = PRINCIPAL_TOKEN,
            .actor = slice_of(arena_printf(arena, "token:%.*s", SLICE_ARG(k->name))),
            .from = slice_dup(arena, from),
            .scope = k->scope.len > 0 ? slice_dup(arena, k->scope) : (slice){ 0 },
            .generation = (int64_t)k->created_us,
        };
        give_role(t, k->role, arena, out);
        note_use(w, k, now_us);
        e = OK;
    }
    access_table_end();
    if (e == E_DOWN)
        table_read_again(w, NULL);
    return e;
}

void access_of_account(slice bare, struct arena *arena, struct principal *out)
{
    const struct access_table *t = access_table_begin();
    const struct admin *a = access_admin(t, bare);
    if (!access_account_served(t, bare)) {
        access_table_end();
        return;
    }
    if (admins_has(bare)) {
        out->role = SLICE("administrator");
        out->grants = SLICE("*");
    } else if (a != NULL) {
        give_role(t, a->role, arena, out);
    }
    access_table_end();
}

bool access_of_person(slice name, struct arena *arena, struct principal *out, int64_t *generation)
{
    const struct access_table *t = access_table_begin();
    const struct person *p = access_person(t, name);
    bool may = p != NULL && !p->disabled;
    if (may) {
        *generation = p->generation;
        give_role(t, p->role, arena, out);
    }
    access_table_end();
    return may;
}

bool access_has_role(slice bare)
{
    bool has = admins_has(bare);
    if (has)
        return true;
    has = access_admin(access_table_begin(), bare) != NULL;
    access_table_end();
    return has;
}

bool access_is_disabled(slice bare)
{
    bool disabled = access_account_disabled(access_table_begin(), bare);
    access_table_end();
    return disabled;
}

/* The first permission of a command that these grants give and that `who` does not have. */
static bool access_lacks(const struct principal *who, slice grants, slice scope,
                         char permission[COMMAND_PERMISSION_MAX])
{
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        command_permission(c, permission, COMMAND_PERMISSION_MAX);
        if (grants_permission(grants, permission) &&
            (scope.len == 0 || grants_permission(scope, permission)) &&
            !principal_may(who, permission))
            return true;
    }
    return false;
}

bool access_covers(const struct principal *who, slice grants)
{
    char permission[COMMAND_PERMISSION_MAX];
    return !access_lacks(who, grants, (slice){ 0 }, permission);
}

#define ACCESS_NEEDS                                                                               \
    "so this needs the permission %s, which the role %.*s does not have; an administrator can do " \
    "it"
#define ACCESS_ABOVE "has the permission %s, which you do not have; somebody who has it can do this"

/* Beside its role. */
static const char *access_power_above(const struct command_call *call, slice bare)
{
    FEATURES_EACH (f, power)
        if (f->power->has(bare) && !principal_may(&call->who, f->power->permission))
            return arena_printf(call->arena, "is %s, " ACCESS_NEEDS, f->power->name,
                                f->power->permission, SLICE_ARG(call->who.role));
    return NULL;
}

const char *access_above(const struct command_call *call, slice bare)
{
    char permission[COMMAND_PERMISSION_MAX];
    struct principal target = { 0 };
    ensure(bare.len > 0);
    access_of_account(bare, call->arena, &target);
    if (target.role.len > 0 && !principal_may(&call->who, "admins.write"))
        return arena_printf(call->arena, "has a role, " ACCESS_NEEDS, "admins.write",
                            SLICE_ARG(call->who.role));
    if (target.role.len > 0 && access_lacks(&call->who, target.grants, (slice){ 0 }, permission))
        return arena_printf(call->arena, ACCESS_ABOVE, permission);
    return access_power_above(call, bare);
}

bool access_may_touch(struct command_call *call, slice bare)
{
    ensure(!call->ended);
    const char *above = access_above(call, bare);
    if (above != NULL)
        command_fail(call, E_DENIED, "%.*s %s", SLICE_ARG(bare), above);
    return above == NULL;
}

/* Commands. */

struct change {
    struct command_call *call;
    const char *done, *missing; /* formats of the name */
    slice name;
};

static void access_told(struct worker *w, void *arg)
{
    struct change *c = arg;
    (void)w;
    command_done(c->call, "%.*s: %s", SLICE_ARG(c->name), c->done);
    access_turn_over();
}

static void access_stored(void *arg, enum store_result result, const struct store_batch *b)
{
    struct change *c = arg;
    if (result == STORE_OK && store_changed(b, 0) > 0) {
        access_changed(c->call->worker, &(struct asker){ .done = access_told, .arg = c });
        return;
    }
    if (result != STORE_OK)
        command_fail_cause(c->call, err_of_store(result), NULL);
    else
        command_fail(c->call, E_NOTFOUND, "%.*s: %s", SLICE_ARG(c->name), c->missing);
    access_turn_over();
}

struct store_batch *access_change(struct command_call *call)
{
    struct worker *w = call->worker;
    return store_write(worker_store(w), hash_keyed(SLICE("access")));
}

void access_submit(struct command_call *call, struct store_batch *b, slice name, const char *done,
                   const char *missing)
{
    struct worker *w = call->worker;
    struct change *c = arena_new(call->arena, struct change, 1);
    *c = (struct change){ call, done, missing, name };
    access_turn_keep();
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, access_stored, c);
}

/* Nobody gives what they do not have. */
bool access_may_give(struct command_call *call, slice grants, slice scope)
{
    char permission[COMMAND_PERMISSION_MAX];
    if (!access_lacks(&call->who, grants, scope, permission))
        return true;
    command_fail(call, E_DENIED, "this gives the permission %s, which you do not have; give less",
                 permission);
    return false;
}

bool access_may_change(struct command_call *call, slice name, slice grants, slice scope)
{
    char permission[COMMAND_PERMISSION_MAX];
    if (!access_lacks(&call->who, grants, scope, permission))
        return true;
    command_fail(call, E_DENIED, "%.*s " ACCESS_ABOVE, SLICE_ARG(name), permission);
    return false;
}

bool access_role_given(struct command_call *call, slice *grants)
{
    call->culprit = "role"; /* the call may be freed when it has failed */
    if (!access_role_grants(call, command_arg(call, "role"), grants))
        return false;
    call->culprit = NULL;
    return true;
}

void access_fail_unread(struct command_call *call)
{
    table_read_again(call->worker, NULL);
    command_fail(call, E_DOWN, "the roles cannot be read: %s", err_text(E_DOWN));
}

/* Rights that the actor of the call has now, and the generation; in the arena of the call. */
static int64_t actor_now(const struct command_call *call, const struct access_table *t,
                         struct principal *now)
{
    slice via, name;
    slice_cut(owner_of_call(call), ':', &via, &name);
    const struct token *k = call->who.kind == PRINCIPAL_TOKEN ? access_token(t, name) : NULL;
    const struct person *p = access_person(t, name);
    const struct admin *a = access_admin(t, name);
    if (call->who.kind == PRINCIPAL_TOKEN) {
        if (k != NULL && !atomic_load(&k->expired))
            give_role(t, k->role, call->arena, now);
        return k == NULL ? 0 : (int64_t)k->created_us;
    }
    if (access_account_disabled(t, name) || (p != NULL && p->disabled))
        return 0;
    if (p != NULL)
        give_role(t, p->role, call->arena, now);
    else if (admins_has(name))
        give_role(t, SLICE("administrator"), call->arena, now);
    else if (a != NULL)
        give_role(t, a->role, call->arena, now);
    return p == NULL ? 0 : p->generation;
}

/* Whether the actor has what it was let in with, before the turn of its call. Without a role it
 * does only what everybody may do with their own account. */
static bool has_access_still(struct command_call *call)
{
    struct principal now = { 0 };
    bool has = !principal_is_remote(&call->who) || call->who.grants.len == 0;
    const struct access_table *t = access_table_begin();
    bool read = t != NULL;
    if (read && !has)
        has = actor_now(call, t, &now) == call->who.generation &&
              (call->who.itself || slice_eq(now.grants, call->who.grants));
    access_table_end();
    if (!read)
        access_fail_unread(call);
    else if (!has)
        command_fail(call, E_DENIED,
                     "what %.*s may do was changed or taken meanwhile; log in again, or use "
                     "another token",
                     SLICE_ARG(owner_of_call(call)));
    return read && has;
}

bool access_role_grants(struct command_call *call, slice name, slice *grants)
{
    const struct access_table *t = access_table_begin();
    const struct role *r = t == NULL ? NULL : access_role(t, name);
    bool read = t != NULL;
    if (r != NULL)
        *grants = slice_dup(call->arena, r->grants);
    access_table_end();
    if (!read)
        access_fail_unread(call);
    else if (r == NULL)
        command_fail(call, E_NOTFOUND, "there is no role %.*s; `role list` shows all",
                     SLICE_ARG(name));
    return !call->ended;
}

static bool is_built_in(struct command_call *call, slice name)
{
    const struct access_table *t = access_table_begin();
    const struct role *r = t == NULL ? NULL : access_role(t, name);
    bool fixed = r != NULL && r->doc != NULL;
    bool full = t != NULL && r == NULL && t->role_count >= ACCESS_ROLES_MAX;
    access_table_end();
    if (fixed)
        command_fail(call, E_EXISTS, "the role %.*s is built in; choose another name",
                     SLICE_ARG(name));
    else if (full)
        command_fail(call, E_LIMIT, "there are %d roles, which is the most; delete one",
                     ACCESS_ROLES_MAX);
    return call->ended;
}

slice access_grants_now(struct command_call *call, slice name)
{
    const struct access_table *t = access_table_begin();
    const struct role *r = t == NULL ? NULL : access_role(t, name);
    slice now = r == NULL ? (slice){ 0 } : slice_dup(call->arena, r->grants);
    access_table_end();
    return now;
}

static slice admin_role_now(struct command_call *call, slice jid)
{
    const struct admin *a = access_admin(access_table_begin(), jid);
    slice now = a == NULL ? (slice){ 0 } : slice_dup(call->arena, a->role);
    access_table_end();
    return now;
}

static void turn_role_set(struct command_call *call)
{
    slice name = command_arg(call, "name"), grants = command_arg(call, "permissions");
    slice now = access_grants_now(call, name);
    if (!access_patterns_known(call, "permissions") || is_built_in(call, name) ||
        !access_may_change(call, name, now, (slice){ 0 }) ||
        !access_may_give(call, grants, (slice){ 0 }))
        return;
    command_changed(call, now, grants);
    struct store_batch *b = access_change(call);
    STORE_ADD(b, &role_put, 1, SV_T(name), SV_T(grants));
    access_submit(call, b, name, "role set", "");
}

static void run_role_set(struct command_call *call) { access_in_turn(call, turn_role_set); }

/* The first token or account with the role; empty: none. In the arena. */
static slice role_user(struct command_call *call, slice role)
{
    slice user = { 0 };
    const struct access_table *t = access_table_begin();
    for (uint32_t i = 0; t != NULL && i < t->token_count; i++)
        if (slice_eq(t->tokens[i].role, role))
            user = t->tokens[i].name;
    for (uint32_t i = 0; t != NULL && i < t->admin_count; i++)
        if (slice_eq(t->admins[i].role, role))
            user = t->admins[i].jid;
    for (uint32_t i = 0; t != NULL && i < t->person_count; i++)
        if (slice_eq(t->persons[i].role, role))
            user = t->persons[i].name;
    user = slice_dup(call->arena, user);
    access_table_end();
    return user;
}

static void turn_role_del(struct command_call *call)
{
    slice name = command_arg(call, "name"), user = role_user(call, name);
    slice now = access_grants_now(call, name);
    if (is_built_in(call, name) || !access_may_change(call, name, now, (slice){ 0 }))
        return;
    if (user.len > 0) {
        command_fail(call, E_CONFLICT, "%.*s has the role %.*s; give another one, or remove it",
                     SLICE_ARG(user), SLICE_ARG(name));
        return;
    }
    command_changed(call, now, (slice){ 0 });
    struct store_batch *b = access_change(call);
    STORE_ADD(b, &role_drop, STORE_ANY_ROWS, SV_T(name));
    access_submit(call, b, name, "role deleted", "there is no such role; `role list` shows all");
}

static void run_role_del(struct command_call *call) { access_in_turn(call, turn_role_del); }

static bool has_token_room(struct command_call *call, slice name)
{
    const struct access_table *t = access_table_begin();
    bool there = access_token(t, name) != NULL;
    bool full = t != NULL && t->token_count >= ACCESS_TOKENS_MAX;
    access_table_end();
    if (there)
        command_fail(call, E_EXISTS, "there is a token %.*s already; `token revoke` ends it",
                     SLICE_ARG(name));
    else if (full)
        command_fail(call, E_LIMIT, "there are %d tokens, which is the most; revoke one",
                     ACCESS_TOKENS_MAX);
    return !call->ended;
}

/* A token that may do nothing is a mistake. */
static bool is_scope_useful(struct command_call *call, slice grants, slice scope)
{
    char permission[COMMAND_PERMISSION_MAX];
    if (scope.ptr == NULL || access_lacks(&(struct principal){ 0 }, grants, scope, permission))
        return true;
    call->culprit = "scope";
    command_fail(call, E_SYNTAX, "%.*s: the role %.*s gives none of these permissions, only %.*s",
                 SLICE_ARG(scope), SLICE_ARG(command_arg(call, "role")), SLICE_ARG(grants));
    return false;
}

/* When a token that this call makes ends; 0: never. One that is made by a token ends with it at the
 * latest, or it would outlive what it was given for. */
static bool token_end(struct command_call *call, uint64_t now_us, uint64_t *end_us)
{
    slice mark, name;
    char stamp[CLOCK_STAMP_LEN];
    uint64_t most_us = 0;
    bool there = call->who.kind != PRINCIPAL_TOKEN;
    *end_us = now_us + 1000 * (uint64_t)command_number(call, "expires", 0);
    slice_cut(call->who.actor, ':', &mark, &name);
    const struct access_table *t = access_table_begin();
    const struct token *k = there ? NULL : access_token(t, name);
    if (k != NULL) {
        most_us = k->expires_us;
        there = true;
    }
    access_table_end();
    if (*end_us == now_us) /* nothing was said */
        *end_us = most_us;
    clock_stamp(stamp, most_us);
    if (!there) {
        command_fail(call, E_DENIED, "the token %.*s was revoked meanwhile", SLICE_ARG(name));
    } else if (most_us != 0 && *end_us > most_us) {
        call->culprit = "expires";
        command_fail(call, E_DENIED,
                     "expires: found a time after %s, when the token %.*s that asks ends; give a "
                     "shorter time, or none for the same end",
                     stamp, SLICE_ARG(name));
    }
    return !call->ended;
}

static void turn_token_add(struct command_call *call)
{
    slice name = command_arg(call, "name"), role = command_arg(call, "role"), grants = { 0 };
    slice scope = command_arg(call, "scope");
    char token[sizeof ACCESS_TOKEN_MARK + 2 * ACCESS_TOKEN_BYTES], hash[HASH_TEXT + 1];
    uint64_t now_us = clock_wall_us(), end_us;
    if (!access_patterns_known(call, "scope") || !has_token_room(call, name) ||
        !access_role_given(call, &grants) || !is_scope_useful(call, grants, scope) ||
        !access_may_give(call, grants, scope) || !token_end(call, now_us, &end_us))
        return;
    memcpy(token, ACCESS_TOKEN_MARK, sizeof ACCESS_TOKEN_MARK);
    rand_hex(token + sizeof ACCESS_TOKEN_MARK - 1, ACCESS_TOKEN_BYTES);
    hash_of(hash, slice_of(token));
    struct store_batch *b = access_change(call);
    STORE_ADD(b, &token_put, STORE_ANY_ROWS, SV_T(name), SV_T(slice_of(hash)), SV_T(role),
              SV_T(scope.ptr == NULL ? SLICE("") : scope), SV_I((int64_t)end_us),
              SV_I((int64_t)now_us), SV_T(owner_of_call(call)));
    command_row(call);
    command_text(call, "name", name);
    command_text(call, "token", slice_dup(call->arena, slice_of(token)));
    OPENSSL_cleanse(token, sizeof token);
    access_submit(call, b, name, "token made; it is not shown again",
                  "there is such a token already; `token revoke` ends it");
}

static void run_token_add(struct command_call *call) { access_in_turn(call, turn_token_add); }

void access_stamp(struct command_call *call, const char *key, uint64_t us)
{
    char stamp[CLOCK_STAMP_LEN];
    if (us == 0)
        return;
    clock_stamp(stamp, us);
    command_text(call, key, slice_dup(call->arena, slice_of(stamp)));
}

static void turn_token_revoke(struct command_call *call)
{
    slice name = command_arg(call, "name"), role = { 0 }, scope = { 0 }, by = { 0 };
    const struct access_table *t = access_table_begin();
    const struct token *k = access_token(t, name);
    if (k != NULL) {
        role = slice_dup(call->arena, k->role);
        scope = slice_dup(call->arena, k->scope);
        by = slice_dup(call->arena, k->made_by);
    }
    access_table_end();
    if (!access_may_change(call, name, access_grants_now(call, role), scope))
        return;
    if (role.len > 0)
        command_changed(call,
                        command_changed_parts(
                            call->arena,
                            (const struct command_part[]){
                                { "role", role }, { "scope", scope }, { "made_by", by }, { 0 } }),
                        SLICE(""));
    struct store_batch *b = access_change(call);
    STORE_ADD(b, &token_drop, STORE_ANY_ROWS, SV_T(name));
    access_submit(call, b, name, "token revoked", "there is no such token; `token list` shows all");
}

static void run_token_revoke(struct command_call *call) { access_in_turn(call, turn_token_revoke); }

/* For themselves nobody changes who is an administrator; nor of somebody who has more than they. */
static bool may_change_admin(struct command_call *call, slice jid)
{
    if (call->who.own.len > 0 && slice_eq(call->who.own, jid))
        command_fail(call, E_DENIED,
                     "this is your own account; another administrator, or musterctl at the server, "
                     "changes its role");
    else if (admins_has(jid))
        command_fail(call, E_CONFLICT,
                     "%.*s is an administrator by the setting admin.accounts; change that",
                     SLICE_ARG(jid));
    else
        access_may_change(call, jid, access_grants_now(call, admin_role_now(call, jid)),
                          (slice){ 0 });
    return !call->ended;
}

static void turn_admin_add(struct command_call *call)
{
    slice jid = command_arg(call, "jid"), role = command_arg(call, "role"), grants = { 0 };
    const struct access_table *t = access_table_begin();
    bool full = t != NULL && t->admin_count >= ACCESS_ADMINS_MAX;
    access_table_end();
    if (full)
        command_fail(call, E_LIMIT, "%d accounts have a role, which is the most; remove one",
                     ACCESS_ADMINS_MAX);
    if (full || !may_change_admin(call, jid) || !access_role_given(call, &grants) ||
        !access_may_give(call, grants, (slice){ 0 }))
        return;
    command_changed(call, admin_role_now(call, jid), role);
    struct store_batch *b = access_change(call);
    STORE_ADD(b, &admin_put, STORE_ANY_ROWS, SV_T(jid), SV_T(role));
    access_submit(call, b, jid, "role given",
                  "there is no such account; `user add` makes it first");
}

static void run_admin_add(struct command_call *call) { access_in_turn(call, turn_admin_add); }

static void turn_admin_remove(struct command_call *call)
{
    slice jid = command_arg(call, "jid");
    if (!may_change_admin(call, jid))
        return;
    command_changed(call, admin_role_now(call, jid), SLICE(""));
    struct store_batch *b = access_change(call);
    STORE_ADD(b, &admin_drop, STORE_ANY_ROWS, SV_T(jid));
    access_submit(call, b, jid, "role taken",
                  "this account has no role; `admin list` shows those that have one");
}

static void run_admin_remove(struct command_call *call) { access_in_turn(call, turn_admin_remove); }

/* An account is deleted: whoever gets its address next has no role. */
static void access_remove(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &admin_drop, STORE_ANY_ROWS, SV_T(a->jid));
}

static void accounts_changed(struct worker *w, const struct setting *s)
{
    (void)s;
    access_read_again(w);
}

/* Everybody in the list has a role: a row of ops/admins.h, which knows nothing of roles. */
static void access_begin(void)
{
    admin_accounts.changed = accounts_changed;
    access_turns_begin(has_access_still);
}

static void access_account_gone(struct worker *w, slice bare)
{
    (void)bare;
    access_read_again(w);
}

/* At its home alone: it is made anew and has kept its role, or is disabled now. */
static void access_account_changed(struct worker *w, slice bare)
{
    if (access_has_role(bare))
        access_changed(w, &(struct asker){ 0 });
}

#define NAME_ARG(of, text)                                                                         \
    {                                                                                              \
        .name = "name", .kind = ARG_POSITIONAL, .min = 1, .max = ACCESS_NAME_MAX, .refers = (of),  \
        .check = param_is_name, .form = PARAM_NAME, .doc = text                                    \
    }
#define ROLE_ARG(how)                                                                              \
    {                                                                                              \
        .name = "role", .kind = how, .min = 1, .max = ACCESS_NAME_MAX, .refers = REFERS_ROLE,      \
        .check = param_is_name, .form = "the name of a role",                                      \
        .doc = "its role: see the list of roles"                                                   \
    }
#define CHANGE                                                                                     \
    .effect = COMMAND_CHANGES, .area = "admins", .runs_at = COMMAND_DUTY, .duty = DUTY_ACCESS

static struct command role_set = {
    .name = "role set",
    .rest = "PUT /roles/{name}",
    CHANGE,
    .args = (const struct command_arg[]){ NAME_ARG(REFERS_ROLE, "name of the role"),
                                          { .name = "permissions",
                                            .kind = ARG_POSITIONAL,
                                            .min = 1,
                                            .max = GRANTS_BYTES_MAX,
                                            .many = true,
                                            .check = grants_are_valid,
                                            .form = GRANTS_FORM,
                                            .doc = "what it may do" },
                                          { 0 } },
    .run = run_role_set,
    .doc = "Makes a role, or changes its permissions. The permission of a command is its area with "
           ".read or .write. Nobody can give a permission that they do not have.",
};
static struct command role_del = {
    .name = "role del",
    .rest = "DELETE /roles/{name}",
    CHANGE,
    .args = (const struct command_arg[]){ NAME_ARG(REFERS_ROLE, "name of the role"), { 0 } },
    .run = run_role_del,
    .doc = "Deletes a role. It must not be in use.",
};
static struct command token_add = {
    .name = "token add",
    .rest = "POST /tokens",
    CHANGE,
    .args =
        (const struct command_arg[]){
            NAME_ARG(REFERS_NOTHING, "name of the token"),
            ROLE_ARG(ARG_POSITIONAL),
            { .name = "scope",
              .kind = ARG_OPTION,
              .min = 1,
              .max = GRANTS_BYTES_MAX,
              .many = true,
              .check = grants_are_valid,
              .form = GRANTS_FORM,
              .doc = "only these permissions of the role" },
            { .name = "expires",
              .kind = ARG_OPTION,
              .type = PARAM_MS,
              .min = EXPIRES_MIN_MS,
              .max = INT64_C(3650) * 24 * 3600 * 1000,
              .doc = "how long it is valid; without it, until it is revoked, or as long as the "
                     "token that makes it" },
            { 0 } },
    .run = run_token_add,
    .doc = "Makes an access token for a program. The token is shown once; the server keeps only a "
           "hash of it.",
    .columns = (const struct command_column[]){ { .name = "name", .doc = "its name" },
                                                { .name = "token", .doc = "the token" },
                                                { 0 } },
};
static struct command token_revoke = {
    .name = "token revoke",
    .rest = "DELETE /tokens/{name}",
    CHANGE,
    .args = (const struct command_arg[]){ NAME_ARG(REFERS_TOKEN, "name of the token"), { 0 } },
    .run = run_token_revoke,
    .doc = "Ends an access token, and those that were made by it. From then on they are refused on "
           "all nodes.",
};
static struct command admin_add = {
    .name = "admin add",
    .rest = "PUT /users/{jid}/role",
    CHANGE,
    .args = (const struct command_arg[]){ COMMAND_USER_ARG, ROLE_ARG(ARG_POSITIONAL), { 0 } },
    .run = run_admin_add,
    .doc = "Gives an account a role, or another one. Its user may then run the commands of that "
           "role from a client. Accounts of admin.accounts are administrators.",
};
static struct command admin_remove = {
    .name = "admin remove",
    .rest = "DELETE /users/{jid}/role",
    CHANGE,
    .args = (const struct command_arg[]){ COMMAND_ANY_USER_ARG, { 0 } },
    .run = run_admin_remove,
    .doc = "Takes the role from an account.",
};
const struct feature access_feature = {
    .name = "access",
    .parts = PART_ACCOUNT,
    .schema = &schema,
    .commands =
        (struct command *const[]){ &role_set, &role_del, &access_role_list, &access_role_show,
                                   &token_add, &access_token_list, &access_token_show,
                                   &token_revoke, &admin_add, &admin_remove, &access_admin_list,
                                   &access_admin_show, &access_user_role, NULL },
    .logs = (struct log_area *const[]){ &log_access, NULL },
    .messages = (const struct message_row *const[]){ &access_changed_message, NULL },
    .start = access_begin,
    .account.disown = access_remove,
    .account.created = access_account_changed,
    .account.left_disabled = access_account_changed,
    .account.disowned = access_account_gone,
    .worker.start = access_start,
    .worker.ended = access_worker_ended,
};
