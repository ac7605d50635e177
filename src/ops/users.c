#include "ops/users.h"
#include "account/account.h"
#include "account/account_life.h"
#include "auth/credentials.h"
#include "auth/throttle.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/first_few.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/setting.h"
#include "core/feature.h"
#include "home/command_run.h"
#include "home/here.h"
#include "home/message.h"
#include "home/node.h"
#include "ops/access.h"
#include "ops/admins.h"
#include "ops/announce.h"
#include "ops/outside_users.h"
#include "ops/templates.h"
#include "ops/unserved.h"
#include "ops/users_note.h"
#include "ops/users_profile.h"
#include "remote/foreign.h"
#include "session/session_queue.h"
#include "session/sessions.h"
#include "xmpp/precis.h"

static struct log_area log_users = { .name = "users" };

/* A command on its way; in the arena of its call. */
struct task {
    struct command_call *call;
    slice jid;    /* bare, of the account; or the domain */
    slice last;   /* the last row that is shown */
    slice filter; /* of a list, as it is compared */
    uint32_t rows, limit;
    slice password;                          /* prepared, of a new account */
    int64_t generation;                      /* of the new password */
    struct users_note was;                   /* what is deleted */
    bool admitted;                           /* a disabled account, for its removal */
    const struct account_template *template; /* of a new account; NULL: none */
};

/* Arguments. */

static bool password_ok(struct command_call *call, slice *out)
{
    slice text = command_arg(call, "password");
    if (text.len == 0) {
        command_fail(call, E_SYNTAX, "a password is needed; give one with --password%s",
                     principal_is_remote(&call->who)
                         ? ""
                         : " PASSWORD, --stdin, or at a terminal, which asks for it");
        return false;
    }
    if (jid_prep_password(text, call->arena, out) == OK)
        return true;
    command_fail(call, E_SYNTAX, "the password %s; choose another",
                 jid_password_problem(text, call->arena));
    return false;
}

bool users_is_self(const struct command_call *call, slice jid)
{
    slice bare, from = call->who.actor;
    bool console = slice_starts(from, SLICE("console:")); /* a browser left alone, too */
    if (!principal_is_remote(&call->who) || !(console || slice_starts(from, SLICE("xmpp:"))))
        return false;
    slice_cut(slice_from(from, console ? 8 : 5), '/', &bare, &(slice){ 0 });
    return slice_eq(bare, jid);
}

/* A token, or a client left alone, is not its owner: from a client the password of the own account
 * is changed, and the account deleted, only by XEP-0077 (§3.2, §3.3), which asks for the current
 * password. With a token that is so for all administrators: another one could do it. */
static bool users_may_take(struct command_call *call)
{
    slice jid = command_arg(call, "jid");
    ensure(jid.len > 0); /* command_run() has prepared it */
    if (!access_may_touch(call, jid))
        return false;
    if (users_is_self(call, jid))
        command_fail(call, E_DENIED,
                     "this is your own account: change its password or delete it as any user does "
                     "(XEP-0077), with the current password, or with musterctl");
    else if (call->who.weak && access_has_role(jid))
        command_fail(call, E_DENIED, "%.*s is an administrator, and " PRINCIPAL_WEAK,
                     SLICE_ARG(jid));
    return !call->ended;
}

static struct task *users_task_new(struct command_call *call)
{
    struct task *t = arena_new(call->arena, struct task, 1);
    t->call = call;
    t->jid = command_arg(call, "jid");
    return t;
}

static const struct auth *auth_of(const struct task *t) { return worker_auth(t->call->worker); }

void users_fail_missing(struct command_call *call, slice jid)
{
    if (command_domain_served(call, jid_split(jid).domain))
        command_fail(call, E_NOTFOUND, "there is no account %.*s; `user list` shows all",
                     SLICE_ARG(jid));
}

void users_fail_cause(struct command_call *call, slice jid, enum err e)
{
    command_fail_cause(call, e, arena_printf(call->arena, "%.*s", SLICE_ARG(jid)));
}

void users_fail_disabled(struct command_call *call, slice jid)
{
    command_fail(call, E_CONFLICT, "%.*s is disabled; `user enable` lets it in again",
                 SLICE_ARG(jid));
}

