/* users_info: what operators see of accounts: how many, who is online, statistics and profile of
 * one.
 */
#include "account/account.h"
#include "auth/credentials.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/first_few.h"
#include "base/setting.h"
#include "core/feature.h"
#include "home/here.h"
#include "ops/access.h"
#include "ops/outside_users.h"
#include "ops/templates.h"
#include "ops/unserved.h"
#include "ops/users.h"
#include "ops/users_profile.h"
#include "presence/roster.h"
#include "presence/roster_account.h"

enum {
    PROFILE_COLUMN = 3,  /* the first of the profile: of `user show` */
    PROFILE_NOTE_BYTES = /* escaped */
    2 * (PROFILE_FIELDS * (PROFILE_BYTES_MAX + 32) + PROFILE_URI_BYTES_MAX)
};

struct setting users_idle_time = {
    .name = "users.idle-time",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 5 * 60 * 1000,
    .min = 1000,
    .max = SETTING_NONE,
    .doc = "A user whose clients have sent nothing for so long is counted and listed as idle.",
};

struct store_stmt users_counts = {
    .name = "users.counts",
    .sql = "SELECT count(*), coalesce(sum(CASE WHEN disabled <> 0 THEN 1 ELSE 0 END), 0), "
           "(SELECT count(*) FROM test_user) FROM account a "
           "WHERE NOT EXISTS (SELECT 1 FROM test_user t WHERE t.account = a.id)",
    .params = "",
    .cols = "iii",
};
struct store_stmt users_stored = {
    .name = "users.stored",
    .sql = "SELECT a.created_us, (SELECT count(*) FROM entry WHERE owner = a.id) "
           "FROM account a WHERE a.id = $1",
    .params = "i",
    .cols = "ii",
};

/* Reads one that is not loaded: it is disabled. */
struct store_stmt users_stored_by_jid = {
    .name = "users.stored-by-jid",
    .sql = "SELECT a.created_us, (SELECT count(*) FROM entry WHERE owner = a.id) "
           "FROM account a WHERE a.jid = $1",
    .params = "t",
    .cols = "ii",
};

struct store_stmt users_named = {
    .name = "users.named",
    .sql = "SELECT count(*) FROM account WHERE jid = $1 AND template = $2",
    .params = "tt",
    .cols = "i",
};

/* A command on its way; in the arena of its call. */
struct task {
    struct command_call *call;
    struct account *account; /* pinned while a read is under way */
    slice jid;
    int64_t active, idle;
    struct worker *home; /* of the account */
    uint32_t contacts;   /* of a disabled one */
};

/* Online users: with a session, connected or hibernating. */

struct online {
    unsigned session_count;
    uint64_t idle_us; /* of the session that was last active */
    bool idle;
};

static bool is_online(const struct account *a, struct online *out)
{
    uint64_t now_us = clock_mono_us();
    *out = (struct online){ .idle_us = UINT64_MAX };
    SESSIONS_EACH (s, a) {
        uint64_t idle_us = now_us > s->active_us ? now_us - s->active_us : 0;
        out->session_count++;
        out->idle_us = idle_us < out->idle_us ? idle_us : out->idle_us;
    }
    out->idle = out->idle_us / 1000 >= (uint64_t)setting_int(&users_idle_time);
    return out->session_count > 0;
}

static void run_count(struct command_call *call)
{
    const struct worker *w = call->worker;
    struct online o;
    const struct account *a;
    int64_t active = 0, idle = 0;
    for (uint32_t i = 0; (a = accounts_next(w, &i)) != NULL;) {
        if (!is_online(a, &o) || outside_is_test(a))
            continue;
        idle += o.idle;
        active += !o.idle;
    }
    command_row(call);
    command_int(call, "active", active);
    command_int(call, "idle", idle);
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

static void counts_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct task *t = arg;
    struct unserved unserved = { .names = "" };
    if (result != STORE_OK) {
        command_fail_cause(t->call, err_of_store(result), "the accounts could not be counted");
        return;
    }
    add_count(t->call, "registered", store_int(b, 0, 0, 0));
    unserved_add_accounts(&unserved, b, 1);
    add_count(t->call, "unserved", unserved.accounts);
    add_count(t->call, "disabled", store_int(b, 0, 0, 1));
    add_count(t->call, "test", store_int(b, 0, 0, 2));
    add_count(t->call, "online", t->active + t->idle);
    add_count(t->call, "active", t->active);
    add_count(t->call, "idle", t->idle);
    command_done(t->call, "%s", "");
}

