#include "account/account_actor.h"
#include "account/account.h"
#include "account/account_check.h"
#include "account/account_frozen.h"
#include "account/account_life.h"
#include "account/guest.h"
#include "archive/recent.h"
#include "auth/credentials.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "component/component_watch.h"
#include "core/core.h"
#include "core/feature.h"
#include "core/rows.h"
#include "home/ask.h"
#include "home/here.h"
#include "home/message_wire.h"
#include "home/router.h"
#include "home/ticket.h"
#include "presence/presence.h"
#include "presence/presence_in.h"
#include "presence/subscription.h"
#include "remote/foreign.h"
#include "session/session_struct.h"
#include "talk/iq.h"
#include "talk/message.h"
#include "xmpp/promise.h"

/* A function that waits can hold a publication of pubsub.offline-bytes. */
enum { IDLE_MS = 60 * 1000, IDLE_MAX = 20000, ABSENT_MAX = 20000, CALLS_MAX = 1000 };

static struct log_area log_account = { .name = "account", .level = LOG_INFO };
struct log_area *const account_logs[] = { &log_account, &log_frames, NULL };

/* Loading. */

/* What would be delivered to a client; not answers, nor what changes a subscription. */
static bool is_delivered(const struct stanza *st)
{
    return st->kind == STANZA_PRESENCE ? st->type == TYPE_AVAILABLE
                                       : stanza_is_request(st) && !stanza_to_is_bare(st);
}

static enum routed account_handle_stanza(struct account *a, struct stanza *st, struct origin origin,
                                         uint64_t sender_entry, int64_t sender_id)
{
    if (st->kind == STANZA_MESSAGE)
        return message_to_account(a, st, origin, sender_entry, sender_id);
    if (a->state == ACTOR_READY && is_delivered(st) && mailbox_is_crowded(a, st)) {
        route_error(a->worker, st, SE_RESOURCE_CONSTRAINT,
                    SLICE("too much waits for a client of this account"));
        stanza_unref(&st);
        return ROUTED;
    }
    if (st->kind == STANZA_IQ)
        return iq_to_account(a, st, origin);
    if (a->state == ACTOR_READY)
        return presence_to_account(a, st, origin);
    /* The subscriptions of a disabled account stay, so it says no "unsubscribed". What others
     * change of them stays with its sender (roster_out) and is said again when the account is
     * enabled. */
    if (a->disabled && st->type != TYPE_SUBSCRIBE && st->type != TYPE_ERROR)
        stanza_unref(&st);
    else
        presence_to_nobody(a->worker, st);
    return ROUTED;
}

static void account_handle(struct actor *actor, const struct actor_item *it)
{
    struct account *a = account_of(actor);
    ensure(it->st != NULL);
    if (account_handle_stanza(a, it->st, it->origin, it->sender_entry, it->sender_id) == ROUTED &&
        it->origin.session != 0)
        ticket_done(a->worker, it->origin);
}

/* Answers and releases it. */
static void account_answer_refused(struct worker *w, const struct actor_item *it,
                                   enum stanza_error error, slice text)
{
    struct stanza *st = it->st;
    ticket_refused(w, it->origin);
    if (st->kind != STANZA_PRESENCE || !subscription_failed(w, st))
        route_error(w, st, error, text);
    stanza_unref(&st);
}

static void account_refuse(struct actor *a, const struct actor_item *it, enum err e)
{
    account_answer_refused(a->worker, it, stanza_error_of(e), (slice){ 0 });
    if (it->origin.session != 0)
        ticket_done(a->worker, it->origin);
}

static void account_call(struct actor *a, actor_any_fn *fn, enum err e, void *arg)
{
    ((account_fn *)fn)(account_of(a), e, arg);
}

static void load_failed(struct account *a, enum err e)
{
    log_warn(
        &log_account, LOG_EV("load.failed"), LOG_S("jid", a->jid), LOG_C("error", err_name(e)),
        LOG_C("hint", "the account could not be read from the database; its stanzas were refused"));
    actor_loaded(&a->actor, e);
}