bool users_there(struct command_call *call, const struct account *a, enum err e)
{
    if (e != OK)
        command_fail(call, e, "%.*s: %s", SLICE_ARG(a->jid), err_text(e));
    else if (a->state != ACTOR_READY && !a->disabled)
        users_fail_missing(call, a->jid);
    else
        return true;
    return false;
}

static void fail_missing(const struct task *t) { users_fail_missing(t->call, t->jid); }

static void users_fail_store(const struct task *t, enum err e)
{
    users_fail_cause(t->call, t->jid, e);
}

/* user add */

static void add_profile(struct store_batch *b, void *arg)
{
    const struct task *t = arg;
    struct user_profile p;
    bool given = users_profile_given(t->call, &p);
    if (t->template != NULL && p.department.ptr == NULL)
        p.department = t->template->department;
    if (given)
        users_profile_add(b, t->jid, &p);
    if (t->template != NULL)
        templates_add(b, t->jid, t->template);
}

/* An operator may set what a client may not, and is told so. */
static const char *short_text(const struct command_call *call)
{
    const struct setting *min = setting_find(SLICE("register.password-min"));
    slice domain = jid_split(command_arg(call, "jid")).domain;
    slice text = command_arg(call, "password");
    int64_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += ((uint8_t)text.ptr[i] & 0xc0) != 0x80;
    return min == NULL || count >= setting_int_of(min, domain)
               ? ""
               : "; the password is shorter than clients may choose (register.password-min)";
}

static void add_compared(void *arg, enum err e, const struct credentials *c)
{
    struct task *t = arg;
    (void)c;
    if (e == OK) {
        command_fail(t->call, E_EXISTS, "account %.*s exists already, with this password",
                     SLICE_ARG(t->jid));
    } else if (e == E_AUTH) {
        t->call->culprit = "password"; /* the call may be freed when it has failed */
        command_fail(t->call, E_EXISTS,
                     "account %.*s exists already, with another password; `user password` changes "
                     "it",
                     SLICE_ARG(t->jid));
    } else if (e == E_DENIED) {
        command_fail(t->call, E_AGAIN,
                     "account %.*s exists already, and there were too many wrong passwords for it "
                     "to compare this one; try later",
                     SLICE_ARG(t->jid));
    } else {
        users_fail_store(t, e);
    }
}

/* A client that has lost the answer repeats its request, and is told whether the account has this
 * password. The comparison counts as an attempt to log in, since others could guess in this way. */
static void add_compare(struct task *t)
{
    static const struct sockaddr nowhere = { .sa_family = AF_UNSPEC };
    struct throttle_try try;
    throttle_try_init(&try, &nowhere, t->jid, NULL);
    credentials_verify(auth_of(t), &(struct credentials_check){ t->jid, t->password, &try },
                       add_compared, t);
}

/* Text of the answer on it; groups that are gone stand in a note. */
static const char *user_from_template(const struct task *t)
{
    struct arena *arena = t->call->arena;
    const char *missing = templates_missing(t->call->worker, t->template->groups, arena);
    if (missing != NULL)
        command_note(t->call, arena_printf(arena,
                                           "groups of the template that are there no more: "
                                           "%s",
                                           missing));
    return arena_printf(arena, " from template %.*s%s", SLICE_ARG(t->template->name),
                        t->template->disabled ? "; it is disabled, `user enable` lets it in" : "");
}

/* Behind what its answer says. */
static void user_made(void *arg, enum err e, const char *lacks)
{
    struct task *t = arg;
    (void)e; /* what is not known is not said */
    if (lacks != NULL)
        command_note(t->call, lacks);
    const char *from = t->template == NULL ? "" : user_from_template(t);
    command_done(t->call, "account %.*s added%s%s%s", SLICE_ARG(t->jid), from, short_text(t->call),
                 admins_has(t->jid) ? "; it is an administrator, since admin.accounts names it"
                                    : "");
}

/* It was not made: because it exists, or because of the template. */
static void user_not_added(void *arg, enum err e, const char *text)
{
    struct task *t = arg;
    if (e == OK) {
        add_compare(t);
    } else if (e == E_LIMIT || e == E_CONFLICT) {
        t->call->culprit = "template"; /* the call may be freed when it has failed */
        command_fail(t->call, e, "nothing was changed: %s",
                     e == E_LIMIT ? text
                                  : "the template was renamed, or a group of it was full, and that "
                                    "has changed since; try again");
    } else {
        templates_fail(t->call, e);
    }
}

