/* last: Last Activity (XEP-0012): the uptime of the server, and when an account was last there, for
 * those who may see its presence.
 *
 * A row is written when the last available session of an account becomes unavailable, and for all
 * who are there when the server stops in order. So the answer is exact but after a crash: for those
 * who were there then and do not come back it is the end of the visit before, the last that is
 * known for certain, or that nothing is known. To write down who comes would mend that, but costs
 * about a fifth of the logins that a CPU can do: 100 us each. */
#include "account/account.h"
#include "account/guest.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "home/here.h"
#include "home/node.h"
#include "ops/users.h"
#include "presence/presence.h"
#include "session/session.h"
#include "talk/access.h"
#include "xmpp/ns.h"

enum { STATUS_BYTES_MAX = 1024 };

static const struct store_migration last_migrations[] = {
    { 1,
      "CREATE TABLE last(owner INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, status TEXT NOT NULL)",
      "CREATE TABLE last(owner BIGINT PRIMARY KEY, at_us BIGINT NOT NULL, status TEXT NOT NULL)" },
    { 0 },
};
/* The sessions of a deleted account end after its rows are gone: then there is nothing to write. */
static struct store_stmt last_put = {
    .name = "last.put",
    .sql = "INSERT INTO last(owner, at_us, status) SELECT $1, $2, $3 FROM account WHERE id = $1 "
           "ON CONFLICT(owner) DO UPDATE SET at_us = excluded.at_us, status = excluded.status",
    .params = "iit",
    .cols = "",
};
static struct store_stmt last_load = {
    .name = "last.get",
    .sql = "SELECT at_us, status FROM last WHERE owner = $1",
    .params = "i",
    .cols = "it",
};
static struct store_stmt last_delete = {
    .name = "last.delete",
    .sql = "DELETE FROM last WHERE owner = $1",
    .params = "i",
    .cols = "",
};
static const struct store_schema last_schema = {
    .feature = "last",
    .migrations = last_migrations,
    .stmts = (struct store_stmt *const[]){ &last_put, &last_load, &last_delete, NULL },
};

/* A clock that stepped back since must not give a negative age. */
static uint64_t seconds_since(uint64_t at_us)
{
    uint64_t now_us = clock_wall_us();
    return now_us > at_us ? (now_us - at_us) / 1000000 : 0;
}

static void last_answer(struct iq *iq, uint64_t seconds, slice status)
{
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_PART_MAX);
    xml_open(&x, "query", NS_LAST);
    xml_attr_int(&x, "seconds", (int64_t)seconds);
    xml_text(&x, status);
    iq_result_xml(iq, &x);
}

static void last_found(void *arg, enum store_result result, const struct store_batch *b)
{
    struct iq *iq = arg;
    ensure(iq->held);
    if (result != STORE_OK)
        iq_error(iq, stanza_error_of(err_of_store(result)), (slice){ 0 });
    else if (store_row_count(b, 0) == 0)
        iq_error(iq, SE_ITEM_NOT_FOUND, SLICE("nothing is known about it"));
    else
        last_answer(iq, seconds_since((uint64_t)store_int(b, 0, 0, 0)), store_text(b, 0, 0, 1));
}

static void last_get(struct iq *iq)
{
    if (iq->target == IQ_TO_SERVER) { /* §5 */
        last_answer(iq, seconds_since(worker_node(iq->worker)->start_wall_us), (slice){ 0 });
    } else if (!access_presence(iq)) {
        iq_error(iq, SE_FORBIDDEN, (slice){ 0 }); /* §3, also where there is no such account */
    } else if (iq->target == IQ_TO_SELF ? account_available(iq->account) > 0
                                        : presence_shows(iq->account, stanza_from_bare(iq->st))) {
        last_answer(iq, 0, (slice){ 0 });
    } else {
        struct store_batch *b = store_read(worker_store(iq->worker), account_lane(iq->account));
        STORE_ADD(b, &last_load, STORE_ANY_ROWS, SV_I(iq->account->id));
        struct iq *held = iq_hold(iq);
        store_submit(b, worker_loop(held->worker), 0, last_found, held);
    }
}

/* The longest prefix of whole characters that is kept of a status. */
static slice clip(slice status)
{
    size_t len = status.len < STATUS_BYTES_MAX ? status.len : STATUS_BYTES_MAX;
    while (len < status.len && len > 0 && ((uint8_t)status.ptr[len] & 0xc0) == 0x80)
        len--;
    return (slice){ status.ptr, len };
}

static void add_now(struct store_batch *b, const struct account *a, slice status)
{
    STORE_ADD(b, &last_put, STORE_ANY_ROWS, SV_I(a->id), SV_I(clock_wall_us()), SV_T(status));
}

/* Nobody waits: the worst that a failed write costs is an older answer. */
static void write_now(struct account *a, slice status)
{
    ensure(account_here(a));
    if (account_is_guest(a))
        return;
    struct store_batch *b = store_write(worker_store(a->worker), account_lane(a));
    add_now(b, a, status);
    store_submit(b, worker_loop(a->worker), 0, NULL, NULL);
}

