#include "im/account.h"
#include "auth/credentials.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "home/message_wire.h"
#include "home/node.h"
#include "home/question.h"
#include "home/worker.h"
#include "im/account_check.h"
#include "im/archive.h"
#include "im/archive_leave.h"
#include "im/crossing.h"
#include "im/feature.h"
#include "im/given.h"
#include "im/guest.h"
#include "im/iq.h"
#include "im/message.h"
#include "im/presence.h"
#include "im/promise.h"
#include "im/recent.h"
#include "im/router.h"
#include "im/rows.h"
#include "im/session_input.h"
#include "im/session_private.h"
#include "im/subscription.h"
#include "im/users.h"

enum { IDLE_MS = 60 * 1000, IDLE_MAX = 20000, ABSENT_MAX = 20000, CALLS_MAX = 1000 };

static struct log_area log_account = { .name = "account", .level = LOG_INFO };
struct log_area *const account_logs[] = { &log_account, &log_frames, NULL };

struct node *account_node(const struct account *a) { return a->worker->node; }

void account_forget(struct worker *w, slice bare)
{
    struct actor *a = actors_find(&w->accounts, bare);
    if (a != NULL && a->state == ACTOR_ABSENT && a->pins == 0)
        actor_unload(a);
    else if (a != NULL)
        a->unsure = true; /* the look-up under way may have come too early */
}

/* Loading. */

/* What would be delivered to a client; not answers, nor what changes a subscription. */
static bool is_delivered(const struct stanza *st)
{
    return st->kind == STANZA_PRESENCE
               ? st->type == TYPE_AVAILABLE
               : (st->type == TYPE_GET || st->type == TYPE_SET) && !stanza_to_is_bare(st);
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
    if (a->disabled && st->type != TYPE_SUBSCRIBE)
        stanza_unref(&st);
    else
        presence_to_nobody(a->worker, st);
    return ROUTED;
}

static void account_handle(struct actor *actor, const struct actor_item *it)
{
    struct account *a = account_of(actor);
    if (account_handle_stanza(a, it->st, it->origin, it->sender_entry, it->sender_id) == ROUTED &&
        it->origin.session != 0)
        ticket_done(a->worker, it->origin);
}

static void account_refuse(struct actor *a, const struct actor_item *it, enum err e)
{
    struct stanza *st = it->st;
    if (st->kind == STANZA_PRESENCE)
        subscription_failed(a->worker, st);
    route_error(a->worker, st, stanza_error_of(e), (slice){ 0 });
    stanza_unref(&st);
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
    recent_loaded(a, b, 3);
    unsigned i = 0;
    FEATURES_EACH (f, account.loaded)
        f->account.loaded(a, b, load->first[i++]);
    mailbox_loaded_roster(a, b, 1);
    mem_free(&load);
    actor_loaded(&a->actor, OK);
}

static struct store_stmt account_exists = {
    .name = "account.exists",
    .sql = "SELECT generation FROM account WHERE id = $1 AND disabled <> 1",
    .params = "i",
    .cols = "i",
};
static struct store_stmt account_id = {
    .name = "account.id",
    .sql = "SELECT id, disabled FROM account WHERE jid = $1",
    .params = "t",
    .cols = "ii",
};
static struct store_stmt account_put_disabled = {
    .name = "account.disable",
    .sql = "UPDATE account SET disabled = $2 WHERE id = $1",
    .params = "ii",
    .cols = "",
};
struct store_stmt *const account_stmts[] = { &account_id, &account_exists, &account_put_disabled,
                                             NULL };

static void load_all(struct account *a)
{
    struct load *load =
        mem_zalloc(sizeof *load + FEATURES_COUNT(account.loaded) * sizeof load->first[0]);
    struct store_batch *b = store_read(a->worker->store, account_lane(a));
    load->account = a;
    STORE_ADD(b, &account_exists, STORE_ANY_ROWS, SV_I(a->id));
    mailbox_load(a, b);
    recent_load(a, b, loop_wall_us(a->worker->loop));
    unsigned i = 0;
    FEATURES_EACH (f, account.loaded) {
        load->first[i++] = store_stmt_count(b);
        if (f->account.load != NULL)
            f->account.load(a, b);
    }
    ensure(i == FEATURES_COUNT(account.loaded));
    store_submit(b, a->worker->loop, 0, account_rows_loaded, load);
}

