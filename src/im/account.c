#include "im/account.h"
#include "auth/credentials.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "home/message_wire.h"
#include "home/node.h"
#include "home/worker.h"
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

enum {
    INBOX_MAX = 1000,
    INBOX_BYTES_MAX = 4 << 20, /* stanzas; one more may come, however large */
    IDLE_US = 60 * 1000000,
    ABSENT_US = 10 * 1000000,
    SWEEP_MS = 10000,
    IDLE_MAX = 20000
};

static struct log_area log_account = { .name = "account", .level = LOG_INFO };
struct log_area *const account_logs[] = { &log_account, &log_frames, NULL };

struct inbox_item {
    struct inbox_item *next;
    struct stanza *st; /* or fn */
    struct origin origin;
    uint64_t sender_entry;
    int64_t sender_id;
    account_fn *fn;
    void *arg;
};

struct node *account_node(const struct account *a) { return a->worker->node; }

unsigned account_state_slot(void)
{
    static unsigned used;
    ensure(used < ACCOUNT_STATE_SLOTS);
    return used++;
}

enum err err_of_store(enum store_result r)
{
    static const enum err map[] = {
        [STORE_OK] = OK,       [STORE_CONFLICT] = E_CONFLICT, [STORE_FULL] = E_FULL,
        [STORE_DOWN] = E_DOWN, [STORE_UNKNOWN] = E_TIMEOUT,   [STORE_BUSY] = E_FULL
    };
    return map[r];
}

/* Idle accounts: a list by age, swept by a timer that runs only while there are some. */

static void account_free(struct account *a)
{
    struct worker *w = a->worker;
    ensure(list_empty(&a->sessions) && a->pins == 0 && a->inbox == NULL);
    if (list_linked(&a->idle)) {
        list_remove(&a->idle);
        w->idle_count--;
    }
    if (a->state == ACCOUNT_READY)
        EMIT(unload, a);
    mailbox_fini(a);
    recent_free(a);
    given_free(a);
    crossing_free(a);
    map_del(&w->accounts, a->jid);
    mem_free(&a);
}

static void sweep(struct timer *t, struct loop *loop)
{
    struct worker *w = CONTAINER_OF(t, struct worker, sweep);
    uint64_t now = loop_now_us(loop);
    LIST_EACH (it, &w->idle) {
        struct account *a = CONTAINER_OF(it, struct account, idle);
        uint64_t keep = a->state == ACCOUNT_ABSENT ? ABSENT_US : IDLE_US;
        if (now - a->idle_since_us >= keep && mailbox_clean(a))
            account_free(a);
    }
    if (!list_empty(&w->idle))
        timer_set(loop, &w->sweep, SWEEP_MS);
}

void account_touch(struct account *a)
{
    struct worker *w = a->worker;
    bool busy =
        !list_empty(&a->sessions) || a->pins > 0 || a->inbox != NULL || a->state == ACCOUNT_LOADING;
    if (list_linked(&a->idle)) {
        list_remove(&a->idle);
        w->idle_count--;
    }
    if (busy)
        return;
    a->idle_since_us = loop_now_us(w->loop);
    list_append(&w->idle, &a->idle);
    w->idle_count++;
    if (!timer_is_set(&w->sweep)) {
        w->sweep.fn = sweep;
        timer_set(w->loop, &w->sweep, SWEEP_MS);
    }
    if (w->idle_count > IDLE_MAX) {
        struct account *oldest = CONTAINER_OF(w->idle.next, struct account, idle);
        if (mailbox_clean(oldest) && oldest != a)
            account_free(oldest);
    }
}

/* A pinned account is not in the idle list, since the sweep frees everything in it. */
void account_pin(struct account *a)
{
    if (a->pins++ == 0 && list_linked(&a->idle)) {
        list_remove(&a->idle);
        a->worker->idle_count--;
    }
}

void account_unpin(struct account *a)
{
    ensure(a->pins > 0);
    if (--a->pins == 0)
        account_touch(a);
}

void account_forget(struct worker *w, slice bare)
{
    struct account *a = map_get(&w->accounts, bare);
    if (a != NULL && a->state == ACCOUNT_ABSENT && a->pins == 0)
        account_free(a);
    else if (a != NULL)
        a->look_again = true; /* the look-up under way may have come too early */
}

/* Loading. */

/* What would be delivered to a client; not answers, nor what changes a subscription. */
static bool is_delivered(const struct stanza *st)
{
    return st->kind == STANZA_PRESENCE
               ? st->type == TYPE_AVAILABLE
               : (st->type == TYPE_GET || st->type == TYPE_SET) && !stanza_to_is_bare(st);
}