/* Sessions that others may know of: XEP-0186 §3.1.1: while all are invisible, the answer is as if
 * they had left when they became invisible. */
static unsigned last_shown(const struct account *a)
{
    unsigned n = 0;
    SESSIONS_EACH (s, a) {
        n += session_is_available(s) && !s->hidden;
    }
    return n;
}

static void last_hidden(struct session *s)
{
    if (last_shown(s->account) == 0 && session_is_available(s))
        write_now(s->account, SLICE(""));
}

static void last_unavailable(struct session *s, const struct stanza *st)
{
    if (last_shown(s->account) > 0 || s->hidden)
        return;
    struct arena *tmp = arena_create(0);
    write_now(s->account, clip(stanza_child_text(st, KNOWN_STATUS, tmp)));
    arena_destroy(&tmp);
}

static void last_stopping(struct account *a, struct store_batch *b)
{
    if (last_shown(a) > 0)
        add_now(b, a, SLICE(""));
}

static void last_remove(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &last_delete, STORE_ANY_ROWS, SV_I(a->id));
}

/* user last */

struct task {
    struct command_call *call;
    struct account *account; /* pinned while a read is under way */
    slice jid;
};

static void last_row(const struct task *t, slice state, uint64_t at_us)
{
    command_row(t->call);
    command_text(t->call, "jid", t->jid);
    command_text(t->call, "state", state);
    if (at_us != 0)
        users_add_time(t->call, "time", at_us);
    command_done(t->call, "%s", "");
}

static void last_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct task *t = arg;
    struct account *a = t->account; /* the task ends with its call */
    ensure(account_here(a) && account_is_pinned(a));
    if (result != STORE_OK)
        command_fail_cause(t->call, err_of_store(result), "the database could not be read");
    else if (store_row_count(b, 0) == 0)
        last_row(t, SLICE("never"), 0);
    else
        last_row(t, SLICE("offline"), (uint64_t)store_int(b, 0, 0, 0));
    account_unpin(a);
}

static void last_of(struct account *a, enum err e, void *arg)
{
    struct task *t = arg;
    uint64_t login_us = 0;
    ensure(account_here(a));
    if (e != OK) {
        command_fail(t->call, e, "%.*s: %s", SLICE_ARG(t->jid), err_text(e));
        return;
    }
    if (a->state != ACTOR_READY) {
        users_fail_missing(t->call, t->jid);
        return;
    }
    SESSIONS_EACH (s, a) {
        login_us = s->since_us > login_us ? s->since_us : login_us;
    }
    if (login_us != 0) {
        last_row(t, SLICE("online"), login_us);
        return;
    }
    struct store_batch *b = store_read(worker_store(a->worker), account_lane(a));
    STORE_ADD(b, &last_load, STORE_ANY_ROWS, SV_I(a->id));
    t->account = a;
    account_pin(a);
    store_submit(b, worker_loop(a->worker), 0, last_read, t);
}

static void run_last(struct command_call *call)
{
    struct task *t = arena_new(call->arena, struct task, 1);
    *t = (struct task){ .call = call, .jid = command_arg(call, "jid") };
    account_with(call->worker, t->jid, last_of, t);
}

static struct command user_last = {
    .name = "user last",
    .rest = "GET /users/{jid}/last",
    .effect = COMMAND_READS,
    .area = "users",
    .args =
        (const struct command_arg[]){
            COMMAND_USER_ARG,
            { 0 },
        },
    .home = "jid",
    .run = run_last,
    .doc =
        "Shows when a user was last online. For a user who is online, shows when they logged in.",
    .columns =
        (const struct command_column[]){ { .name = "jid", .type = PARAM_USER, .doc = "the user" },
                                         { .name = "state", .doc = "online, offline or never" },
                                         { .name = "time",
                                           .optional = true,
                                           .type = PARAM_STAMP,
                                           .doc = "last login, or when they went offline" },
                                         { 0 } },
};

static const struct iq_rule last_rules[] = {
    { TYPE_GET, NS_LAST, "query", IQ_TO_SERVER | IQ_TO_SELF | IQ_TO_ACCOUNT, last_get },
    { 0 },
};

static const char *const last_disco[] = { NS_LAST, NULL };

const struct feature last_feature = {
    .name = "last",
    .xeps =
        (const struct xep[]){
            { "0012", "2.0", "Last Activity", "0.1.0", "services/test_services", NULL },
            { 0 },
        },
    .disco = last_disco,
    .disco_account = last_disco,
    .iq = last_rules,
    .schema = &last_schema,
    .commands = (struct command *const[]){ &user_last, NULL },
    .account.remove = last_remove,
    .session.unavailable = last_unavailable,
    .one.last = &(const struct last_seen){ .stopping = last_stopping, .hidden = last_hidden },
};