static void user_added(void *arg, enum err e, const struct credentials *c)
{
    struct task *t = arg;
    (void)c;
    if (e == E_EXISTS && t->template != NULL) {
        templates_refused(t->call->worker, &(struct templates_ask){ .template = t->template,
                                                                    .jid = t->jid,
                                                                    .arena = t->call->arena,
                                                                    .fn = user_not_added,
                                                                    .arg = t });
    } else if (e == E_EXISTS) {
        add_compare(t);
    } else if (e != OK) {
        users_fail_store(t, e);
    } else {
        account_created(t->call->worker, t->jid, t->template != NULL && t->template->disabled);
        if (t->template == NULL) {
            user_made(t, OK, NULL);
            return;
        }
        templates_added(t->call->worker);
        templates_lacks(t->call->worker, &(struct templates_ask){ .template = t->template,
                                                                  .jid = t->jid,
                                                                  .arena = t->call->arena,
                                                                  .fn = user_made,
                                                                  .arg = t });
    }
}

static void user_add_now(struct task *t)
{
    struct credentials_new n = { .jid = t->jid, .password = t->password, .add = add_profile };
    credentials_create_with(auth_of(t), &n, user_added, t);
}

static void user_add_template_read(void *arg, enum err e, const struct account_template *template)
{
    struct task *t = arg;
    t->template = template;
    if (e == OK)
        user_add_now(t);
    else
        templates_fail(t->call, e);
}

static void run_user_add(struct command_call *call)
{
    slice password, owner = foreign_known_by(command_arg(call, "jid"), call->arena);
    if (!users_may_take(call) || !password_ok(call, &password))
        return;
    struct task *t = users_task_new(call);
    t->password = password;
    if (owner.ptr != NULL) {
        call->culprit = "jid"; /* the call may be freed when it has failed */
        command_fail(call, E_EXISTS,
                     "%.*s is the mail address of %.*s, by which other servers know that account "
                     "(federation.mail-address)",
                     SLICE_ARG(t->jid), SLICE_ARG(owner));
        return;
    }
    slice template = command_arg(call, "template");
    if (template.len > 0)
        templates_read(call->worker, template, call->arena, user_add_template_read, t);
    else
        user_add_now(t);
}

/* user password */

static void password_end_sessions(struct account *a, enum err e, void *arg)
{
    struct task *t = arg;
    ensure(account_here(a));
    if (e != OK) {
        command_fail(t->call, e,
                     "the password of %.*s was changed, but its sessions could not be ended: %s",
                     SLICE_ARG(t->jid), err_text(e));
        return;
    }
    unsigned ended = account_password_changed(a, NULL, t->generation);
    command_done(t->call, "password of %.*s changed, sessions ended: %u%s", SLICE_ARG(t->jid),
                 ended, short_text(t->call));
}

static void password_set(void *arg, enum err e, const struct credentials *c)
{
    struct task *t = arg;
    if (e == OK) {
        t->generation = c->generation;
        account_with(t->call->worker, t->jid, password_end_sessions, t);
    } else if (e == E_NOTFOUND) {
        fail_missing(t);
    } else {
        users_fail_store(t, e);
    }
}

static void run_user_password(struct command_call *call)
{
    slice password;
    if (!users_may_take(call) || !password_ok(call, &password))
        return;
    struct task *t = users_task_new(call);
    credentials_set(auth_of(t), t->jid, password, password_set, t);
}

/* user del */

static void user_removed(void *arg, enum err e)
{
    struct task *t = arg;
    if (e == E_NOTFOUND)
        fail_missing(t);
    else if (e != OK)
        users_fail_store(t, e);
}

/* An emptied one keeps the rest. */
static slice user_note(const struct task *t, const char *created, bool disabled)
{
    const struct users_note *n = &t->was;
    return slice_of(arena_printf(t->call->arena, "%sdisabled=%s%s%.*s", created,
                                 disabled ? "on" : "off", n->rest.len > 0 ? " " : "",
                                 SLICE_ARG(n->rest)));
}

