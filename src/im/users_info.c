/* users_info: what operators see of accounts: how many, who is online, and statistics of one.
 */
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/setting.h"
#include "home/worker.h"
#include "im/account.h"
#include "im/feature.h"
#include "im/roster.h"
#include "im/users.h"

struct setting users_idle_time = {
    .name = "users.idle-time",
    .type = PARAM_MS,
    .def = 5 * 60 * 1000,
    .min = 1000,
    .max = SETTING_NONE,
    .doc = "A user whose clients have sent nothing for so long is counted and listed as idle.",
};

struct store_stmt users_counts = {
    .name = "users.counts",
    .sql = "SELECT count(*), coalesce(sum(CASE WHEN disabled <> 0 THEN 1 ELSE 0 END), 0) "
           "FROM account",
    .params = "",
    .cols = "ii",
};
struct store_stmt users_stored = {
    .name = "users.stored",
    .sql = "SELECT a.created_us, (SELECT count(*) FROM entry WHERE owner = a.id) "
           "FROM account a WHERE a.id = $1",
    .params = "i",
    .cols = "ii",
};

/* Of one that is not loaded: it is disabled. */
struct store_stmt users_stored_by_jid = {
    .name = "users.stored-by-jid",
    .sql = "SELECT a.created_us, (SELECT count(*) FROM entry WHERE owner = a.id) "
           "FROM account a WHERE a.jid = $1",
    .params = "t",
    .cols = "ii",
};

/* A command on its way; in the arena of its call. */
struct task {
    struct command_call *call;
    struct account *account; /* pinned while a read is under way */
    slice jid, state;
    uint32_t limit;
    int64_t registered, disabled, active, idle;
    struct worker *home; /* of the account */
    uint32_t contacts;   /* of a disabled one */
};

/* Who is online: has a session, connected or hibernating. */

struct online {
    unsigned sessions;
    uint64_t idle_us; /* of the session that was last active */
    bool idle;
};

static bool is_online(const struct account *a, struct online *out)
{
    uint64_t now_us = clock_mono_us();
    *out = (struct online){ .idle_us = UINT64_MAX };
    LIST_EACH (it, &a->sessions) {
        const struct session *s = CONTAINER_OF(it, struct session, node);
        uint64_t idle_us = now_us > s->active_us ? now_us - s->active_us : 0;
        out->sessions++;
        out->idle_us = idle_us < out->idle_us ? idle_us : out->idle_us;
    }
    out->idle = out->idle_us / 1000 >= (uint64_t)setting_int(&users_idle_time);
    return out->sessions > 0;
}

static void count_worker(struct worker *w, void *arg)
{
    struct task *t = arg;
    struct online o;
    const struct account *a;
    for (uint32_t i = 0; (a = accounts_next(w, &i)) != NULL;) {
        if (!is_online(a, &o))
            continue;
        t->idle += o.idle;
        t->active += !o.idle;
    }
}

static void add_count(struct command_call *call, const char *state, int64_t users)
{
    slice only = command_arg(call, "state");
    if (only.ptr != NULL && !slice_is(only, state))
        return;
    command_row(call);
    command_text(call, "state", slice_of(state));
    command_int(call, "users", users);
}

static void counted(struct worker *w, void *arg)
{
    struct task *t = arg;
    (void)w;
    add_count(t->call, "registered", t->registered);
    add_count(t->call, "disabled", t->disabled);
    add_count(t->call, "online", t->active + t->idle);
    add_count(t->call, "active", t->active);
    add_count(t->call, "idle", t->idle);
    command_done(t->call, "%s", "");
}

static void counts_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct task *t = arg;
    if (result != STORE_OK) {
        command_fail(t->call, err_of_store(result), "the accounts could not be counted");
        return;
    }
    t->registered = store_int(b, 0, 0, 0);
    t->disabled = store_int(b, 0, 0, 1);
    node_tour(t->call->worker, count_worker, counted, t);
}

static void run_count(struct command_call *call)
{
    struct worker *w = call->worker;
    struct task *t = arena_new(call->arena, struct task, 1);
    struct store_batch *b = store_read(w->store, 0);
    t->call = call;
    store_add(b, &users_counts, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, w->loop, 0, counts_read, t);
}

static void list_worker(struct worker *w, void *arg)
{
    struct task *t = arg;
    struct online o;
    const struct account *a;
    for (uint32_t i = 0; t->limit > 0 && (a = accounts_next(w, &i)) != NULL;) {
        if (!is_online(a, &o) || (t->state.ptr != NULL && slice_is(t->state, "idle") != o.idle))
            continue;
        command_row(t->call);
        command_text(t->call, "jid", a->jid);
        command_text(t->call, "state", o.idle ? SLICE("idle") : SLICE("active"));
        command_int(t->call, "sessions", o.sessions);
        command_int(t->call, "idle_s", (int64_t)(o.idle_us / 1000000));
        t->limit--;
    }
}

static void listed(struct worker *w, void *arg)
{
    struct task *t = arg;
    (void)w;
    command_done(t->call, "%s", "");
}

static void run_online(struct command_call *call)
{
    struct task *t = arena_new(call->arena, struct task, 1);
    *t = (struct task){ .call = call, .state = command_arg(call, "state"), .limit = USER_ROWS_MAX };
    if (users_limit_ok(call, &t->limit))
        node_tour(call->worker, list_worker, listed, t);
}

/* Of one account. */

static void add_fact(struct command_call *call, const char *name, slice value)
{
    command_row(call);
    command_text(call, "name", slice_of(name));
    command_text(call, "value", value);
}

static void add_number(struct command_call *call, const char *name, int64_t value)
{
    add_fact(call, name, slice_of(arena_printf(call->arena, "%lld", (long long)value)));
}