static void count_gathered(struct command_call *call)
{
    struct worker *w = call->worker;
    struct task *t = arena_new(call->arena, struct task, 1);
    struct store_batch *b = store_read(worker_store(w), 0);
    ensure(call->worker == worker_here());
    *t = (struct task){ .call = call };
    for (const struct command_row *r = command_take_rows(call); r != NULL; r = r->next) {
        t->active += command_row_int(r, "active");
        t->idle += command_row_int(r, "idle");
    }
    store_add(b, &users_counts, STORE_ANY_ROWS, NULL, 0);
    unserved_count(b, worker_node(w));
    store_submit(b, worker_loop(w), 0, counts_read, t);
}

static bool users_is_wanted(const struct command_call *call, const struct account *a)
{
    slice state = command_arg(call, "state");
    struct online o;
    return is_online(a, &o) && !outside_is_test(a) &&
           (state.ptr == NULL || slice_is(state, "idle") == o.idle);
}

static void run_online(struct command_call *call)
{
    const struct worker *w = call->worker;
    const struct account *a;
    struct first_few page;
    users_page_begin(&page, call);
    for (uint32_t i = 0; (a = accounts_next(w, &i)) != NULL;)
        if (users_is_wanted(call, a))
            first_few_add(&page, a->jid, a);
    first_few_sort(&page);
    for (uint32_t i = 0; i < page.count; i++) {
        struct online o;
        a = page.item[i].of;
        (void)is_online(a, &o);
        command_row(call);
        command_text(call, "jid", a->jid);
        command_text(call, "state", o.idle ? SLICE("idle") : SLICE("active"));
        command_int(call, "sessions", o.session_count);
        command_int(call, "idle_s", (int64_t)(o.idle_us / 1000000));
    }
}

static void online_gathered(struct command_call *call) { command_done_listed(call, "jid"); }

/* Information on one account. */

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

/* Knowledge of features on the account: reads, and then the numbers, whose first statement is
 * `first`. */
static void user_facts_read(struct store_batch *b, slice jid)
{
    FEATURES_EACH (f, facts)
        for (const struct account_fact *a = f->facts; a->name != NULL; a++)
            if (a == f->facts || a->sql != a[-1].sql)
                STORE_ADD(b, a->sql, STORE_ANY_ROWS, SV_T(jid));
}

static void add_user_facts(struct command_call *call, const struct store_batch *b, unsigned first)
{
    unsigned at = first - 1;
    FEATURES_EACH (f, facts)
        for (const struct account_fact *a = f->facts; a->name != NULL; a++) {
            at += a == f->facts || a->sql != a[-1].sql;
            ensure(store_row_count(b, at) == 1);
            add_number(call, a->name, store_int(b, at, 0, a->column));
        }
}

static void add_sessions(struct command_call *call, const struct account *a)
{
    uint32_t nodes[BUS_NODES_MAX];
    uint64_t newest_us = 0;
    unsigned count = 0;
    SESSIONS_EACH (s, a) {
        add_fact(call, "resource", session_resource(s));
        add_fact(call, "address", slice_of(ip_print(&s->peer).text));
        newest_us = s->since_us > newest_us ? s->since_us : newest_us;
        count++;
    }
    add_number(call, "sessions", count);
    if (count > 0 && node_all(worker_node(a->worker), nodes) > 1)
        add_fact(call, "node", slice_of(worker_node(a->worker)->name));
    if (count > 0)
        add_when(call, "last login", newest_us);
}