static enum routed handle(struct account *a, struct stanza *st, struct origin origin,
                          uint64_t sender_entry, int64_t sender_id)
{
    if (st->kind == STANZA_MESSAGE)
        return message_to_account(a, st, origin, sender_entry, sender_id);
    if (a->state == ACCOUNT_READY && is_delivered(st) && mailbox_is_crowded(a, st)) {
        route_error(a->worker, st, SE_RESOURCE_CONSTRAINT,
                    SLICE("too much waits for a client of this account"));
        stanza_unref(&st);
        return ROUTED;
    }
    if (st->kind == STANZA_IQ)
        return iq_to_account(a, st, origin);
    if (a->state == ACCOUNT_READY)
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

static void inbox_bounce(struct account *a, struct inbox_item *it, enum err e)
{
    if (it->fn != NULL) {
        it->fn(a, e, it->arg);
        return;
    }
    if (it->st->kind == STANZA_PRESENCE)
        subscription_failed(a->worker, it->st);
    route_error(a->worker, it->st, stanza_error_of(e), (slice){ 0 });
    stanza_unref(&it->st);
    if (it->origin.session != 0)
        ticket_done(a->worker, it->origin);
}

static void inbox_run(struct account *a, enum err e)
{
    a->pins++;
    while (a->inbox != NULL) {
        struct inbox_item *it = a->inbox;
        a->inbox = it->next;
        a->inbox_count--;
        a->inbox_bytes -= it->st == NULL ? 0 : it->st->bytes;
        if (e != OK)
            inbox_bounce(a, it, e);
        else if (it->fn != NULL)
            it->fn(a, OK, it->arg);
        else if (handle(a, it->st, it->origin, it->sender_entry, it->sender_id) == ROUTED &&
                 it->origin.session != 0)
            ticket_done(a->worker, it->origin);
        mem_free(&it);
    }
    a->pins--;
}

static void load_failed(struct account *a, enum err e)
{
    log_warn(
        &log_account, LOG_EV("load.failed"), LOG_S("jid", a->jid), LOG_C("error", err_name(e)),
        LOG_C("hint", "the account could not be read from the database; its stanzas were refused"));
    inbox_run(a, e);
    account_free(a);
}

static void look_up(struct account *a);

/* The result may be outdated: the id may be from a login before the account was deleted and made
 * again. */
static void not_found(struct account *a)
{
    if (a->look_again) {
        a->look_again = false;
        look_up(a);
        return;
    }
    a->state = ACCOUNT_ABSENT;
    inbox_run(a, OK);
    account_touch(a);
}

/* One read of everything; where the results of each feature begin is remembered until they are
 * there. */
struct load {
    struct account *account;
    unsigned first[FEATURES_MAX];
};

static void loaded(void *arg, enum store_result result, const struct store_batch *b)
{
    struct load *load = arg;
    struct account *a = load->account;
    a->loading = NULL;
    if (result != STORE_OK) {
        mem_free(&load);
        load_failed(a, err_of_store(result));
        return;
    }
    bool row = store_row_count(b, 0) > 0;
    if (!row && !account_is_guest(a)) { /* deleted since its client authenticated */
        mem_free(&load);
        not_found(a);
        return;
    }
    a->generation = row ? store_int(b, 0, 0, 0) : 0;
    mailbox_loaded(a, b, 1);
    recent_loaded(a, b, 3);
    unsigned i = 0;
    FEATURES_EACH (f, loaded)
        f->loaded(a, b, load->first[i++]);
    mailbox_loaded_roster(a, b, 1);
    mem_free(&load);
    a->state = ACCOUNT_READY;
    inbox_run(a, OK);
    account_touch(a);
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
    struct load *load = mem_new(struct load);
    struct store_batch *b = store_read(a->worker->store, account_lane(a));
    load->account = a;
    STORE_ADD(b, &account_exists, STORE_ANY_ROWS, SV_I(a->id));
    mailbox_load(a, b);
    recent_load(a, b, loop_wall_us(a->worker->loop));
    unsigned i = 0;
    FEATURES_EACH (f, loaded) {
        load->first[i++] = store_stmt_count(b);
        if (f->load != NULL)
            f->load(a, b);
    }
    a->loading = store_submit(b, a->worker->loop, 0, loaded, load);
}

static void id_loaded(void *arg, enum store_result result, const struct store_batch *b)
{
    struct account *a = arg;
    a->loading = NULL;
    if (result != STORE_OK) {
        load_failed(a, err_of_store(result));
        return;
    }
    a->disabled = store_row_count(b, 0) > 0 && store_int(b, 0, 0, 1) == ACCOUNT_DISABLED;
    if (store_row_count(b, 0) == 0 || a->disabled) {
        not_found(a);
        return;
    }
    a->id = store_int(b, 0, 0, 0);
    load_all(a);
}

static void look_up(struct account *a)
{
    struct store_batch *b = store_read(a->worker->store, credentials_lane(a->jid));
    STORE_ADD(b, &account_id, STORE_ANY_ROWS, SV_T(a->jid));
    a->loading = store_submit(b, a->worker->loop, 0, id_loaded, a);
}

static struct account *account_create(struct worker *w, slice bare)
{
    struct account *a = mem_zalloc(sizeof *a + bare.len);
    char *text = (char *)(a + 1);
    memcpy(text, bare.ptr, bare.len);
    a->worker = w;
    a->jid = (slice){ text, bare.len };
    a->state = ACCOUNT_LOADING;
    list_init(&a->sessions);
    a->inbox_tail = &a->inbox;
    a->mutation_tail = &a->mutations;
    map_put(&w->accounts, a);
    return a;
}

/* known_id: as authenticated, so that a login needs one read less; 0: to be looked up. */
static struct account *account_load(struct worker *w, slice bare, int64_t known_id)
{
    struct account *a = account_create(w, bare);
    if (known_id != 0) {
        a->id = known_id;
        a->look_again = true;
        load_all(a);
    } else {
        look_up(a);
    }
    return a;
}

static bool inbox_put(struct account *a, const struct inbox_item *item)
{
    if (a->inbox_count == INBOX_MAX || (item->st != NULL && a->inbox_bytes > INBOX_BYTES_MAX))
        return false;
    struct inbox_item *it = mem_alloc(sizeof *it);
    *it = *item;
    it->next = NULL;
    if (a->inbox == NULL)
        a->inbox_tail = &a->inbox;
    *a->inbox_tail = it;
    a->inbox_tail = &it->next;
    a->inbox_count++;
    a->inbox_bytes += item->st == NULL ? 0 : item->st->bytes;
    return true;
}

static bool account_waits(const struct account *a)
{
    return a->state == ACCOUNT_LOADING || a->inbox != NULL;
}

/* An account that was not there, and is pinned by what was under way: it may be there by now. */
static void look_once_more(struct account *a)
{
    if (a->state != ACCOUNT_ABSENT || a->loading != NULL || a->inbox != NULL)
        return;
    a->look_again = a->disabled = false;
    a->state = ACCOUNT_LOADING;
    look_up(a);
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
    struct account *a = map_get(&w->accounts, stanza_to_bare(st));
    if (a == NULL) {
        if (!needs_account(st)) {
            stanza_unref(&st);
            return ROUTED;
        }
        a = account_load(w, stanza_to_bare(st), 0);
    }
    if (a->look_again)
        look_once_more(a);
    if (!account_waits(a))
        return handle(a, st, origin, sender_entry, sender_id);
    struct inbox_item item = {
        .st = st, .origin = origin, .sender_entry = sender_entry, .sender_id = sender_id
    };
    if (promise_of(st) == PROMISE_QUEUED)
        item.origin = ORIGIN_NONE; /* it is queued at its home now */
    if (inbox_put(a, &item))
        return item.origin.session != 0 ? ROUTE_PENDING : ROUTED;
    route_error(w, st, SE_RESOURCE_CONSTRAINT, SLICE("too many stanzas wait for this account"));
    stanza_unref(&st);
    return ROUTED;
}

static void with(struct worker *w, slice bare, int64_t known_id, account_fn *fn, void *arg)
{
    struct account *a = map_get(&w->accounts, bare);
    if (a != NULL && a->state == ACCOUNT_ABSENT && known_id != 0 && a->pins == 0) {
        account_free(a); /* created since we looked */
        a = NULL;
    }
    if (a == NULL)
        a = account_load(w, bare, known_id);
    else if (a->look_again || known_id != 0)
        look_once_more(a);
    if (!account_waits(a)) {
        fn(a, OK, arg);
        return;
    }
    if (!inbox_put(a, &(struct inbox_item){ .fn = fn, .arg = arg }))
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
    struct account *a = map_get(&w->accounts, bare);
    return a != NULL && a->state == ACCOUNT_READY && a->inbox == NULL ? a : NULL;
}

struct visit {
    accounts_fn *fn;
    slice arg; /* behind it */
};

static void visit_loaded(struct account *a, enum err e, void *arg)
{
    struct visit *v = arg;
    if (e == OK && a->state == ACCOUNT_READY)
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
    for (uint32_t i = 0; (a = map_next(&w->accounts, &i)) != NULL;) {
        if (account_waits(a))
            visit_later(a, fn, arg);
        else if (a->state == ACCOUNT_READY)
            fn(a, arg);
    }
}

/* Mutations: prepare -> commit -> apply, one in flight. A write is never taken back, so what memory
 * does has to wait for the store's word, far beyond the 5 s after which waiting messages are
 * refused. */

enum { COMMIT_MS = 600 * 1000 };

static void mutation_next(struct account *a);

static void mutation_end(struct account *a, enum err e)
{
    struct mutation *m = a->mutations;
    a->mutations = m->next;
    if (a->mutations == NULL)
        a->mutation_tail = &a->mutations;
    m->apply(m, e);
}

static void mutation_committed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct account *a = arg;
    (void)b;
    a->mutating = false;
    mutation_end(a, err_of_store(result));
    mutation_next(a);
    account_unpin(a);
}