/* The answer comes when its archive is gone, too: a script that deletes many waits for that. */
static void user_left(void *arg)
{
    struct task *t = arg;
    bool emptied = command_flag(t->call, "keep_address");
    command_changed(
        t->call,
        user_note(t, arena_printf(t->call->arena, "created=%s ", t->was.created), t->was.disabled),
        emptied ? user_note(t, "", true) : SLICE(""));
    command_done(t->call, "account %.*s %s", SLICE_ARG(t->jid),
                 emptied ? "emptied and disabled" : "deleted");
}

static void user_look_reads(struct store_batch *b, void *arg)
{
    const struct task *t = arg;
    users_note_reads(b, t->jid);
}

static void user_look_found(const struct store_batch *b, void *arg)
{
    struct task *t = arg;
    users_note_found(t->call, t->jid, b, &t->was);
}

static const struct account_look user_look = { user_look_reads, user_look_found };

static void user_remove(struct account *a, enum err e, void *arg);

/* A disabled one is let in for its removal, but not its owner: not while its inbox is handled. */
static void user_admit(void *arg, enum store_result result, const struct store_batch *b)
{
    struct task *t = arg;
    ensure(worker_is_here(t->call->worker) && t->admitted);
    if (result != STORE_OK)
        users_fail_store(t, err_of_store(result));
    else if (store_row_count(b, 0) == 0)
        fail_missing(t);
    else
        account_admit(t->call->worker, t->jid, user_remove, t);
}

static void user_remove(struct account *a, enum err e, void *arg)
{
    struct task *t = arg;
    ensure(account_here(a) && a->worker == t->call->worker);
    if (e == OK && a->state == ACTOR_READY) {
        account_remove_looked_at(
            a, command_flag(t->call, "keep_address") ? REMOVING_EMPTIES : REMOVING_DELETES,
            &user_look, user_removed, user_left, t);
    } else if (e == OK && a->disabled && !t->admitted) {
        t->admitted = true;
        struct store_batch *b = store_read(worker_store(a->worker), credentials_lane(t->jid));
        STORE_ADD(b, &users_known, STORE_ANY_ROWS, SV_T(t->jid));
        store_submit(b, worker_loop(a->worker), STORE_UNTIL_DONE, user_admit, t);
    } else {
        a->admitted = a->admitted && a->state == ACTOR_READY; /* for another who deletes it */
        user_removed(t, e == OK ? E_NOTFOUND : e);
    }
}

static void run_user_del(struct command_call *call)
{
    if (!users_may_take(call))
        return;
    struct task *t = users_task_new(call);
    account_with_unasked(call->worker, t->jid, user_remove, t);
}

/* user list */

void users_add_time(struct command_call *call, const char *key, uint64_t wall_us)
{
    char stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, wall_us);
    command_text(call, key, slice_of(stamp));
}

void users_add_unserved(struct command_call *call, slice jid)
{
    if (!node_serves(worker_node(call->worker), jid_split(jid).domain))
        command_bool(call, "unserved", true);
}

void users_add_marks(struct command_call *call, slice jid)
{
    users_add_unserved(call, jid);
    if (access_above(call, jid) != NULL)
        command_bool(call, "protected", true);
    if (users_is_self(call, jid))
        command_bool(call, "own", true);
}

static bool users_wants(const struct task *t, const struct credentials_row *row)
{
    return (row->disabled || !command_flag(t->call, "disabled")) &&
           (t->filter.len == 0 ||
            memmem(row->jid.ptr, row->jid.len, t->filter.ptr, t->filter.len) != NULL);
}

/* If no account at all is of a domain that is not served, the domain is a mistake. */
static void users_end(struct task *t)
{
    bool all = t->filter.len == 0 && !command_flag(t->call, "disabled") &&
               command_arg(t->call, "after").len == 0;
    if (t->call->rows != NULL) {
        command_done(t->call, "%s", "");
        return;
    }
    t->call->culprit = "domain"; /* the call may be freed when it has failed */
    if (!all || t->jid.len == 0 || command_domain_served(t->call, t->jid)) {
        t->call->culprit = NULL;
        command_done(t->call, "there are none");
    }
}

