#include "muc/state/reach.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/node.h"
#include "muc/muc.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "ops/users.h"
#include "store/store.h"

static struct store_stmt account_stmt = {
    .name = "room.account",
    .sql = "SELECT id FROM account WHERE jid = $1",
    .params = "t",
    .cols = "i",
};

struct known {
    struct command_call *call;
    slice jid, rest; /* who is looked up, and those behind them */
    operate_known_fn *fn;
    void *arg;
};

static void known_next(struct known *k);

static void account_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct known *k = arg;
    if (result != STORE_OK)
        command_fail_cause(k->call, err_of_store(result), "the account cannot be looked up");
    else if (store_row_count(b, 0) == 0)
        users_fail_missing(k->call, k->jid);
    else
        known_next(k);
}

static void known_next(struct known *k)
{
    struct worker *w = k->call->worker;
    ensure(worker_is_here(w) && !k->call->ended);
    while (slice_word(&k->rest, &k->jid))
        if (node_serves(worker_node(w), jid_split(k->jid).domain)) {
            struct store_batch *b = store_read(worker_store(w), 0);
            STORE_ADD(b, &account_stmt, STORE_ANY_ROWS, SV_T(k->jid));
            store_submit(b, worker_loop(w), 0, account_read, k);
            return;
        }
    k->fn(k->arg);
}

void operate_with_known(struct command_call *call, slice users, operate_known_fn *fn, void *arg)
{
    struct known *k = arena_new(call->arena, struct known, 1);
    ensure(fn != NULL);
    *k = (struct known){ .call = call, .rest = users, .fn = fn, .arg = arg };
    known_next(k);
}

/* Visits. */

void operate_reach(struct worker *w, slice jid, operate_room_fn *fn, void *arg)
{
    ensure(worker_is_here(w) && fn != NULL);
    if (rooms_serve(worker_node(w), jid))
        room_with(w, jid, fn, arg);
    else /* the alias went meanwhile, or the question is about the service itself */
        fn(NULL, E_NOTFOUND, arg);
}

struct visit {
    struct command_call *call;
    operate_fn *fn;
    void *arg;
    bool anyhow;
};

void operate_fail_missing(struct command_call *call, slice room)
{
    command_fail(call, E_NOTFOUND, "there is no room %.*s; `room list` shows all", SLICE_ARG(room));
}

static void visited(struct room *r, enum err e, void *arg)
{
    const struct visit *v = arg;
    slice jid = command_arg(v->call, "room");
    ensure(r != NULL && room_here(r));
    if (e == E_NOTFOUND || (e == OK && r->state != ACTOR_READY && !v->anyhow))
        operate_fail_missing(v->call, jid);
    else if (e != OK)
        command_fail(v->call, e, "%.*s: %s", SLICE_ARG(jid), err_text(e));
    else
        v->fn(r, v->arg);
}

static void visit(const struct visit *what)
{
    struct visit *v = arena_new(what->call->arena, struct visit, 1);
    *v = *what;
    room_with(v->call->worker, command_arg(v->call, "room"), visited, v);
}

void operate_visit(struct command_call *call, operate_fn *fn, void *arg)
{
    visit(&(struct visit){ call, fn, arg, .anyhow = false });
}

void operate_visit_anyhow(struct command_call *call, operate_fn *fn, void *arg)
{
    visit(&(struct visit){ call, fn, arg, .anyhow = true });
}

static const struct store_migration none[] = { { 0 } };
static const struct store_schema schema = {
    .feature = "muc_reach",
    .migrations = none,
    .stmts = (struct store_stmt *const[]){ &account_stmt, NULL },
};

const struct feature muc_reach_feature = { .name = "muc_reach", .schema = &schema };