static void mutation_next(struct account *a)
{
    while (a->mutations != NULL && !a->mutating) {
        struct mutation *m = a->mutations;
        enum err e = account_is_guest(a) ? E_DENIED : m->prepare(m); /* nothing of it is kept */
        if (e != OK || m->batch == NULL) {
            store_drop(&m->batch);
            mutation_end(a, e);
            continue;
        }
        struct store_batch *b = m->batch;
        m->batch = NULL;
        a->mutating = true;
        account_pin(a);
        store_submit(b, a->worker->loop, COMMIT_MS, mutation_committed, a);
    }
}

void account_mutate(struct account *a, struct mutation *m)
{
    m->next = NULL;
    m->account = a;
    *a->mutation_tail = m;
    a->mutation_tail = &m->next;
    mutation_next(a);
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
    struct mutation mutation;
    void (*done)(void *arg, enum err e);
    void *arg;
};

static enum err removal_prepare(struct mutation *m)
{
    struct account *a = m->account;
    if (a->state != ACCOUNT_READY)
        return E_NOTFOUND;
    m->batch = store_write(a->worker->store, account_lane(a));
    archive_remove(m->batch, a->id, a->jid);
    EMIT(remove, a, m->batch);
    credentials_add_delete(m->batch, a->id);
    return OK;
}