static void users_page(void *arg, enum err e, const struct credentials_row *rows, uint32_t count)
{
    struct task *t = arg;
    struct command_call *call = t->call;
    ensure(count <= CREDENTIALS_PAGE_MAX && t->rows <= t->limit);
    if (e != OK) {
        command_fail(call, e, "the accounts could not be read: %s", err_text(e));
        return;
    }
    bool more = false;
    for (uint32_t i = 0; i < count; i++) {
        if (!users_wants(t, &rows[i]))
            continue;
        more = t->rows == t->limit;
        if (more)
            break;
        command_row(call);
        command_text(call, "jid", rows[i].jid);
        users_add_time(call, "created", rows[i].created_us);
        command_bool(call, "disabled", rows[i].disabled);
        users_add_marks(call, rows[i].jid);
        t->rows++;
        t->last = slice_dup(call->arena, rows[i].jid);
    }
    if (more)
        command_done_more(call, t->last);
    else if (count < CREDENTIALS_PAGE_MAX)
        users_end(t);
    else
        credentials_list(auth_of(t), t->jid, rows[count - 1].jid, users_page, t);
}

void users_page_begin(struct first_few *page, const struct command_call *call)
{
    first_few_init(page, call->arena, command_arg(call, "after"), command_page_limit(call) + 1);
}

uint32_t users_page_count(const struct command_call *call, const struct first_few *page)
{
    return page->count < command_page_limit(call) ? page->count : command_page_limit(call);
}

void users_page_done(struct command_call *call, const struct first_few *page)
{
    if (page->count > command_page_limit(call))
        command_done_more(call, page->item[command_page_limit(call) - 1].key);
    else
        command_done(call, "%s", "");
}

static void run_user_list(struct command_call *call)
{
    struct task *t = arena_new(call->arena, struct task, 1);
    *t = (struct task){ .call = call,
                        .jid = command_arg(call, "domain"),
                        .filter = command_arg(call, "filter"),
                        .limit = command_page_limit(call) };
    if (t->filter.len > 0 && precis_fold(t->filter, call->arena, &t->filter) != OK)
        t->filter = command_arg(call, "filter"); /* then no address has it, or it is the same */
    ensure(t->limit > 0 && t->limit <= COMMAND_PAGE_MAX);
    credentials_list(auth_of(t), t->jid, command_arg(call, "after"), users_page, t);
}

/* session list */

static void users_add_session(struct command_call *call, const struct session *s)
{
    uint64_t now_us = clock_mono_us();
    command_row(call);
    command_text(call, "jid", session_jid(s));
    command_text(call, "state",
                 s->state == SESSION_HIBERNATING ? SLICE("hibernating") : SLICE("connected"));
    if (session_is_available(s))
        command_int(call, "priority", s->priority);
    else
        command_text(call, "priority", SLICE("unavailable"));
    command_text(call, "address", slice_of(ip_print(&s->peer).text));
    command_text(call, "node", slice_of(worker_node(call->worker)->name));
    command_bool(call, "tls", s->secure);
    users_add_time(call, "since", s->since_us);
    command_int(call, "unacked", session_queue_len(s));
    command_int(call, "idle_s",
                now_us > s->active_us ? (int64_t)((now_us - s->active_us) / 1000000) : 0);
}

static void users_list_ready(struct account *a, enum err e, void *arg)
{
    struct command_call *call = arg;
    if (!users_there(call, a, e))
        return;
    struct first_few page;
    users_page_begin(&page, call);
    SESSIONS_EACH (s, a)
        first_few_add(&page, session_jid(s), s);
    first_few_sort(&page);
    for (uint32_t i = 0; i < users_page_count(call, &page); i++)
        users_add_session(call, page.item[i].of);
    users_page_done(call, &page);
}

/* Lists sessions of the account, or of each worker. */
static void run_session_list(struct command_call *call)
{
    const struct worker *w = call->worker;
    slice user = command_arg(call, "jid");
    const struct session *s;
    if (user.ptr != NULL) {
        account_with(call->worker, user, users_list_ready, call);
        return;
    }
    struct first_few page;
    users_page_begin(&page, call);
    for (uint32_t i = 0; (s = sessions_next(w, &i)) != NULL;)
        if (!outside_is_test(s->account))
            first_few_add(&page, session_jid(s), s);
    first_few_sort(&page);
    for (uint32_t i = 0; i < page.count; i++)
        users_add_session(call, page.item[i].of);
}

