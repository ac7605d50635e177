#include "ops/login.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/metric.h"
#include "core/feature.h"
#include "home/here.h"
#include "ops/administrators.h"
#include "ops/lockout.h"
#include "ops/second_factor.h"
#include "xmpp/jid.h"

static struct log_area log_login = { .name = "login" };
static struct metric logins = {
    .name = "muster_console_logins",
    .kind = METRIC_COUNTER,
    .label = "result",
    .values = (const char *const[]){ "passed", "wrong", "locked", "refused", "code-needed",
                                     "factor-needed", "password-old", "factor-unreadable", "again",
                                     NULL },
    .help = "Logins to the console. `locked`: the failure after which a name is refused for a "
            "time; `refused`: "
            "nothing was compared; `factor-unreadable`: see the alarm secrets.key.",
};

static void login_end(struct login *l, enum login_result result)
{
    ensure(worker_is_here(l->worker) && result < LOGIN_RESULTS);
    l->result = result;
    metric_add_to(&logins, result, 1);
    l->done(l);
}

/* Counted as a failure of the name. */
static void login_wrong(struct login *l)
{
    bool locked = lockout_failed(l->name, clock_mono_us());
    if (locked)
        log_warn(&log_login, LOG_EV("login.locked"), LOG_S("name", l->name),
                 LOG_C("peer", l->try.peer),
                 LOG_C("hint", "admin.lock-time; `admin unlock` ends it"));
    login_end(l, locked ? LOGIN_LOCKED : LOGIN_WRONG);
}

/* The name did not fail: something is missing, or nothing was compared. */
static void login_void(struct login *l, enum login_result result)
{
    lockout_void(l->name);
    login_end(l, result);
}

static void login_passed(struct login *l)
{
    lockout_passed(l->name);
    login_end(l, LOGIN_OK);
}

static void login_complete(struct login *l)
{
    if (l->old)
        login_void(l, LOGIN_PASSWORD_OLD);
    else
        login_passed(l);
}

static void code_used(void *arg, enum store_result result, const struct store_batch *b)
{
    struct login *l = arg;
    if (result != STORE_OK)
        login_void(l, LOGIN_AGAIN);
    else if (store_changed(b, 0) == 0) /* used before, or at the same moment */
        login_wrong(l);
    else
        login_complete(l);
}

static void factor_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct login *l = arg;
    struct factor f;
    ensure(worker_is_here(l->worker));
    if (result != STORE_OK) {
        login_void(l, LOGIN_AGAIN);
        return;
    }
    bool read = factor_of(b, l->name, l->arena, &f);
    if (!f.confirmed) {
        login_complete(l);
        return;
    }
    if (!read || l->code.len == 0) {
        login_void(l, read ? LOGIN_CODE_NEEDED : LOGIN_FACTOR_UNREAD);
        return;
    }
    struct store_batch *use = factor_use(l->worker, &f, l->code);
    if (use == NULL)
        login_wrong(l);
    else
        store_submit(use, worker_loop(l->worker), 0, code_used, l);
}

unsigned login_must(slice name, slice role)
{
    unsigned must = factor_is_demanded(role) && !factor_is_there(name) ? CONSOLE_MUST_FACTOR : 0;
    if (memchr(name.ptr, '@', name.len) == NULL && administrator_password_is_old(name))
        must |= CONSOLE_MUST_PASSWORD;
    return must;
}

static void password_right(struct login *l)
{
    struct principal who = { 0 };
    int64_t generation;
    if (!console_role(l->name, l->arena, &who, &generation)) {
        login_wrong(l);
        return;
    }
    if (l->password_only) {
        login_passed(l);
        return;
    }
    if ((login_must(l->name, who.role) & CONSOLE_MUST_FACTOR) != 0) {
        login_void(l, LOGIN_FACTOR_NEEDED);
        return;
    }
    struct store_batch *b = store_read(worker_store(l->worker), 0);
    factor_add_read(b, l->name);
    store_submit(b, worker_loop(l->worker), 0, factor_read, l);
}

static void password_ended(struct login *l, enum err e)
{
    if (e == OK)
        password_right(l);
    else if (e == E_AUTH)
        login_wrong(l);
    else
        login_void(l, e == E_DENIED ? LOGIN_REFUSED : LOGIN_AGAIN);
}

static void account_verified(void *arg, enum err e, const struct credentials *c)
{
    password_ended(arg, e == OK && c->disabled ? E_AUTH : e);
}

static void person_verified(struct password_job *j)
{
    password_ended(j->arg, j->e == OK && !j->fits ? E_AUTH : j->e);
}

static void person_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct login *l = arg;
    ensure(worker_is_here(l->worker));
    if (result != STORE_OK) {
        login_void(l, LOGIN_AGAIN);
        return;
    }
    bool known = administrator_keys(b, 0, &l->keys) == 1;
    l->old = known && administrator_password_is_old(l->name);
    l->job = (struct password_job){ .password = l->password,
                                    .keys = &l->keys,
                                    .count = known ? 1 : 0,
                                    .try = &l->try,
                                    .done = person_verified,
                                    .arg = l };
    password_run(worker_auth(l->worker), &l->job);
}

/* The address first: one that is refused must not displace the counters of names. */
static bool is_let_in(struct login *l, slice name)
{
    uint64_t now_us = clock_mono_us();
    return throttle_ask(worker_auth(l->worker)->throttle, &l->try, now_us) != THROTTLE_REFUSE &&
           lockout_take(name, now_us);
}

/* A name or password of a wrong form is nobody's: it fails with the same work and the same traces
 * as a wrong one of a right form. */
void login_begin(struct login *l)
{
    slice name, password;
    bool account =
        console_name(l->name, l->arena, &name) && memchr(name.ptr, '@', name.len) != NULL;
    if (jid_prep_password_given(l->password, l->arena, &password) != OK)
        password = l->password;
    ensure(worker_is_here(l->worker) && l->done != NULL);
    l->old = false;
    throttle_try_init(&l->try, l->peer, account ? name : SLICE(""), NULL);
    if (!is_let_in(l, name)) {
        login_end(l, LOGIN_REFUSED);
        return;
    }
    l->name = name;
    l->password = password;
    l->age = console_age(name);
    if (account) {
        credentials_verify(worker_auth(l->worker),
                           &(struct credentials_check){ name, password, &l->try }, account_verified,
                           l);
        return;
    }
    struct store_batch *b = store_read(worker_store(l->worker), 0);
    administrator_add_read(b, name, 1);
    store_submit(b, worker_loop(l->worker), 0, person_read, l);
}

const struct feature login_feature = {
    .name = "login",
    .metrics = (struct metric *const[]){ &logins, NULL },
    .logs = (struct log_area *const[]){ &log_login, NULL },
};