/* Releases the state of features. Later stanzas find no such account. */
static void become_absent(struct account *a)
{
    EMIT(unload, a);
    mailbox_fini(a);
    a->mailbox = (struct mailbox){ 0 };
    a->state = ACCOUNT_ABSENT;
}

static enum err disabling_prepare(struct mutation *m)
{
    struct account *a = m->account;
    if (a->state != ACCOUNT_READY)
        return E_NOTFOUND;
    m->batch = store_write(a->worker->store, account_lane(a));
    STORE_ADD(m->batch, &account_put_disabled, 1, SV_I(a->id), SV_I(ACCOUNT_DISABLED));
    return OK;
}

static void disabling_apply(struct mutation *m, enum err e)
{
    struct removal *r = CONTAINER_OF(m, struct removal, mutation);
    struct account *a = m->account;
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
    account_mutate(a, &r->mutation);
}

bool account_stays(const struct account *a) { return a->state == ACCOUNT_READY && !a->removing; }

static void tell_worker(struct worker *w, void *arg)
{
    const slice *bare = arg;
    EMIT(account_deleted, w, *bare);
}

static void told(struct worker *w, void *arg)
{
    slice *bare = arg;
    (void)w;
    mem_free(&bare);
}

static void removal_apply(struct mutation *m, enum err e)
{
    struct removal *r = CONTAINER_OF(m, struct removal, mutation);
    struct account *a = m->account;
    a->removing = false;
    if (e == OK) {
        node_tour(a->worker, tell_worker, told, slice_box(a->jid));
        r->done(r->arg, OK); /* first: the one who asked may sit in one of the sessions */
        LIST_EACH (it, &a->sessions)
            session_end(CONTAINER_OF(it, struct session, node), END_REMOVED);
        become_absent(a);
    } else {
        r->done(r->arg, e);
    }
    mem_free(&r);
}

static void archive_left(void *arg, enum err e)
{
    struct removal *r = arg;
    struct account *a = r->mutation.account;
    if (e == OK)
        account_mutate(a, &r->mutation);
    else
        removal_apply(&r->mutation, e);
    account_unpin(a);
}

void account_remove(struct account *a, void (*done)(void *arg, enum err e), void *arg)
{
    struct removal *r = mem_new(struct removal);
    *r = (struct removal){ { .account = a, .prepare = removal_prepare, .apply = removal_apply },
                           done,
                           arg };
    a->removing = true; /* what comes now would be stored behind it */
    account_pin(a);
    archive_leave(a->worker, a->id, INT64_MAX, archive_left, r);
}

/* The process ends: frees memory. Everything that must be on disk is there. */
void accounts_stop(struct worker *w)
{
    struct account *a;
    for (uint32_t i = 0; (a = map_next(&w->accounts, &i)) != NULL;) {
        while (!list_empty(&a->sessions))
            session_free(CONTAINER_OF(a->sessions.next, struct session, node));
        while (a->inbox != NULL) {
            struct inbox_item *it = a->inbox;
            a->inbox = it->next;
            stanza_unref(&it->st);
            mem_free(&it);
        }
        a->pins = a->storing = 0;
        a->mailbox.writing = false;
        account_free(a);
    }
}
