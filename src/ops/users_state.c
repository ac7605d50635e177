/* users_state: accounts that are disabled and enabled again. */
#include "account/account.h"
#include "account/account_life.h"
#include "auth/credentials.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/ensure.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/question.h"
#include "ops/access.h"
#include "ops/console.h"
#include "ops/events.h"
#include "ops/profile_values.h"
#include "ops/unserved.h"
#include "ops/users.h"
#include "ops/users_profile.h"

struct store_stmt users_known = {
    .name = "users.known",
    .sql = "SELECT id FROM account WHERE jid = $1",
    .params = "t",
    .cols = "i",
};
static struct store_stmt users_enable = {
    .name = "users.enable",
    .sql = "UPDATE account SET disabled = 0 WHERE jid = $1",
    .params = "t",
    .cols = "",
};
/* An account that is not loaded is disabled in the table only. */
static struct store_stmt users_disable = {
    .name = "users.disable",
    .sql = "UPDATE account SET disabled = 1 WHERE jid = $1",
    .params = "t",
    .cols = "",
};
struct store_stmt *const users_stmts[] = { &users_known,
                                           &users_enable,
                                           &users_disable,
                                           &users_counts,
                                           &unserved_accounts,
                                           &users_stored,
                                           &users_stored_by_jid,
                                           &users_profile_put,
                                           &users_profile_get,
                                           &users_named,
                                           &profile_value_find,
                                           &profile_values_all,
                                           NULL };

/* A command on its way; in the arena of its call. */
struct task {
    struct command_call *call;
    struct worker *home;
    slice jid;
    unsigned ended; /* sessions */
};

static struct task *users_state_task_new(struct command_call *call)
{
    struct task *t = arena_new(call->arena, struct task, 1);
    *t = (struct task){ .call = call, .home = call->worker, .jid = command_arg(call, "jid") };
    return t;
}

static void users_state_failed(const struct task *t, enum err e)
{
    if (e == E_NOTFOUND)
        users_fail_missing(t->call, t->jid);
    else
        users_fail_cause(t->call, t->jid, e);
}

static void tell_state(const struct task *t, enum event_kind kind)
{
    event_tell(t->home, kind, t->jid, (const struct event_field[]){ { "jid", t->jid }, { 0 } });
}

/* user disable */

static void told_disabled(struct worker *w, void *arg)
{
    struct task *t = arg;
    (void)w;
    command_done(t->call, "account %.*s disabled, sessions ended: %u", SLICE_ARG(t->jid), t->ended);
}

static void disabled(void *arg, enum err e)
{
    struct task *t = arg;
    if (e != OK) {
        users_state_failed(t, e);
        return;
    }
    tell_state(t, EVENT_USER_DISABLED);
    console_end_name(t->home, t->jid);
    if (access_has_role(t->jid))
        access_changed(t->home, &(struct asker){ .done = told_disabled, .arg = t });
    else
        told_disabled(t->home, t);
}

static void row_disabled(void *arg, enum store_result result, const struct store_batch *b)
{
    enum err e = err_of_store(result);
    disabled(arg, e == OK && store_changed(b, 0) == 0 ? E_NOTFOUND : e);
}

static void users_state_disable(struct account *a, enum err e, void *arg)
{
    struct task *t = arg;
    ensure(account_here(a) && t->ended == 0);
    if (e != OK) {
        users_state_failed(t, e);
    } else if (a->state == ACTOR_READY) {
        t->ended = account_sessions(a);
        account_disable(a, disabled, t);
    } else {
        struct store_batch *b = store_write(worker_store(a->worker), credentials_lane(t->jid));
        STORE_ADD(b, &users_disable, STORE_ANY_ROWS, SV_T(t->jid));
        store_submit(b, worker_loop(a->worker), STORE_UNTIL_DONE, row_disabled, t);
    }
}

static void run_disable(struct command_call *call)
{
    struct task *t = users_state_task_new(call);
    if (!access_may_touch(call, t->jid))
        return;
    if (users_is_self(call, t->jid)) {
        command_fail(call, E_DENIED,
                     "this is your own account; another administrator, or musterctl at the server, "
                     "disables it");
        return;
    }
    account_with_unasked(t->home, t->jid, users_state_disable, t);
}

/* user enable */

static void told_role(struct worker *w, void *arg)
{
    struct task *t = arg;
    (void)w;
    command_done(t->call, "account %.*s enabled", SLICE_ARG(t->jid));
}

static void told_again(struct worker *w, void *arg)
{
    const struct task *t = arg;
    if (access_has_role(t->jid))
        access_changed(w, &(struct asker){ .done = told_role, .arg = arg });
    else
        told_role(w, arg);
}

struct enabled {
    slice bare;
};

static void enabled_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)from;
    ensure(worker_is_here(w));
    EMIT(account.enabled, w, ((const struct enabled *)message)->bare);
}

static const struct message_field enabled_fields[] = { F_BARE(struct enabled, bare), { 0 } };

const struct message_row enabled_message = {
    .id = 24,
    .scope = MESSAGE_CLUSTER,
    .name = "account-enabled",
    .size = sizeof(struct enabled),
    .fields = enabled_fields,
    .run = enabled_run,
};

static void users_state_enabled(void *arg, enum store_result result, const struct store_batch *b)
{
    struct task *t = arg;
    enum err e = err_of_store(result);
    ensure(worker_is_here(t->home));
    if (e == OK && store_changed(b, 0) == 0)
        e = E_NOTFOUND;
    if (e != OK) {
        users_state_failed(t, e);
        return;
    }
    tell_state(t, EVENT_USER_ENABLED);
    account_forget(t->home, t->jid);
    each_home(t->home, &enabled_message, &(struct enabled){ t->jid },
              &(struct asker){ .done = told_again, .arg = t });
}

static void run_enable(struct command_call *call)
{
    struct task *t = users_state_task_new(call);
    if (!access_may_touch(call, t->jid))
        return;
    struct store_batch *b = store_write(worker_store(t->home), credentials_lane(t->jid));
    STORE_ADD(b, &users_enable, STORE_ANY_ROWS, SV_T(t->jid));
    store_submit(b, worker_loop(t->home), STORE_UNTIL_DONE, users_state_enabled, t);
}

static const struct command_arg jid_args[] = {
    COMMAND_USER_ARG,
    { 0 },
};

struct command user_disable = {
    .name = "user disable",
    .rest = "PUT /users/{jid}/disabled",
    .effect = COMMAND_CHANGES,
    .area = "users",
    .args = jid_args,
    .home = "jid",
    .run = run_disable,
    .doc = "Disables an account: its sessions end, nobody can log in, and to others it seems not "
           "to exist. Its data is kept.",
};
struct command user_enable = {
    .name = "user enable",
    .rest = "DELETE /users/{jid}/disabled",
    .effect = COMMAND_CHANGES,
    .area = "users",
    .args = jid_args,
    .home = "jid",
    .run = run_enable,
    .doc = "Enables a disabled account.",
};
