#include "ops/administrators.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/rand.h"
#include "base/setting.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "ops/access_table.h"
#include "ops/access_turn.h"
#include "ops/second_factor.h"
#include "xmpp/jid.h"
#include <openssl/crypto.h>

enum { MADE_BYTES = 12, CLASSES = 4 };

static struct setting password_length = {
    .name = "admin.password-length",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 12,
    .min = 1,
    .max = 128,
    .unit = "characters",
    .doc = "The shortest password that an administrator may have.",
};
static struct setting password_classes = {
    .name = "admin.password-classes",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 1,
    .min = 1,
    .max = CLASSES,
    .unit = "classes",
    .doc = "Of how many classes of characters the password of an administrator must have some: "
           "lower-case letters, upper-case letters, digits, and others.",
};
static struct setting password_history = {
    .name = "admin.password-history",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 5,
    .min = 0,
    .max = PASSWORD_KEYS_MAX - 1,
    .unit = "passwords",
    .doc = "How many passwords of an administrator, with the current one, may not be used again.",
};
static struct setting password_age = {
    .name = "admin.password-age",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = PARAM_NONE,
    .min = INT64_C(24) * 3600 * 1000,
    .max = PARAM_NONE,
    .allow_none = true,
    .doc = "How long an administrator may use a password. With an older one they cannot log in "
           "until `admin password` sets another. `none`: forever.",
};

static struct store_stmt person_put = {
    .name = "administrator.put",
    .sql = "INSERT INTO administrator(name, role, disabled, generation, created_us, changed_us) "
           "VALUES($1, $2, 0, $3, $3, $3) ON CONFLICT(name) DO NOTHING",
    .params = "tti",
    .cols = "",
};
/* The time is the generation, too: a name that is made again has another one. */
static struct store_stmt person_changed = {
    .name = "administrator.changed",
    .sql = "UPDATE administrator SET generation = $2, changed_us = $2 WHERE name = $1",
    .params = "ti",
    .cols = "",
};
static struct store_stmt person_role = {
    .name = "administrator.role",
    .sql = "UPDATE administrator SET role = $2, generation = $3 WHERE name = $1",
    .params = "tti",
    .cols = "",
};
static struct store_stmt person_disable = {
    .name = "administrator.disable",
    .sql = "UPDATE administrator SET disabled = $2, generation = $3 WHERE name = $1",
    .params = "tii",
    .cols = "",
};
static struct store_stmt person_drop = {
    .name = "administrator.drop",
    .sql = "DELETE FROM administrator WHERE name = $1",
    .params = "t",
    .cols = "",
};
static struct store_stmt keys_get = {
    .name = "administrator.keys",
    .sql = "SELECT iterations, salt, stored_key, server_key FROM administrator_password "
           "WHERE name = $1 ORDER BY number DESC LIMIT $2",
    .params = "ti",
    .cols = "ibbb",
};
static struct store_stmt keys_put = {
    .name = "administrator.keys-put",
    .sql = "INSERT INTO administrator_password(name, number, iterations, salt, stored_key, "
           "server_key) SELECT $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5 "
           "FROM administrator_password WHERE name = $1",
    .params = "tibbb",
    .cols = "",
};
static struct store_stmt keys_trim = {
    .name = "administrator.keys-trim",
    .sql = "DELETE FROM administrator_password WHERE name = $1 AND number <= "
           "(SELECT max(number) FROM administrator_password WHERE name = $1) - $2",
    .params = "ti",
    .cols = "",
};
static struct store_stmt keys_drop = {
    .name = "administrator.keys-drop",
    .sql = "DELETE FROM administrator_password WHERE name = $1",
    .params = "t",
    .cols = "",
};
static const struct store_schema schema = {
    .feature = "administrators",
    .stmts = (struct store_stmt *const[]){ &person_put, &person_changed, &person_role,
                                           &person_disable, &person_drop, &keys_get, &keys_put,
                                           &keys_trim, &keys_drop, NULL },
};

void administrator_add_read(struct store_batch *b, slice name, unsigned passwords)
{
    ensure(passwords > 0 && passwords <= PASSWORD_KEYS_MAX);
    STORE_ADD(b, &keys_get, STORE_ANY_ROWS, SV_T(name), SV_I(passwords));
}