static void id_loaded(void *arg, enum store_result result, const struct store_batch *b)
{
    struct account *a = arg;
    if (result != STORE_OK) {
        load_failed(a, err_of_store(result));
        return;
    }
    a->disabled = store_row_count(b, 0) > 0 && store_int(b, 0, 0, 1) == ACCOUNT_DISABLED;
    if (store_row_count(b, 0) == 0 || a->disabled) {
        actor_loaded(&a->actor, E_NOTFOUND);
        return;
    }
    a->id = store_int(b, 0, 0, 0);
    load_all(a);
}

static void account_look_up(struct account *a)
{
    struct store_batch *b = store_read(a->worker->store, credentials_lane(a->jid));
    STORE_ADD(b, &account_id, STORE_ANY_ROWS, SV_T(a->jid));
    store_submit(b, a->worker->loop, 0, id_loaded, a);
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

static bool account_may_unload(struct actor *a) { return mailbox_clean(account_of(a)); }

static void account_unload(struct actor *actor)
{
    struct account *a = account_of(actor);
    ensure(list_empty(&a->sessions));
    if (a->state == ACTOR_READY)
        EMIT(account.unload, a);
    mailbox_fini(a);
    recent_free(a);
    given_free(a);
    crossing_free(a);
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
    .may_unload = account_may_unload,
    .unload = account_unload,
    .check = account_check,
    .drop = account_drop,
};

void accounts_start(struct worker *w) { actors_init(&w->accounts, &account_kind, w, w->loop); }

/* id_told: as authenticated; 0: it is to be looked up. */
static struct account *account_make(struct worker *w, slice bare, int64_t id_told)
{
    unsigned slots = FEATURES_COUNT(account.slot);
    ensure(bare.len > 0 && memchr(bare.ptr, '/', bare.len) == NULL);
    struct account *a = mem_zalloc(sizeof *a + slots * sizeof a->state_of[0] + bare.len);
    char *text = (char *)(a->state_of + slots);
    memcpy(text, bare.ptr, bare.len);
    list_init(&a->sessions);
    actor_init(&a->actor, &w->accounts, (slice){ text, bare.len });
    a->id = id_told;
    a->id_told = a->actor.unsure = id_told != 0;
    actor_load(&a->actor);
    return a;
}

static struct account *account_find_slice(const struct worker *w, slice bare)
{
    struct actor *a = actors_find(&w->accounts, bare);
    return a == NULL ? NULL : account_of(a);
}

/* Presence for an account that is not loaded reaches nobody: it has no session (architecture §3).
 * Only what changes its roster needs it. */
static bool needs_account(const struct stanza *st)
{
    return st->kind != STANZA_PRESENCE || (st->type == TYPE_ERROR && stanza_to_is_bare(st)) ||
           (st->type >= TYPE_SUBSCRIBE && st->type <= TYPE_UNSUBSCRIBED);
}

enum routed account_receive(struct worker *w, struct stanza *st, struct origin origin,
                            uint64_t sender_entry, int64_t sender_id)
{
    struct account *a = account_find_slice(w, stanza_to_bare(st));
    if (a == NULL) {
        if (!needs_account(st)) {
            stanza_unref(&st);
            return ROUTED;
        }
        a = account_make(w, stanza_to_bare(st), 0);
    }
    actor_mark(&a->actor);
    actor_renew(&a->actor);
    if (!actor_waits(&a->actor))
        return account_handle_stanza(a, st, origin, sender_entry, sender_id);
    struct actor_item item = {
        .st = st, .origin = origin, .sender_entry = sender_entry, .sender_id = sender_id
    };
    if (promise_of(st) == PROMISE_QUEUED)
        item.origin = ORIGIN_NONE; /* it is queued at its home now */
    if (actor_wait(&a->actor, &item))
        return item.origin.session != 0 ? ROUTE_PENDING : ROUTED;
    route_error(w, st, SE_RESOURCE_CONSTRAINT, SLICE("too many stanzas wait for this account"));
    stanza_unref(&st);
    return ROUTED;
}

static void with(struct worker *w, slice bare, int64_t id_told, account_fn *fn, void *arg)
{
    struct account *a = account_find_slice(w, bare);
    if (a == NULL)
        a = account_make(w, bare, id_told);
    else if (id_told != 0 && a->state == ACTOR_ABSENT)
        a->actor.unsure = true; /* created since we looked */
    actor_renew(&a->actor);
    if (!actor_waits(&a->actor))
        fn(a, OK, arg);
    else if (!actor_wait(&a->actor, &(struct actor_item){ .fn = (actor_any_fn *)fn, .arg = arg }))
        fn(a, E_LIMIT, arg);
}

void account_with(struct worker *w, slice bare, account_fn *fn, void *arg)
{
    with(w, bare, 0, fn, arg);
}

void account_with_id(struct worker *w, slice bare, int64_t id, account_fn *fn, void *arg)
{
    with(w, bare, id, fn, arg);
}

struct account *account_find(const struct worker *w, slice bare)
{
    struct account *a = account_find_slice(w, bare);
    return a != NULL && a->state == ACTOR_READY && !actor_waits(&a->actor) ? a : NULL;
}

bool account_is_disabled(const struct worker *w, slice bare)
{
    const struct account *a = account_find_slice(w, bare);
    return a != NULL && a->disabled;
}

struct account *accounts_next(const struct worker *w, uint32_t *i)
{
    struct actor *a = actors_next(&w->accounts, i);
    return a == NULL ? NULL : account_of(a);
}

uint32_t accounts_count(const struct worker *w) { return w->accounts.map.count; }

struct visit {
    accounts_fn *fn;
    slice arg; /* behind it */
};

static void visit_loaded(struct account *a, enum err e, void *arg)
{
    struct visit *v = arg;
    if (e == OK && a->state == ACTOR_READY)
        v->fn(a, v->arg);
    mem_free(&v);
}

static void visit_later(struct account *a, accounts_fn *fn, slice arg)
{
    struct visit *v = mem_alloc(sizeof *v + arg.len);
    char *at = (char *)(v + 1);
    *v = (struct visit){ fn, slice_lay(&at, arg) };
    account_with(a->worker, a->jid, visit_loaded, v);
}

void accounts_each(struct worker *w, accounts_fn *fn, slice arg)
{
    struct account *a;
    for (uint32_t i = 0; (a = accounts_next(w, &i)) != NULL;) {
        if (actor_waits(&a->actor))
            visit_later(a, fn, arg);
        else if (a->state == ACTOR_READY)
            fn(a, arg);
    }
}

static enum err change_denied(struct actor_change *base)
{
    (void)base;
    return E_DENIED;
}

void account_change(struct account *a, struct actor_change *base)
{
    if (account_is_guest(a))
        base->prepare = change_denied;
    actor_change(&a->actor, base);
}

/* Sessions of an account. */

struct session *account_session(const struct account *a, slice resource)
{
    LIST_EACH (it, &a->sessions) {
        struct session *s = CONTAINER_OF(it, struct session, node);
        if (slice_eq(session_resource(s), resource))
            return s;
    }
    return NULL;
}

unsigned account_available(const struct account *a)
{
    unsigned n = 0;
    LIST_EACH (it, &a->sessions)
        n += CONTAINER_OF(it, struct session, node)->available;
    return n;
}

unsigned account_receivers(const struct account *a)
{
    unsigned n = 0;
    LIST_EACH (it, &a->sessions) {
        const struct session *s = CONTAINER_OF(it, struct session, node);
        n += s->available && s->priority >= 0;
    }
    return n;
}

/* Deletion and disabling: mutations, so that they stand in order with the others. */

struct removal {
    struct actor_change base; /* first */
    void (*done)(void *arg, enum err e);
    void *arg;
};

static enum err removal_prepare(struct actor_change *base)
{
    struct account *a = account_of(base->actor);
    if (a->state != ACTOR_READY)
        return E_NOTFOUND;
    base->batch = store_write(a->worker->store, account_lane(a));
    archive_remove(base->batch, a->id, a->jid);
    EMIT(account.remove, a, base->batch);
    credentials_add_delete(base->batch, a->id);
    return OK;
}

/* Releases the state of features. Later stanzas find no such account. */
static void become_absent(struct account *a)
{
    EMIT(account.unload, a);
    mailbox_fini(a);
    a->mailbox = (struct mailbox){ 0 };
    actor_become(&a->actor, ACTOR_ABSENT);
}

static enum err disabling_prepare(struct actor_change *base)
{
    struct account *a = account_of(base->actor);
    if (a->state != ACTOR_READY)
        return E_NOTFOUND;
    base->batch = store_write(a->worker->store, account_lane(a));
    STORE_ADD(base->batch, &account_put_disabled, 1, SV_I(a->id), SV_I(ACCOUNT_DISABLED));
    return OK;
}

static void disabling_apply(struct actor_change *base, enum err e)
{
    struct removal *r = (struct removal *)base;
    struct account *a = account_of(base->actor);
    a->removing = false;
    r->done(r->arg, e); /* first: the one who asked may sit in one of the sessions */
    if (e == OK) {
        a->disabled = true;
        users_end_sessions(a, NULL, END_DISABLED);
        struct store_batch *b = store_write(a->worker->store, account_lane(a));
        mailbox_save(a, b); /* what the sessions still settled */
        store_submit(b, a->worker->loop, 0, NULL, NULL);
        become_absent(a);
    }
    mem_free(&r);
}

void account_disable(struct account *a, void (*done)(void *arg, enum err e), void *arg)
{
    struct removal *r = mem_new(struct removal);
    *r = (struct removal){ { .prepare = disabling_prepare, .apply = disabling_apply }, done, arg };
    a->removing = true; /* who writes now is answered as by the disabled one */
    account_change(a, &r->base);
}

bool account_stays(const struct account *a) { return a->state == ACTOR_READY && !a->removing; }

struct account_gone {
    slice bare;
};

static void account_gone_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)from;
    EMIT(account.deleted, w, ((const struct account_gone *)message)->bare);
}