static void stats_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct task *t = arg;
    struct account *a = t->account;
    struct command_call *call = t->call;
    ensure(account_here(a) && account_is_pinned(a));
    if (result != STORE_OK || store_row_count(b, 0) == 0) {
        enum err e = result == STORE_OK ? E_NOTFOUND : err_of_store(result);
        command_fail(call, e, "the account could not be read: %s", err_text(e));
    } else {
        add_sessions(call, a);
        add_number(call, "contacts", roster_count(a));
        add_number(call, "stored messages", store_int(b, 0, 0, 1));
        add_number(call, "undelivered messages", mailbox_unsettled(a));
        add_user_facts(call, b, 1);
        add_when(call, "created", (uint64_t)store_int(b, 0, 0, 0));
        command_done(call, "%s", "");
    }
    account_unpin(a);
}

static void show_stats(struct account *a, struct task *t)
{
    struct store_batch *b = store_read(worker_store(a->worker), account_lane(a));
    ensure(account_here(a) && t->account == NULL);
    store_read_late(b, a->id);
    STORE_ADD(b, &users_stored, STORE_ANY_ROWS, SV_I(a->id));
    user_facts_read(b, a->jid);
    t->account = a;
    account_pin(a);
    store_submit(b, worker_loop(a->worker), 0, stats_read, t);
}

static void disabled_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct task *t = arg;
    struct command_call *call = t->call;
    if (result != STORE_OK || store_row_count(b, 0) == 0) {
        enum err e = result == STORE_OK ? E_NOTFOUND : err_of_store(result);
        command_fail(call, e, "the account could not be read: %s", err_text(e));
        return;
    }
    add_fact(call, "disabled", SLICE("yes"));
    add_number(call, "sessions", 0);
    add_number(call, "contacts", t->contacts);
    add_number(call, "stored messages", store_int(b, 0, 0, 1));
    add_user_facts(call, b, 1);
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
    struct store_batch *b = store_read(worker_store(w), 0);
    store_read_late(b, STORE_ALL_OWNERS); /* its id is not known */
    STORE_ADD(b, &users_stored_by_jid, STORE_ANY_ROWS, SV_T(t->jid));
    user_facts_read(b, t->jid);
    store_submit(b, worker_loop(w), 0, disabled_read, t);
}