unsigned administrator_keys(const struct store_batch *b, unsigned stmt, struct scram_keys *out)
{
    unsigned count = 0;
    const size_t len = scram_hash_len(SCRAM_SHA_512);
    for (uint32_t i = 0; i < store_row_count(b, stmt) && count < PASSWORD_KEYS_MAX; i++) {
        int64_t iterations = store_int(b, stmt, i, 0);
        slice salt = store_text(b, stmt, i, 1), stored = store_text(b, stmt, i, 2);
        slice server = store_text(b, stmt, i, 3);
        if (salt.len == 0 || salt.len > sizeof out->salt || stored.len != len ||
            server.len != len || iterations < 1 || iterations > INT32_MAX)
            continue;
        struct scram_keys *k = &out[count++];
        *k = (struct scram_keys){ .salt_len = (uint8_t)salt.len,
                                  .iterations = (uint32_t)iterations };
        memcpy(k->salt, salt.ptr, salt.len);
        memcpy(k->stored_key, stored.ptr, len);
        memcpy(k->server_key, server.ptr, len);
    }
    return count;
}

bool administrator_password_is_old(slice name)
{
    int64_t age_ms = setting_int(&password_age);
    const struct person *p = access_person(access_table_begin(), name);
    bool old = p != NULL && age_ms < PARAM_NONE &&
               clock_wall_us() >= p->changed_us + (uint64_t)age_ms * 1000;
    access_table_end();
    return old;
}

/* The password of a command. */

static unsigned classes_of(slice text)
{
    bool lower = false, upper = false, digit = false, other = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        lower = lower || (c >= 'a' && c <= 'z');
        upper = upper || (c >= 'A' && c <= 'Z');
        digit = digit || (c >= '0' && c <= '9');
        other =
            other || !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'));
    }
    return (unsigned)lower + upper + digit + other;
}

static int64_t characters_of(slice text)
{
    int64_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += ((uint8_t)text.ptr[i] & 0xc0) != 0x80;
    return count;
}

static bool fits_policy(struct command_call *call, slice password)
{
    int64_t length = setting_int(&password_length), classes = setting_int(&password_classes);
    if (characters_of(password) < length)
        command_fail(call, E_SYNTAX,
                     "found a password of %lld characters, allowed: at least %lld "
                     "(admin.password-length)",
                     (long long)characters_of(password), (long long)length);
    else if (classes_of(password) < classes)
        command_fail(call, E_SYNTAX,
                     "found a password with %u classes of characters, allowed: at least %lld of "
                     "lower-case letters, upper-case letters, digits and others "
                     "(admin.password-classes)",
                     classes_of(password), (long long)classes);
    return !call->ended;
}

/* One that the server makes fits every policy: it has all classes. */
static slice password_made(struct command_call *call)
{
    char hex[2 * MADE_BYTES + 1], text[6 * MADE_BYTES];
    unsigned groups = (unsigned)(setting_int(&password_length) + 31) / 32;
    size_t len = 0;
    text[len++] = 'M';
    for (unsigned i = 0; i < groups && len + sizeof hex < sizeof text; i++) {
        rand_hex(hex, MADE_BYTES);
        len += (size_t)snprintf(text + len, sizeof text - len, "-%s", hex);
    }
    return slice_dup(call->arena, (slice){ text, len });
}

struct password_change {
    struct command_call *call;
    struct password_job job;
    struct scram_keys keys[PASSWORD_KEYS_MAX];
    slice name, password;
    bool made, creates;
};

static void add_keys(struct store_batch *b, const struct password_change *c)
{
    const struct scram_keys *k = &c->job.made;
    const size_t len = scram_hash_len(SCRAM_SHA_512);
    int64_t kept = setting_int(&password_history);
    ensure(k->iterations == PASSWORD_ITERATIONS);
    STORE_ADD(b, &keys_put, 1, SV_T(c->name), SV_I(k->iterations),
              SV_B(((slice){ (const char *)k->salt, k->salt_len })),
              SV_B(((slice){ (const char *)k->stored_key, len })),
              SV_B(((slice){ (const char *)k->server_key, len })));
    STORE_ADD(b, &keys_trim, STORE_ANY_ROWS, SV_T(c->name), SV_I(kept > 1 ? kept : 1));
}

static bool is_there(struct command_call *call, slice name, slice *role)
{
    const struct person *p = access_person(access_table_begin(), name);
    bool there = p != NULL;
    *role = there ? slice_dup(call->arena, p->role) : (slice){ 0 };
    access_table_end();
    return there;
}