/* One read of everything; where the results of each feature begin is remembered until they are
 * there. */
struct load {
    struct account *account;
    unsigned first[]; /* by the features that have account.loaded */
};

static void account_rows_loaded(void *arg, enum store_result result, const struct store_batch *b)
{
    struct load *load = arg;
    struct account *a = load->account;
    ensure(account_here(a));
    if (result != STORE_OK) {
        mem_free(&load);
        load_failed(a, err_of_store(result));
        return;
    }
    bool row = store_row_count(b, 0) > 0;
    if (!row && !account_is_guest(a)) { /* deleted since its client authenticated */
        mem_free(&load);
        actor_loaded(&a->actor, E_NOTFOUND);
        return;
    }
    a->generation = row ? store_int(b, 0, 0, 0) : 0;
    mailbox_loaded(a, b, 1);
    recent_loaded(&a->recents, b, 3);
    unsigned i = 0;
    FEATURES_EACH (f, account.loaded)
        f->account.loaded(a, b, load->first[i++]);
    mailbox_loaded_roster(a, b, 1);
    mem_free(&load);
    actor_loaded(&a->actor, OK);
}

static struct store_stmt account_exists = {
    .name = "account.exists",
    .sql = "SELECT generation FROM account WHERE id = $1 AND (disabled = 0 OR $2 = 1)",
    .params = "ii",
    .cols = "i",
};
static struct store_stmt account_id = {
    .name = "account.id",
    .sql = "SELECT id, disabled FROM account WHERE jid = $1",
    .params = "t",
    .cols = "ii",
};
struct store_stmt *const account_stmts[] = { &account_id, &account_exists, &account_put_disabled,
                                             NULL };

static void load_all(struct account *a)
{
    struct load *load =
        mem_zalloc(sizeof *load + FEATURES_COUNT(account.loaded) * sizeof load->first[0]);
    struct store_batch *b = store_read(worker_store(a->worker), account_lane(a));
    load->account = a;
    STORE_ADD(b, &account_exists, STORE_ANY_ROWS, SV_I(a->id), SV_I(a->admitted));
    mailbox_load(a, b);
    recent_load(b, a->id, loop_wall_us(worker_loop(a->worker)));
    unsigned i = 0;
    FEATURES_EACH (f, account.loaded) {
        load->first[i++] = store_stmt_count(b);
        if (f->account.load != NULL)
            f->account.load(a, b);
    }
    ensure(i == FEATURES_COUNT(account.loaded));
    store_submit(b, worker_loop(a->worker), 0, account_rows_loaded, load);
}

static void id_loaded(void *arg, enum store_result result, const struct store_batch *b)
{
    struct account *a = arg;
    ensure(account_here(a));
    if (result != STORE_OK) {
        load_failed(a, err_of_store(result));
        return;
    }
    a->disabled =
        store_row_count(b, 0) > 0 && store_int(b, 0, 0, 1) != ACCOUNT_ENABLED && !a->admitted;
    if (store_row_count(b, 0) == 0 || a->disabled) {
        actor_loaded(&a->actor, E_NOTFOUND);
        return;
    }
    a->id = store_int(b, 0, 0, 0);
    load_all(a);
}

static void account_look_up(struct account *a)
{
    struct store_batch *b = store_read(worker_store(a->worker), credentials_lane(a->jid));
    STORE_ADD(b, &account_id, STORE_ANY_ROWS, SV_T(a->jid));
    store_submit(b, worker_loop(a->worker), 0, id_loaded, a);
}

/* A login knows the id, which saves a read; but it may be that of an account that is gone. */
static void account_load(struct actor *actor)
{
    struct account *a = account_of(actor);
    a->disabled = false;
    if (a->id_told)
        load_all(a);
    else
        account_look_up(a);
    a->id_told = false;
}

static bool account_in_use(const struct actor *actor)
{
    const struct account *a = CONTAINER_OF(actor, const struct account, actor);
    return !list_empty(&a->sessions);
}