static void account_ready(struct account *a, enum err e, void *arg)
{
    struct task *t = arg;
    ensure(account_here(a) && t->account == NULL);
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

static void run_stats(struct command_call *call)
{
    struct task *t = arena_new(call->arena, struct task, 1);
    *t = (struct task){ .call = call, .jid = command_arg(call, "jid") };
    account_with(call->worker, t->jid, account_ready, t);
}

static const struct command_arg jid_args[] = {
    COMMAND_USER_ARG,
    { 0 },
};
static const char *const online_states[] = { "active", "idle", NULL };
static const struct command_arg online_args[] = {
    { .name = "state",
      .kind = ARG_OPTION,
      .type = PARAM_CHOICE,
      .choices = online_states,
      .doc = "only accounts in this state" },
    COMMAND_PAGE_ARGS("address"),
    { 0 },
};

static const char *const count_states[] = { "registered", "unserved", "disabled", "test",
                                            "online",     "active",   "idle",     NULL };
static const struct command_arg count_args[] = {
    { .name = "state",
      .kind = ARG_OPTION,
      .type = PARAM_CHOICE,
      .choices = count_states,
      .doc = "only accounts in this state" },
    { 0 },
};

struct command user_count = {
    .name = "user count",
    .rest = "GET /users/count",
    .effect = COMMAND_READS,
    .area = "users",
    .args = count_args,
    .runs_at = COMMAND_EACH,
    .run = run_count,
    .gathered = count_gathered,
    .parts =
        (const struct command_column[]){
            { .name = "active", .type = PARAM_INT, .doc = "active accounts" },
            { .name = "idle", .type = PARAM_INT, .doc = "idle accounts" },
            { 0 } },
    .doc = "Counts the accounts: registered, and of these those of domains that this node does not "
           "serve and those that are disabled; online, and of these active and idle.",
    .columns =
        (const struct command_column[]){
            { .name = "state",
              .doc = "registered, unserved, disabled, test, online, active or idle" },
            { .name = "users", .type = PARAM_INT, .doc = "accounts in that state" },
            { 0 } },
};
struct command user_online = {
    .name = "user online",
    .rest = "GET /users/online",
    .effect = COMMAND_READS,
    .area = "users",
    .args = online_args,
    .runs_at = COMMAND_EACH,
    .run = run_online,
    .gathered = online_gathered,
    .doc = "Lists the accounts that have a session. An account is idle if its clients have sent "
           "nothing for users.idle-time.",
    .columns =
        (const struct command_column[]){
            { .name = "jid", .type = PARAM_USER, .doc = "the account" },
            { .name = "state", .doc = "active or idle" },
            { .name = "sessions", .type = PARAM_INT, .doc = "its sessions" },
            { .name = "idle_s",
              .type = PARAM_INT,
              .unit = "s",
              .doc = "time since its last stanza" },
            { 0 } },
};
struct command user_stats = {
    .name = "user stats",
    .rest = "GET /users/{jid}/stats",
    .effect = COMMAND_READS,
    .area = "users",
    .args = jid_args,
    .home = "jid",
    .run = run_stats,
    .doc = "Shows facts about an account: its sessions with their addresses, contacts, stored "
           "messages, uploaded files, rooms that have no other owner, shared groups that name it, "
           "devices with tokens, PEP nodes, and when it was created. The account may be disabled. "
           "`user last` shows when an offline user was last online.",
    .columns = (const struct command_column[]){ { .name = "name", .doc = "what is told" },
                                                { .name = "value", .doc = "its value" },
                                                { 0 } },
};

/* The profile: `user set`, `user show`. */

/* Values that the call gives; b: what was there of that (NULL: the new values). */
static slice profile_note(const struct command_call *call, const struct store_batch *b)
{
    struct buf out;
    buf_init(&out, PROFILE_NOTE_BYTES);
    for (unsigned i = 0; i < PROFILE_FIELDS; i++) {
        const char *name = users_profile_name(i);
        slice value = command_arg(call, name);
        if (value.ptr != NULL && b != NULL)
            value = store_text(b, 0, 0, PROFILE_STORED + i);
        if (command_arg(call, name).ptr != NULL)
            command_changed_part(&out, name, value);
    }
    slice note = slice_dup(call->arena, buf_fit(&out));
    buf_fini(&out);
    return note;
}

static void profile_set(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    slice jid = command_arg(call, "jid");
    if (result == STORE_OK) {
        ensure(store_row_count(b, 0) == 1);
        command_changed(call, profile_note(call, b), profile_note(call, NULL));
        EMIT(account.profile_changed, call->worker, jid);
        command_done(call, "profile of %.*s changed", SLICE_ARG(jid));
    } else if (result == STORE_CONFLICT) {
        users_fail_missing(call, jid);
    } else {
        users_fail_cause(call, jid, err_of_store(result));
    }
}

static void user_set_missed(void *arg, enum err e, const struct account_template *t)
{
    struct command_call *call = arg;
    (void)t;
    if (e == OK)
        users_fail_missing(call, command_arg(call, "jid"));
    else
        templates_fail(call, e);
}

static void profile_set_held(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (result == STORE_CONFLICT)
        templates_read(call->worker, command_arg(call, "template"), call->arena, user_set_missed,
                       call);
    else
        profile_set(call, result, b);
}

/* held: the template is there, and must be when this is committed. */
static void user_set_now(struct command_call *call, bool held)
{
    struct worker *w = call->worker;
    slice jid = command_arg(call, "jid");
    struct user_profile p;
    struct store_batch *b = store_write(worker_store(w), credentials_lane(jid));
    (void)users_profile_given(call, &p);
    STORE_ADD(b, &users_profile_get, STORE_ANY_ROWS, SV_T(jid)); /* what was before */
    if (held)
        templates_hold(b, p.template);
    users_profile_add(b, jid, &p);
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, held ? profile_set_held : profile_set, call);
}

/* The name of a template that is deleted may stay where it is. */
static void user_named_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (result == STORE_OK && store_int(b, 0, 0, 0) > 0)
        user_set_now(call, false);
    else
        templates_fail(call, result == STORE_OK ? E_NOTFOUND : err_of_store(result));
}