/* Nobody changes their own role or state, or somebody who has more than they. */
static bool may_change_person(struct command_call *call, slice name)
{
    slice role, rest = call->who.actor, own = { 0 };
    if (slice_starts(rest, SLICE("console:")))
        slice_cut(slice_from(rest, sizeof "console:" - 1), '/', &own, &rest);
    if (!is_there(call, name, &role))
        command_fail(call, E_NOTFOUND,
                     "%.*s: there is no such administrator; `admin list` shows all",
                     SLICE_ARG(name));
    else if (slice_eq(own, name) && strcmp(call->command->name, "admin password") != 0)
        command_fail(call, E_DENIED,
                     "this is your own name; another administrator, or musterctl at the server, "
                     "changes it");
    else /* whose role is gone can do nothing */
        access_may_change(call, name, access_grants_now(call, role), (slice){ 0 });
    return !call->ended;
}

static bool may_create_person(struct command_call *call, slice name)
{
    slice role, grants;
    const struct access_table *t = access_table_begin();
    bool full = t != NULL && t->person_count >= ACCESS_ADMINS_MAX;
    access_table_end();
    if (is_there(call, name, &role))
        command_fail(call, E_EXISTS, "there is an administrator %.*s already", SLICE_ARG(name));
    else if (full)
        command_fail(call, E_LIMIT, "there are %d administrators, which is the most; delete one",
                     ACCESS_ADMINS_MAX);
    else if (access_role_given(call, &grants))
        access_may_give(call, grants, (slice){ 0 });
    return !call->ended;
}

/* In its turn. While the key was made, another call may have changed what it begins with. */
static void password_write(void *arg)
{
    struct password_change *c = arg;
    struct command_call *call = c->call;
    int64_t now_us = (int64_t)clock_wall_us();
    if (c->creates ? !may_create_person(call, c->name) : !may_change_person(call, c->name))
        return;
    struct store_batch *b = access_change(call);
    if (c->creates)
        STORE_ADD(b, &person_put, 1, SV_T(c->name), SV_T(command_arg(call, "role")), SV_I(now_us));
    else
        STORE_ADD(b, &person_changed, 1, SV_T(c->name), SV_I(now_us));
    add_keys(b, c);
    OPENSSL_cleanse(c->keys, sizeof c->keys);
    OPENSSL_cleanse(&c->job.made, sizeof c->job.made);
    if (c->made) {
        command_row(call);
        command_text(call, "name", c->name);
        command_text(call, "password", c->password);
    }
    access_submit(call, b, c->name, c->creates ? "administrator made" : "password changed",
                  "there is no such administrator; `admin list` shows all");
}

static void password_is_made(struct password_job *j)
{
    struct password_change *c = j->arg;
    ensure(worker_is_here(c->call->worker) && !c->call->ended);
    if (j->e != OK)
        command_fail(c->call, E_AGAIN, "the server is busy with passwords; try again");
    else if (j->fits)
        command_fail(c->call, E_CONFLICT,
                     "this password was used before; choose another (admin.password-history)");
    else
        access_in_turn_with(c->call, password_write, c);
}

static void password_run_job(struct password_change *c, unsigned count)
{
    struct command_call *call = c->call;
    ensure(count <= PASSWORD_KEYS_MAX && c->password.len > 0);
    c->job = (struct password_job){ .password = c->password,
                                    .keys = c->keys,
                                    .count = count,
                                    .makes = true,
                                    .done = password_is_made,
                                    .arg = c };
    password_run(worker_auth(call->worker), &c->job);
}

static void password_history_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct password_change *c = arg;
    if (result != STORE_OK)
        command_fail_cause(c->call, err_of_store(result), NULL);
    else
        password_run_job(c, administrator_keys(b, 0, c->keys));
}

/* NULL: the call has failed. */
static struct password_change *password_change_new(struct command_call *call)
{
    struct password_change *c = arena_new(call->arena, struct password_change, 1);
    slice text = command_arg(call, "password");
    c->call = call;
    c->name = command_arg(call, "name");
    c->made = text.len == 0;
    c->password = c->made ? password_made(call) : text;
    if (!c->made && jid_prep_password(text, call->arena, &c->password) != OK)
        command_fail(call, E_SYNTAX, "the password %s; choose another",
                     jid_password_problem(text, call->arena));
    else if (!c->made)
        fits_policy(call, c->password);
    return call->ended ? NULL : c;
}

/* Commands. */