static bool account_may_unload(struct actor *actor) { return mailbox_clean(account_of(actor)); }

static void account_unload(struct actor *actor)
{
    struct account *a = account_of(actor);
    ensure(list_empty(&a->sessions));
    if (a->state == ACTOR_READY)
        EMIT(account.unload, a);
    mailbox_fini(a);
    account_forget_past(a);
    mem_free(&a);
}

static void account_drop(struct actor *actor)
{
    struct account *a = account_of(actor);
    while (!list_empty(&a->sessions))
        session_free(CONTAINER_OF(a->sessions.next, struct session, node));
    a->storing = 0;
    a->mailbox.writing = false;
}

static uint64_t account_idle_ms(void) { return IDLE_MS; }

static struct metric accounts_loaded = {
    .name = "muster_accounts_loaded",
    .kind = METRIC_GAUGE,
    .help = "Accounts in memory, including recently requested names that nobody has.",
};
struct metric *const account_metrics[] = { &accounts_loaded, NULL };

static const struct actor_kind account_kind = {
    .loaded = &accounts_loaded,
    .idle_max = IDLE_MAX,
    .absent_max = ABSENT_MAX,
    .calls_max = CALLS_MAX,
    .idle_ms = account_idle_ms,
    .load = account_load,
    .handle = account_handle,
    .refuse = account_refuse,
    .call = account_call,
    .in_use = account_in_use,
    .freeze = account_freeze,
    .thaw = account_thaw,
    .frozen = &account_frozen,
    .may_unload = account_may_unload,
    .unload = account_unload,
    .check = account_check,
    .drop = account_drop,
};

void accounts_start(struct worker *w)
{
    actors_init(&core_of(w)->accounts, &account_kind, w, worker_loop(w));
}

/* Presence for an account that is not loaded reaches nobody: it has no session (architecture §3).
 * Only what changes its roster needs it, and the probe of another server, whose answer is in the
 * roster; and a component that sees the user's contacts gets what the user would get (XEP-0356 §6).
 * An error to presence of a session that has ended does not. */
static bool needs_account(const struct worker *w, const struct stanza *st)
{
    if (st->kind == STANZA_PRESENCE && st->type == TYPE_PROBE)
        return foreign_is(w, jid_split(stanza_from(st)).domain);
    return st->kind != STANZA_PRESENCE || (st->type == TYPE_ERROR && stanza_to_is_bare(st)) ||
           (st->type >= TYPE_SUBSCRIBE && st->type <= TYPE_UNSUBSCRIBED) ||
           (stanza_to_is_bare(st) && component_watch_wants(w, stanza_to(st), st));
}

enum routed account_receive(struct worker *w, struct stanza *st, struct origin origin,
                            uint64_t sender_entry, int64_t sender_id)
{
    struct account *a = account_seek(w, stanza_to_bare(st));
    if (a == NULL) {
        if (!needs_account(w, st)) {
            presence_to_nobody(w, st);
            return ROUTED;
        }
        a = account_make(w, stanza_to_bare(st), 0);
    }
    actor_mark(&a->actor);
    actor_renew(&a->actor);
    if (a->actor.pauses > 0 && st->kind == STANZA_IQ &&
        ask_answered(w, st)) { /* for just that, perhaps */
        stanza_unref(&st);
        return ROUTED;
    }
    if (!actor_waits(&a->actor))
        return account_handle_stanza(a, st, origin, sender_entry, sender_id);
    struct actor_item item = {
        .st = st, .origin = origin, .sender_entry = sender_entry, .sender_id = sender_id
    };
    if (promise_of(st) == PROMISE_QUEUED && !stanza_is_request(st))
        item.origin = ORIGIN_NONE; /* it is queued at its home now */
    if (actor_wait(&a->actor, &item))
        return item.origin.session != 0 ? ROUTE_PENDING : ROUTED;
    account_answer_refused(w, &item, SE_RESOURCE_CONSTRAINT,
                           SLICE("too many stanzas wait for this account"));
    return ROUTED;
}