static void sessions_gathered(struct command_call *call)
{
    ensure(!call->part);
    command_done_listed(call, "jid");
}

/* session kick */

static unsigned users_kick(struct account *a, slice resource)
{
    ensure(account_here(a));
    if (resource.len == 0)
        return account_end_sessions(a, NULL, END_KICKED);
    struct session *s = account_session(a, resource);
    if (s == NULL)
        return 0;
    session_end(s, END_KICKED);
    return 1;
}

static void run_session_kick(struct command_call *call)
{
    slice jid = command_arg(call, "jid"), reason = command_arg(call, "reason");
    struct jid at = jid_split(jid);
    struct account *a = account_find(call->worker, jid_bare(&at));
    unsigned ended = a == NULL ? 0 : users_kick(a, at.resource);
    if (ended == 0) {
        command_fail(call, E_NOTFOUND, "%.*s has no session; `session list` shows all",
                     SLICE_ARG(jid));
        return;
    }
    log_info(&log_users, LOG_EV("session.kicked"), LOG_S("jid", jid), LOG_I("sessions", ended),
             LOG_S("actor", call->who.actor), LOG_S("reason", reason));
    command_done(call, "sessions ended: %u", ended);
}

/* Rows. */

static const struct command_arg add_args[] = {
    COMMAND_USER_ARG,
    { .name = "password", .kind = ARG_SECRET, .type = PARAM_SECRET, .doc = "its password" },
    USERS_PROFILE_ARGS,
    USERS_TEMPLATE_ARG("template that says what the account is given"),
    { 0 },
};
static const struct command_arg password_args[] = {
    COMMAND_USER_ARG,
    { .name = "password", .kind = ARG_SECRET, .type = PARAM_SECRET, .doc = "its new password" },
    { 0 },
};
static const struct command_arg del_args[] = {
    COMMAND_ANY_USER_ARG,
    { .name = "keep_address",
      .kind = ARG_FLAG,
      .type = PARAM_BOOL,
      .doc = "leave an empty account that is disabled, so that nobody else gets the address; its "
             "profile, its role, its affiliations with rooms and its places in groups stay. "
             "Contacts are told ten minutes later, or when it is enabled or deleted, since an "
             "import may fill it again" },
    { 0 },
};
static const struct command_arg user_list_args[] = {
    { .name = "domain",
      .kind = ARG_OPTION,
      .type = PARAM_HOME_DOMAIN,
      .unserved = true,
      .doc = "only accounts of this domain" },
    { .name = "filter",
      .kind = ARG_OPTION,
      .doc = "only accounts with this text in their address" },
    COMMAND_PAGE_ARGS("address"),
    { .name = "disabled", .kind = ARG_FLAG, .type = PARAM_BOOL, .doc = "only disabled accounts" },
    { 0 },
};
static const struct command_arg session_list_args[] = {
    { .name = "jid",
      .kind = ARG_OPTION,
      .type = PARAM_USER,
      .doc = "only sessions of this account" },
    COMMAND_PAGE_ARGS("address"),
    { 0 },
};
static const struct command_arg kick_args[] = {
    { .name = "jid",
      .kind = ARG_POSITIONAL,
      .type = PARAM_SESSION,
      .doc = "name@domain for all sessions, name@domain/resource for one" },
    { .name = "reason", .kind = ARG_OPTION, .doc = "why, for the log" },
    { 0 },
};