static const struct message_field account_gone_fields[] = { F_BARE(struct account_gone, bare),
                                                            { 0 } };
const struct message_row account_gone_message = {
    .id = 23,
    .scope = MESSAGE_CLUSTER,
    .name = "account-gone",
    .size = sizeof(struct account_gone),
    .fields = account_gone_fields,
    .run = account_gone_run,
};

/* When its sessions have ended. `bare` is freed. */
static void account_gone_tell(struct worker *w, slice *bare)
{
    each_home(w, &account_gone_message, &(struct account_gone){ *bare }, &(struct asker){ 0 });
    mem_free(&bare);
}

static void removal_apply(struct actor_change *base, enum err e)
{
    struct removal *r = (struct removal *)base;
    struct account *a = account_of(base->actor);
    a->removing = false;
    if (e == OK) {
        struct worker *w = a->worker;
        slice *bare = slice_box(a->jid);
        r->done(r->arg, OK); /* first: the one who asked may sit in one of the sessions */
        LIST_EACH (it, &a->sessions)
            session_end(CONTAINER_OF(it, struct session, node), END_REMOVED);
        become_absent(a);
        account_gone_tell(w, bare);
    } else {
        r->done(r->arg, e);
    }
    mem_free(&r);
}

static void archive_left(void *arg, enum err e)
{
    struct removal *r = arg;
    struct account *a = account_of(r->base.actor);
    if (e == OK)
        account_change(a, &r->base);
    else
        removal_apply(&r->base, e);
    account_unpin(a);
}

void account_remove(struct account *a, void (*done)(void *arg, enum err e), void *arg)
{
    struct removal *r = mem_new(struct removal);
    *r = (struct removal){
        { .actor = &a->actor, .prepare = removal_prepare, .apply = removal_apply }, done, arg
    };
    a->removing = true; /* what comes now would be stored behind it */
    account_pin(a);
    archive_leave(a->worker, a->id, INT64_MAX, archive_left, r);
}