static void add_when(struct command_call *call, const char *name, uint64_t wall_us)
{
    char stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, wall_us);
    add_fact(call, name, slice_of(stamp));
}

static void add_sessions(struct command_call *call, const struct account *a)
{
    uint64_t newest_us = 0;
    unsigned count = 0;
    LIST_EACH (it, &a->sessions) {
        const struct session *s = CONTAINER_OF(it, struct session, node);
        add_fact(call, "resource", session_resource(s));
        add_fact(call, "address", slice_of(s->peer));
        newest_us = s->since_us > newest_us ? s->since_us : newest_us;
        count++;
    }
    add_number(call, "sessions", count);
    if (count > 0)
        add_when(call, "last login", newest_us);
}

static void stats_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct task *t = arg;
    struct account *a = t->account;
    struct command_call *call = t->call;
    if (result != STORE_OK || store_row_count(b, 0) == 0) {
        command_fail(call, result == STORE_OK ? E_NOTFOUND : err_of_store(result),
                     "the account could not be read");
    } else {
        add_sessions(call, a);
        add_number(call, "contacts", roster_count(a));
        add_number(call, "stored messages", store_int(b, 0, 0, 1));
        add_number(call, "undelivered messages", a->mailbox.open);
        add_when(call, "created", (uint64_t)store_int(b, 0, 0, 0));
        command_done(call, "%s", "");
    }
    account_unpin(a);
}

static void show_stats(struct account *a, struct task *t)
{
    struct store_batch *b = store_read(a->worker->store, account_lane(a));
    store_read_late(b, a->id);
    STORE_ADD(b, &users_stored, STORE_ANY_ROWS, SV_I(a->id));
    t->account = a;
    account_pin(a);
    store_submit(b, a->worker->loop, 0, stats_read, t);
}

static void disabled_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct task *t = arg;
    struct command_call *call = t->call;
    if (result != STORE_OK || store_row_count(b, 0) == 0) {
        command_fail(call, result == STORE_OK ? E_NOTFOUND : err_of_store(result),
                     "the account could not be read");
        return;
    }
    add_fact(call, "disabled", SLICE("yes"));
    add_number(call, "sessions", 0);
    add_number(call, "contacts", t->contacts);
    add_number(call, "stored messages", store_int(b, 0, 0, 1));
    add_when(call, "created", (uint64_t)store_int(b, 0, 0, 0));
    command_done(call, "%s", "");
}

static void disabled_roster(void *arg, enum err e, const struct roster *r)
{
    struct task *t = arg;
    if (e != OK) {
        command_fail(t->call, e, "%.*s: %s", SLICE_ARG(t->jid), err_text(e));
        return;
    }
    for (uint32_t i = 0; i < r->count; i++)
        t->contacts += (r->items[i]->flags & ROSTER_LISTED) != 0;
    struct worker *w = t->home;
    struct store_batch *b = store_read(w->store, 0);
    store_read_late(b, STORE_ALL_OWNERS); /* its id is not known */
    STORE_ADD(b, &users_stored_by_jid, STORE_ANY_ROWS, SV_T(t->jid));
    store_submit(b, w->loop, 0, disabled_read, t);
}

static void account_ready(struct account *a, enum err e, void *arg)
{
    struct task *t = arg;
    t->home = a->worker;
    if (e != OK)
        command_fail(t->call, e, "%.*s: %s", SLICE_ARG(t->jid), err_text(e));
    else if (a->disabled)
        roster_read(t->home, t->jid, disabled_roster, t);
    else if (a->state != ACTOR_READY)
        users_fail_missing(t->call, t->jid);
    else
        show_stats(a, t);
}

static void at_account(struct worker *w, void *arg)
{
    struct task *t = arg;
    account_with(w, t->jid, account_ready, t);
}

static void run_stats(struct command_call *call)
{
    struct jid jid;
    if (!users_account_ok(call, command_arg(call, "jid"), &jid))
        return;
    struct task *t = arena_new(call->arena, struct task, 1);
    *t = (struct task){ .call = call, .jid = jid_bare(&jid) };
    users_call_home(call, t->jid, at_account, t);
}

static const struct command_arg jid_args[] = {
    { "jid", ARG_POSITIONAL, "address of the account: name@domain", NULL },
    { 0 },
};
static const char *const online_states[] = { "active", "idle", NULL };
static const struct command_arg online_args[] = {
    { "state", ARG_OPTION, "only accounts in this state", online_states },
    { "limit", ARG_OPTION, "show at most this number", NULL },
    { 0 },
};

static const char *const count_states[] = { "registered", "disabled", "online",
                                            "active",     "idle",     NULL };
static const struct command_arg count_args[] = {
    { "state", ARG_OPTION, "only accounts in this state", count_states },
    { 0 },
};

struct command user_count = {
    .name = "user count",
    .reads = true,
    .args = count_args,
    .run = run_count,
    .doc = "Counts the accounts: registered, disabled, online, and of these active and idle.",
    .columns = (const char *const[]){ "state", "users", NULL },
};
struct command user_online = {
    .name = "user online",
    .reads = true,
    .args = online_args,
    .run = run_online,
    .doc = "Lists the accounts that have a session. An account is idle if its clients have sent "
           "nothing for users.idle-time.",
    .columns = (const char *const[]){ "jid", "state", "sessions", "idle_s", NULL },
};
struct command user_stats = {
    .name = "user stats",
    .reads = true,
    .args = jid_args,
    .run = run_stats,
    .doc = "Shows facts about an account: its sessions with their addresses, contacts, stored "
           "messages, and when it was created. The account may be disabled. `user last` shows when "
           "an offline user was last online.",
    .columns = (const char *const[]){ "name", "value", NULL },
};