static void create_compared(struct password_job *j)
{
    struct password_change *c = j->arg;
    struct command_call *call = c->call;
    OPENSSL_cleanse(c->keys, sizeof c->keys);
    if (j->e != OK) {
        command_fail(call, E_AGAIN, "the server is busy with passwords; try again");
        return;
    }
    call->culprit = j->fits ? NULL : "password"; /* the call may be freed when it has failed */
    command_fail(call, E_EXISTS, "there is an administrator %.*s already, with %s",
                 SLICE_ARG(c->name),
                 j->fits ? "this password" : "another password; `admin password` changes it");
}

static void create_keys_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct password_change *c = arg;
    if (result != STORE_OK) {
        command_fail_cause(c->call, err_of_store(result), NULL);
        return;
    }
    c->job = (struct password_job){ .password = c->password,
                                    .keys = c->keys,
                                    .count = administrator_keys(b, 0, c->keys),
                                    .done = create_compared,
                                    .arg = c };
    password_run(worker_auth(c->call->worker), &c->job);
}

/* A client that has lost the answer repeats its request, and is told whether they have this
 * password. Only who could also give them another one: it would be a place to guess. */
static void create_again(struct command_call *call)
{
    slice name = command_arg(call, "name");
    struct password_change *c = may_change_person(call, name) ? password_change_new(call) : NULL;
    if (c == NULL)
        return;
    struct store_batch *b = store_read(worker_store(call->worker), 0);
    administrator_add_read(b, c->name, 1);
    store_submit(b, worker_loop(call->worker), 0, create_keys_read, c);
}

static void run_create(struct command_call *call)
{
    slice name = command_arg(call, "name"), role;
    if (is_there(call, name, &role) && command_arg(call, "password").len > 0) {
        create_again(call);
        return;
    }
    struct password_change *c = may_create_person(call, name) ? password_change_new(call) : NULL;
    if (c == NULL)
        return;
    command_changed(call, (slice){ 0 }, command_arg(call, "role"));
    c->creates = true;
    password_run_job(c, 0);
}

static void run_password(struct command_call *call)
{
    struct worker *w = call->worker;
    int64_t passwords = setting_int(&password_history);
    if (!may_change_person(call, command_arg(call, "name")))
        return;
    struct password_change *c = password_change_new(call);
    if (c == NULL)
        return;
    if (passwords == 0) {
        password_run_job(c, 0);
        return;
    }
    struct store_batch *b = store_read(worker_store(w), 0);
    administrator_add_read(b, c->name, (unsigned)passwords);
    store_submit(b, worker_loop(w), 0, password_history_read, c);
}

static void turn_admin_role(struct command_call *call)
{
    slice name = command_arg(call, "name"), role = command_arg(call, "role"), was, grants;
    if (!may_change_person(call, name) || !access_role_given(call, &grants) ||
        !access_may_give(call, grants, (slice){ 0 }))
        return;
    (void)is_there(call, name, &was);
    command_changed(call, was, role);
    struct store_batch *b = access_change(call);
    STORE_ADD(b, &person_role, STORE_ANY_ROWS, SV_T(name), SV_T(role),
              SV_I((int64_t)clock_wall_us()));
    access_submit(call, b, name, "role given", "there is no such administrator");
}

static void run_role(struct command_call *call) { access_in_turn(call, turn_admin_role); }

static void set_state(struct command_call *call, int64_t disabled, const char *done)
{
    slice name = command_arg(call, "name");
    if (!may_change_person(call, name))
        return;
    struct store_batch *b = access_change(call);
    STORE_ADD(b, &person_disable, STORE_ANY_ROWS, SV_T(name), SV_I(disabled),
              SV_I((int64_t)clock_wall_us()));
    access_submit(call, b, name, done, "there is no such administrator");
}

static void turn_admin_disable(struct command_call *call)
{
    set_state(call, 1, "disabled, and its sessions ended");
}

static void run_admin_disable(struct command_call *call)
{
    access_in_turn(call, turn_admin_disable);
}

static void turn_admin_enable(struct command_call *call) { set_state(call, 0, "enabled"); }

static void run_admin_enable(struct command_call *call) { access_in_turn(call, turn_admin_enable); }