static void user_set_template_read(void *arg, enum err e, const struct account_template *t)
{
    struct command_call *call = arg;
    struct worker *w = call->worker;
    slice jid = command_arg(call, "jid");
    (void)t;
    if (e == OK) {
        user_set_now(call, true);
    } else if (e == E_NOTFOUND) {
        struct store_batch *b = store_read(worker_store(w), credentials_lane(jid));
        STORE_ADD(b, &users_named, 1, SV_T(jid), SV_T(command_arg(call, "template")));
        store_submit(b, worker_loop(w), STORE_UNTIL_DONE, user_named_read, call);
    } else {
        templates_fail(call, e);
    }
}

static void run_user_set(struct command_call *call)
{
    struct worker *w = call->worker;
    slice template = command_arg(call, "template");
    struct user_profile p;
    ensure(worker_is_here(w));
    if (!access_may_touch(call, command_arg(call, "jid")))
        return;
    if (!users_profile_given(call, &p))
        command_fail(call, E_SYNTAX,
                     "say what changes, such as --email ADDRESS" COMMAND_EMPTY_REMOVES);
    else if (template.len > 0)
        templates_read(w, template, call->arena, user_set_template_read, call);
    else
        user_set_now(call, false);
}

static void profile_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    slice jid = command_arg(call, "jid");
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), "the account could not be read");
        return;
    }
    if (store_row_count(b, 0) == 0) {
        users_fail_missing(call, jid);
        return;
    }
    ensure(store_row_count(b, 0) == 1);
    command_row(call);
    command_text(call, "jid", jid);
    users_add_time(call, "created", (uint64_t)store_int(b, 0, 0, 0));
    command_bool(call, "disabled", store_int(b, 0, 0, 1) != 0);
    users_add_marks(call, jid);
    for (unsigned i = 0; i <= PROFILE_FIELDS; i++) /* and the source */
        command_text(call, user_show.columns[PROFILE_COLUMN + i].name,
                     store_text(b, 0, 0, PROFILE_STORED + i));
    command_done(call, "%s", "");
}

static void run_user_show(struct command_call *call)
{
    slice jid = command_arg(call, "jid");
    ensure(worker_is_here(call->worker));
    struct store_batch *b = store_read(worker_store(call->worker), credentials_lane(jid));
    STORE_ADD(b, &users_profile_get, STORE_ANY_ROWS, SV_T(jid));
    store_submit(b, worker_loop(call->worker), 0, profile_read, call);
}

static const struct command_arg profile_args[] = {
    COMMAND_USER_ARG,
    USERS_PROFILE_ARGS,
    USERS_TEMPLATE_ARG("template that the account counts as made from, for rules of groups; what "
                       "the template gives is not applied"),
    { 0 },
};

struct command user_set = {
    .name = "user set",
    .rest = "PATCH /users/{jid}",
    .effect = COMMAND_CHANGES,
    .area = "users",
    .args = profile_args,
    .home = "jid",
    .empties = true,
    .run = run_user_set,
    .doc = "Changes what an account says of its user. A user who has stored no vCard is found by "
           "these names and this email address, and has a vCard that is made of them. An empty "
           "value removes one.",
};
struct command user_show = {
    .name = "user show",
    .rest = "GET /users/{jid}",
    .effect = COMMAND_READS,
    .area = "users",
    .args = (const struct command_arg[]){ COMMAND_ANY_USER_ARG, { 0 } },
    .home = "jid",
    .run = run_user_show,
    .record = true,
    .doc = "Shows an account and what it says of its user.",
    .columns =
        (const struct command_column[]){
            { .name = "jid", .type = PARAM_USER, .doc = "the account" },
            { .name = "created", .type = PARAM_STAMP, .doc = "when it was made" },
            { .name = "disabled", .type = PARAM_BOOL, .doc = "whether it is disabled" },
            { .name = "given_name", .doc = "given name" },
            { .name = "surname", .doc = "family name" },
            { .name = "email", .doc = "email address" },
            { .name = "department", .doc = "department" },
            { .name = "directory_uri", .doc = "URI by which directories and calls name the user" },
            { .name = "template", .doc = "template that it was made from" },
            { .name = "source", .doc = "who keeps the profile; `local`: operators of this server" },
            USERS_UNSERVED_COLUMN,
            USERS_PROTECTED_COLUMN,
            USERS_OWN_COLUMN,
            { 0 } },
};