static struct command user_add = {
    .name = "user add",
    .rest = "PUT /users/{jid}",
    .effect = COMMAND_CHANGES,
    .area = "users",
    .args = add_args,
    .home = "jid",
    .run = run_user_add,
    .doc = "Creates an account. Values of options come before those of the template.",
};
static struct command user_del = {
    .name = "user del",
    .rest = "DELETE /users/{jid}",
    .effect = COMMAND_CHANGES,
    .area = "users",
    .asks = "The account and everything that is stored for it are deleted.",
    .loses = "user stats",
    .args = del_args,
    .home = "jid",
    .run = run_user_del,
    .doc =
        "Deletes an account with everything that belongs to it: contacts (also in the contact "
        "lists of others), stored messages, uploaded files, vCard, private data. `user stats` "
        "counts what goes, also the rooms that no other owner keeps. Messages of it that wait for "
        "another server are not sent any more: `s2s show` counts those. Its sessions end. "
        "The messages go last: if the server ends meanwhile, the rest goes after its next start. "
        "Administrators cannot run it for their own account from a client, nor, if that logged "
        "in with a token, for another administrator.",
};
static struct command user_list = {
    .name = "user list",
    .effect = COMMAND_READS,
    .area = "users",
    .args = user_list_args,
    .run = run_user_list,
    .rest = "GET /users",
    .doc = "Lists the accounts by address.",
    .columns =
        (const struct command_column[]){
            { .name = "jid", .type = PARAM_USER, .doc = "the account" },
            { .name = "created", .type = PARAM_STAMP, .doc = "when it was made" },
            { .name = "disabled", .type = PARAM_BOOL, .doc = "whether it is disabled" },
            USERS_UNSERVED_COLUMN,
            USERS_PROTECTED_COLUMN,
            USERS_OWN_COLUMN,
            { 0 } },
};
static struct command user_password = {
    .name = "user password",
    .rest = "PUT /users/{jid}/password",
    .effect = COMMAND_CHANGES,
    .area = "users",
    .args = password_args,
    .home = "jid",
    .run = run_user_password,
    .doc = "Sets a new password and ends all sessions of the account. Administrators cannot run it "
           "for their own account from a client, nor, if that logged in with a token, for another "
           "administrator.",
};
static const char *const unavailable[] = { "unavailable", NULL };
static struct command session_list = {
    .name = "session list",
    .rest = "GET /sessions, GET /users/{jid}/sessions",
    .effect = COMMAND_READS,
    .area = "sessions",
    .args = session_list_args,
    .home = "jid",
    .runs_at = COMMAND_EACH,
    .run = run_session_list,
    .gathered = sessions_gathered,
    .doc = "Lists the sessions: presence priority, whether the client is connected, number of "
           "unacknowledged stanzas, and seconds since its last stanza.",
    .columns =
        (const struct command_column[]){
            { .name = "jid", .type = PARAM_JID, .doc = "address of the session" },
            { .name = "state", .doc = "connected or hibernating" },
            { .name = "priority",
              .type = PARAM_INT,
              .choices = unavailable,
              .doc = "its priority, or unavailable" },
            { .name = "address", .doc = "address of the client" },
            { .name = "node",
              .apart = true,
              .doc = "name of the node that has the session; its client may be connected to "
                     "another one" },
            { .name = "tls", .type = PARAM_BOOL, .doc = "whether it uses TLS" },
            { .name = "since", .type = PARAM_STAMP, .doc = "since when" },
            { .name = "unacked",
              .type = PARAM_INT,
              .doc = "stanzas that the client has not acknowledged" },
            { .name = "idle_s",
              .type = PARAM_INT,
              .unit = "s",
              .doc = "time since its last stanza" },
            { 0 } },
};
static struct command session_kick = {
    .name = "session kick",
    .rest = "DELETE /sessions/{jid}",
    .effect = COMMAND_CHANGES,
    .area = "sessions",
    .args = kick_args,
    .home = "jid",
    .run = run_session_kick,
    .doc = "Ends one session, or all sessions of an account. The client can log in again.",
};

static struct command *const users_commands[] = { &user_add,      &user_del,     &user_list,
                                                  &user_password, &session_list, &session_kick,
                                                  &user_disable,  &user_enable,  &user_count,
                                                  &user_online,   &user_stats,   &user_set,
                                                  &user_show,     NULL };
static struct log_area *const users_logs[] = { &log_users, NULL };

static const struct store_migration none[] = { { 0 } };
static const struct store_schema users_schema = { .feature = "users",
                                                  .migrations = none,
                                                  .stmts = users_stmts };

const struct feature users_feature = {
    .name = "users",
    .parts = PART_ACCOUNT | PART_SESSION,
    .schema = &users_schema,
    .settings = (struct setting *const[]){ &admin_accounts, &users_idle_time, NULL },
    .commands = users_commands,
    .logs = users_logs,
    .alarms = (struct alarm *const[]){ &unserved_alarm, NULL },
    .account.deleted = unserved_account_deleted,
    .worker.start = unserved_start,
    .worker.stop = unserved_stop,
    .messages = (const struct message_row *const[]){ &enabled_message, &headline_message, NULL },
};