static void turn_admin_delete(struct command_call *call)
{
    slice name = command_arg(call, "name"), role;
    if (!may_change_person(call, name))
        return;
    (void)is_there(call, name, &role);
    command_changed(call, role, (slice){ 0 });
    struct store_batch *b = access_change(call);
    STORE_ADD(b, &person_drop, STORE_ANY_ROWS, SV_T(name));
    STORE_ADD(b, &keys_drop, STORE_ANY_ROWS, SV_T(name));
    factor_add_drop(b, name);
    access_submit(call, b, name, "deleted, and its sessions ended",
                  "there is no such administrator");
}

static void run_admin_delete(struct command_call *call) { access_in_turn(call, turn_admin_delete); }

#define NAME_ARG(OF)                                                                               \
    {                                                                                              \
        .name = "name", .kind = ARG_POSITIONAL, .min = 1, .max = ACCESS_NAME_MAX, .refers = (OF),  \
        .check = param_is_name, .form = PARAM_NAME, .doc = "its name"                              \
    }
#define ROLE_ARG                                                                                   \
    {                                                                                              \
        .name = "role", .kind = ARG_POSITIONAL, .min = 1, .max = ACCESS_NAME_MAX,                  \
        .check = param_is_name, .form = "the name of a role", .refers = REFERS_ROLE,               \
        .doc = "its role: see the list of roles"                                                   \
    }
#define PASSWORD_ARG                                                                               \
    {                                                                                              \
        .name = "password", .kind = ARG_SECRET_MADE, .type = PARAM_SECRET, .max = 1024,            \
        .doc = "its password; without it the server makes one and shows it once"                   \
    }
#define CHANGE                                                                                     \
    .effect = COMMAND_CHANGES, .area = "admins", .runs_at = COMMAND_DUTY, .duty = DUTY_ACCESS
#define MADE_COLUMNS                                                                               \
    (const struct command_column[])                                                                \
    {                                                                                              \
        { .name = "name", .doc = "its name" },                                                     \
            { .name = "password", .doc = "the password that the server made" },                    \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

static struct command admin_create = {
    .name = "admin create",
    .rest = "PUT /admins/{name}",
    CHANGE,
    .args = (const struct command_arg[]){ NAME_ARG(REFERS_NOTHING), ROLE_ARG, PASSWORD_ARG, { 0 } },
    .run = run_create,
    .doc = "Makes an administrator who has no account. They log in to the console and the API with "
           "a name and a password. Nobody can give a role that can do more than their own.",
    .columns = MADE_COLUMNS,
};
static struct command admin_password = {
    .name = "admin password",
    .rest = "PUT /admins/{name}/password",
    CHANGE,
    .args = (const struct command_arg[]){ NAME_ARG(REFERS_ADMIN), PASSWORD_ARG, { 0 } },
    .run = run_password,
    .doc = "Changes the password of an administrator. Their sessions end.",
    .columns = MADE_COLUMNS,
};
static struct command admin_role = {
    .name = "admin role",
    .rest = "PATCH /admins/{name}",
    CHANGE,
    .args = (const struct command_arg[]){ NAME_ARG(REFERS_ADMIN), ROLE_ARG, { 0 } },
    .run = run_role,
    .doc = "Gives an administrator another role. Their sessions end.",
};
static struct command admin_disable = {
    .name = "admin disable",
    .rest = "PUT /admins/{name}/disabled",
    CHANGE,
    .args = (const struct command_arg[]){ NAME_ARG(REFERS_ADMIN), { 0 } },
    .run = run_admin_disable,
    .doc = "Refuses an administrator from now on. Their sessions end.",
};
static struct command admin_enable = {
    .name = "admin enable",
    .rest = "DELETE /admins/{name}/disabled",
    CHANGE,
    .args = (const struct command_arg[]){ NAME_ARG(REFERS_ADMIN), { 0 } },
    .run = run_admin_enable,
    .doc = "Lets a disabled administrator log in again.",
};
static struct command admin_delete = {
    .name = "admin delete",
    .rest = "DELETE /admins/{name}",
    CHANGE,
    .args = (const struct command_arg[]){ NAME_ARG(REFERS_ADMIN), { 0 } },
    .run = run_admin_delete,
    .doc = "Deletes an administrator. Their password and their second factor go with them.",
    .asks = "The administrator is deleted, and their sessions end.",
};

const struct feature administrators_feature = {
    .name = "administrators",
    .schema = &schema,
    .settings = (struct setting *const[]){ &password_length, &password_classes, &password_history,
                                           &password_age, NULL },
    .commands = (struct command *const[]){ &admin_create, &admin_password, &admin_role,
                                           &admin_disable, &admin_enable, &admin_delete, NULL },
};
