#include "account/restart.h"
#include "account/account.h"
#include "account/account_frozen.h"
#include "account/guest.h"
#include "account/renamed.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/xml_read.h"
#include "core/core.h"
#include "core/feature.h"
#include "home/frozen.h"
#include "home/here.h"
#include "home/node.h"
#include "home/question.h"
#include "presence/presence.h"
#include "session/session_struct.h"
#include "session/session_wait.h"
#include "store/renaming.h"

/* kind: accounts are the only actors that freeze so far. */
static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE frozen(kind TEXT NOT NULL, jid TEXT NOT NULL, part INTEGER NOT NULL,"
      " bytes BLOB NOT NULL, PRIMARY KEY(kind, jid, part));",
      "CREATE TABLE frozen(kind TEXT NOT NULL, jid TEXT NOT NULL, part BIGINT NOT NULL,"
      " bytes BYTEA NOT NULL, PRIMARY KEY(kind, jid, part));" },
    { 0 }
};
static struct store_stmt put_part = {
    .name = "frozen.put",
    .sql = "INSERT INTO frozen(kind, jid, part, bytes) VALUES('account', $1, $2, $3)"
           " ON CONFLICT(kind, jid, part) DO UPDATE SET bytes = excluded.bytes",
    .params = "tib",
    .cols = "",
};
static struct store_stmt get_all = {
    .name = "frozen.all",
    .sql = "SELECT jid, max(part) + 1 FROM frozen WHERE kind = 'account' GROUP BY jid ORDER BY jid",
    .params = "",
    .cols = "ti",
};
static struct store_stmt get_parts = {
    .name = "frozen.parts",
    .sql = "SELECT bytes FROM frozen WHERE kind = 'account' AND jid = $1 AND part >= $2"
           " AND part < $3 ORDER BY part",
    .params = "tii",
    .cols = "b",
};
static struct store_stmt drop_parts = {
    .name = "frozen.drop",
    .sql = "DELETE FROM frozen WHERE kind = 'account' AND jid = $1",
    .params = "t",
    .cols = "",
};
static struct store_stmt *const stmts[] = { &put_part, &get_all, &get_parts, &drop_parts, NULL };

/* Those inside of the bytes: restart_rename(). */
static const struct store_address addresses[] = {
    { "frozen", "jid", .kind = STORE_JID, .beside = "kind part" },
    { 0 },
};
const struct store_schema restart_schema = {
    .feature = "session", .migrations = migrations, .stmts = stmts, .addresses = addresses
};

/* Rows are stale when their account was restored. The home of the account deletes them. It is also
 * the home that saves the account next, so no row of that is deleted. */

struct stale_row {
    struct stale_row *next;
    slice jid;
};
struct stale {
    struct worker *worker;
    struct arena *arena;
    struct stale_row *first, *at; /* at: the next one */
    struct timer again;
};

static void stale_drop_all(struct stale *all);

static void stale_again(struct timer *t, struct loop *loop)
{
    (void)loop;
    stale_drop_all(CONTAINER_OF(t, struct stale, again));
}

static void stale_add(struct worker *w, slice jid)
{
    struct stale *all = core_of(w)->stale;
    if (all == NULL) {
        all = core_of(w)->stale = mem_new(struct stale);
        *all = (struct stale){ .worker = w, .arena = arena_create(0), .again.fn = stale_again };
    }
    struct stale_row *row = arena_new(all->arena, struct stale_row, 1);
    *row = (struct stale_row){ all->first, slice_dup(all->arena, jid) };
    all->first = row;
}

static void stale_free(struct worker *w)
{
    struct stale *all = core_of(w)->stale;
    if (all == NULL)
        return;
    timer_cancel(&all->again);
    arena_destroy(&all->arena);
    mem_free(&core_of(w)->stale);
}

static void stale_submit(struct stale *all, store_done_fn *done)
{
    enum { DROPS_MAX = 500 };
    struct store_batch *b = store_write(worker_store(all->worker), 0);
    for (; all->at != NULL && store_stmt_count(b) < DROPS_MAX; all->at = all->at->next)
        STORE_ADD(b, &drop_parts, STORE_ANY_ROWS, SV_T(all->at->jid));
    store_submit(b, worker_loop(all->worker), 0, done, all);
}

static void stale_dropped(void *arg, enum store_result result, const struct store_batch *b)
{
    enum { AGAIN_MS = 5000 };
    struct stale *all = arg;
    (void)b;
    if (core_of(all->worker)->saving != NULL)
        return; /* stale_end() has submitted the rest */
    if (result != STORE_OK)
        timer_set(worker_loop(all->worker), &all->again, AGAIN_MS);
    else if (all->at != NULL)
        stale_submit(all, stale_dropped);
    else
        stale_free(all->worker);
}

/* Until the database has done it; those that are gone do no harm. */
static void stale_drop_all(struct stale *all)
{
    ensure(all->first != NULL && worker_is_here(all->worker));
    all->at = all->first;
    stale_submit(all, stale_dropped);
}

/* The database has not deleted all of them yet: in front of what is saved now. */
static void stale_end(struct worker *w)
{
    struct stale *all = core_of(w)->stale;
    if (all == NULL)
        return;
    timer_cancel(&all->again);
    for (all->at = all->first; all->at != NULL;)
        stale_submit(all, NULL);
}

/* Saving: a walk over the accounts, each with batches of its own, in its lane. When much is under
 * way, it goes on when that is answered, so that the queue of the store takes all. */

enum { PART_BYTES = 256 << 10, BATCH_BYTES = 4 << 20, BATCH_COSTS = 4096 };

struct saved {
    struct saving *all;
    struct account *account;   /* pinned until all of it is submitted */
    unsigned under_way, count; /* batches; sessions that can be resumed */
    enum store_result result;
};
struct saving {
    struct worker *worker;
    struct timer timer;
    uint64_t until_us;
    struct buf bytes; /* of the account at `at` */
    slice rest;       /* of them, that is not submitted yet, and the number of the next part */
    int64_t number;
    size_t submitted; /* bytes since none was under way */
    unsigned under_way, at, len;
    bool told;
    struct saved each[];
};

static void not_saved(unsigned accounts, const char *why)
{
    if (accounts > 0)
        log_warn(&log_session, LOG_EV("sessions.not-saved"), LOG_I("accounts", accounts),
                 LOG_C("why", why),
                 LOG_C("hint", "the database did not take the sessions of these accounts in time; "
                               "their clients may have to log in anew, and get messages twice"));
}

/* What nobody has answered yet may be stored when the store ends. */
static void saving_is_over(struct saving *all)
{
    unsigned count = 0, lost = 0, unanswered = 0;
    enum store_result why = STORE_OK;
    for (unsigned i = 0; i < all->len; i++) {
        const struct saved *one = &all->each[i];
        if (i >= all->at)
            account_unpin(one->account);
        if (i >= all->at || one->under_way > 0) {
            unanswered++;
        } else if (one->result != STORE_OK) {
            lost++;
            why = one->result;
        } else {
            count += one->count;
        }
    }
    if (count > 0)
        log_info(&log_session, LOG_EV("sessions.saved"), LOG_I("count", count));
    not_saved(lost, store_result_name(why));
    not_saved(unanswered, "no answer");
    timer_cancel(&all->timer);
    all->told = true;
    atomic_fetch_sub(&worker_node(all->worker)->life_left, 1);
}

static void saving_is_late(struct timer *t, struct loop *loop)
{
    (void)loop;
    saving_is_over(CONTAINER_OF(t, struct saving, timer));
}

/* As long as the database answers; and the end of the process has a time limit (app/main.c). */
static void saving_waits(struct saving *all)
{
    enum { ANSWER_MS = 1000 };
    struct loop *loop = worker_loop(all->worker);
    uint64_t now_us = loop_now_us(loop);
    uint64_t left_ms = all->until_us > now_us ? (all->until_us - now_us) / 1000 : 0;
    timer_set(loop, &all->timer, left_ms < ANSWER_MS ? left_ms : ANSWER_MS);
}

static void save_more(struct saving *all);

static void batch_is_saved(void *arg, enum store_result result, const struct store_batch *b)
{
    struct saved *one = arg;
    struct saving *all = one->all;
    (void)b;
    ensure(one->under_way > 0 && worker_is_here(all->worker));
    if (result != STORE_OK)
        one->result = result;
    one->under_way--;
    all->under_way--;
    if (all->told)
        return;
    saving_waits(all);
    if (all->under_way > 0)
        return;
    all->submitted = 0;
    save_more(all);
    if (all->under_way == 0)
        saving_is_over(all);
}

static struct store_batch *save_batch(const struct saved *one)
{
    return store_write(worker_store(one->all->worker), account_lane(one->account));
}

static void save_submit(struct saved *one, struct store_batch *b, size_t bytes)
{
    one->under_way++;
    one->all->under_way++;
    one->all->submitted += bytes + BATCH_COSTS;
    store_submit(b, worker_loop(one->all->worker), 0, batch_is_saved, one);
}

/* A batch is bounded, too; the lane keeps them in order. */
static void save_parts(struct saved *one)
{
    struct saving *all = one->all;
    size_t used = 0;
    slice jid = one->account->jid, rest = all->rest;
    struct store_batch *b = save_batch(one);
    if (all->number == 0)
        STORE_ADD(b, &drop_parts, STORE_ANY_ROWS, SV_T(jid)); /* of an end before this one */
    while (rest.len > 0) {
        slice part = frozen_part(&rest, PART_BYTES);
        if (used > 0 && used + part.len > BATCH_BYTES)
            break;
        used += part.len;
        STORE_ADD(b, &put_part, STORE_ANY_ROWS, SV_T(jid), SV_I(all->number++), SV_B(part));
        all->rest = rest;
    }
    save_submit(one, b, used);
}

static void freeze_sessions(struct saved *one)
{
    struct account *a = one->account;
    unsigned frozen = 0;
    LIST_EACH (it, &a->sessions) {
        struct session *s = CONTAINER_OF(it, struct session, node);
        if (!session_is_frozen(s))
            continue;
        session_wait_drop(s); /* its client says it again */
        frozen++;
        one->count += s->sm == 2;
    }
    buf_clear(&one->all->bytes);
    if (frozen > 0)
        actor_freeze(&a->actor, &one->all->bytes);
    one->all->rest = buf_fit(&one->all->bytes);
    one->all->number = 0;
}

/* The cursor is in a batch of its own: it is saved even if the sessions cannot be. */
static void save_account(struct saved *one)
{
    struct account *a = one->account;
    ensure(account_here(a));
    struct store_batch *b = save_batch(one);
    if (!mailbox_clean(a))
        mailbox_save(a, b);
    EMIT_ONE(last, stopping, a, b);
    if (store_stmt_count(b) > 0)
        save_submit(one, b, 0);
    else
        store_drop(&b);
    freeze_sessions(one);
}

static bool is_to_be_saved(const struct account *a)
{
    return a->state == ACTOR_READY && !account_is_guest(a) &&
           (!mailbox_clean(a) || !list_empty(&a->sessions));
}

static void save_more(struct saving *all)
{
    size_t most = STORE_QUEUE_BYTES_MAX / 8 / worker_node(all->worker)->worker_count;
    while (all->at < all->len && all->submitted < most) {
        struct saved *one = &all->each[all->at];
        if (all->rest.len == 0 && is_to_be_saved(one->account)) /* still */
            save_account(one);
        if (all->rest.len > 0)
            save_parts(one);
        if (all->rest.len > 0)
            continue;
        all->at++;
        account_unpin(one->account);
    }
}

void restart_tell_components(struct worker *w)
{
    struct session *s;
    for (uint32_t i = 0; (s = sessions_next(w, &i)) != NULL;)
        if (s->state == SESSION_HIBERNATING && s->sm != 2)
            presence_tell_components(s);
}

void restart_save(struct worker *w)
{
    enum { SAVING_US = 5000 * 1000 };
    struct account *a;
    ensure(core_of(w)->saving == NULL);
    stale_end(w);
    struct saving *all = mem_zalloc(sizeof *all + accounts_count(w) * sizeof all->each[0]);
    core_of(w)->saving = all;
    all->worker = w;
    all->timer.fn = saving_is_late;
    all->until_us = loop_now_us(worker_loop(w)) + SAVING_US;
    buf_init(&all->bytes, FROZEN_BYTES_MAX);
    for (uint32_t i = 0; (a = accounts_next(w, &i)) != NULL;) {
        if (!is_to_be_saved(a))
            continue;
        account_pin(a);
        all->each[all->len++] = (struct saved){ .all = all, .account = a };
    }
    atomic_fetch_add(&worker_node(w)->life_left, 1);
    saving_waits(all);
    save_more(all);
    if (all->under_way == 0)
        saving_is_over(all);
}

void restart_fini(struct worker *w)
{
    struct saving *all = core_of(w)->saving;
    stale_free(w);
    renamed_fini(w);
    if (all == NULL)
        return;
    ensure(all->told);
    buf_fini(&all->bytes);
    mem_free(&core_of(w)->saving);
}

/* Restoring: the bytes of an account are read, page by page, and given to its home on this node.
 * Each is used by one thread at a time. */

struct thawing {
    struct thawing *next;
    struct restoring *all;
    slice jid;
    int64_t parts, read;
    struct buf bytes;
    unsigned count; /* of its sessions that can be resumed */
    bool too_long;
};

enum { THAWING_MAX = 64, PAGE_PARTS = 4 }; /* accounts that are read at a time */

struct restoring {
    struct arena *arena;
    struct worker *worker;
    struct thawing *first, *at; /* at: the next one */
    unsigned under_way, count;
    bool failed; /* the rest is not read */
    _Atomic bool *done;
};

static void restart_read_more(struct restoring *r);
static void page_read(void *arg, enum store_result result, const struct store_batch *b);

static void one_is_done(struct thawing *t)
{
    struct restoring *r = t->all;
    r->count += t->count;
    buf_fini(&t->bytes);
    r->under_way--;
    restart_read_more(r);
}

static void restore_failed(slice jid, const char *what, const char *why)
{
    log_warn(&log_session, LOG_EV("sessions.not-restored"), LOG_S("jid", jid), LOG_C("what", what),
             LOG_C("why", why),
             LOG_C("hint", "their clients log in anew; what was saved stays for the next start"));
}

static unsigned resumable_of(const struct account *a)
{
    unsigned n = 0;
    LIST_EACH (it, &a->sessions)
        n += CONTAINER_OF(it, const struct session, node)->sm == 2;
    return n;
}

struct thaw {
    void *thawing; /* of the worker that reads; it stays until the question is over */
};

struct thaw_waits {
    struct thawing *thawing;
    struct message_from from;
};

static void account_not_thawed(slice jid, const char *why)
{
    log_warn(&log_session, LOG_EV("account.not-thawed"), LOG_S("jid", jid), LOG_C("why", why),
             LOG_C("hint", "what the last end of the server saved of this account cannot be used; "
                           "its clients log in anew, and its messages are kept"));
}

static void thaw_ready(struct account *a, enum err e, void *arg)
{
    struct thaw_waits *waits = arg;
    struct thawing *t = waits->thawing;
    struct worker *w = a->worker;
    struct why why;
    ensure(account_here(a) && t != NULL);
    if (e == OK)
        stale_add(w, a->jid);
    else
        restore_failed(a->jid, "the account cannot be loaded", err_text(e));
    if (t->too_long) {
        account_not_thawed(a->jid, "it is too long");
    } else if (e == OK && a->state == ACTOR_READY) {
        if (actor_thaw(&a->actor, buf_slice(&t->bytes), &why) == OK)
            t->count = resumable_of(a);
        else
            account_not_thawed(a->jid, why.text);
    }
    question_end(w, &waits->from);
    mem_free(&waits);
}

static void thaw_run(struct worker *w, void *message, const struct message_from *from)
{
    struct thaw_waits *waits = mem_new(struct thaw_waits);
    *waits = (struct thaw_waits){ ((const struct thaw *)message)->thawing, *from };
    account_with(w, waits->thawing->jid, thaw_ready, waits);
}

static const struct message_field thaw_fields[] = {
    F_LOCAL(struct thaw, thawing),
    { 0 },
};
const struct message_row thaw_message = {
    .id = 19,
    .scope = MESSAGE_PROCESS,
    .name = "thaw",
    .size = sizeof(struct thaw),
    .fields = thaw_fields,
    .run = thaw_run,
    .later = true,
};

static void thawed(struct worker *w, void *arg)
{
    (void)w;
    one_is_done(arg);
}

static void read_page(struct thawing *t)
{
    struct worker *w = t->all->worker;
    struct store_batch *b = store_read(worker_store(w), 0);
    STORE_ADD(b, &get_parts, STORE_ANY_ROWS, SV_T(t->jid), SV_I(t->read),
              SV_I(t->read + PAGE_PARTS));
    t->read += PAGE_PARTS;
    store_submit(b, worker_loop(w), 0, page_read, t);
}

static void page_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct thawing *t = arg;
    struct restoring *r = t->all;
    uint32_t node;
    t->too_long = result == STORE_CONFLICT; /* a page has more bytes than are read at once */
    if (result != STORE_OK && !t->too_long) {
        if (!r->failed)
            restore_failed(t->jid, "it cannot be read, nor those behind it",
                           store_result_name(result));
        r->failed = true;
        r->at = NULL;
        one_is_done(t);
        return;
    }
    for (uint32_t i = 0; i < store_row_count(b, 0); i++)
        buf_add(&t->bytes, store_text(b, 0, i, 0));
    if (t->read < t->parts && !t->too_long) {
        read_page(t);
        return;
    }
    unsigned home = node_home(worker_node(r->worker), t->jid, &node);
    home_ask_at(r->worker, 0, home, &thaw_message, &(struct thaw){ t },
                &(struct asker){ .done = thawed, .arg = t });
}

void restart_end_rest(struct worker *w)
{
    struct session *s;
    renamed_say(w);
    for (uint32_t i = 0; (s = sessions_next(w, &i)) != NULL;)
        session_all_are_back(s);
    if (core_of(w)->stale != NULL)
        stale_drop_all(core_of(w)->stale);
}

static void restart_finished(struct restoring *r)
{
    if (r->count > 0)
        log_info(&log_session, LOG_EV("sessions.restored"), LOG_I("count", r->count));
    atomic_store(r->done, true);
    arena_destroy(&r->arena);
    mem_free(&r);
}

static void restart_read_more(struct restoring *r)
{
    for (; r->at != NULL && r->under_way < THAWING_MAX; r->at = r->at->next) {
        r->under_way++;
        read_page(r->at);
    }
    if (r->under_way == 0)
        restart_finished(r);
}

static void restart_listed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct restoring *r = arg;
    struct thawing **last = &r->first;
    uint32_t node;
    if (result != STORE_OK)
        restore_failed((slice){ 0 }, "no account can be read", store_result_name(result));
    for (uint32_t i = 0; i < store_row_count(b, 0); i++) {
        slice jid = store_text(b, 0, i, 0);
        (void)node_home(worker_node(r->worker), jid, &node);
        if (node != worker_node(r->worker)->id)
            continue; /* its home thaws it */
        struct thawing *t = arena_new(r->arena, struct thawing, 1);
        t->all = r;
        t->jid = slice_dup(r->arena, jid);
        t->parts = store_int(b, 0, i, 1);
        buf_init(&t->bytes, FROZEN_BYTES_MAX);
        *last = t;
        last = &t->next;
    }
    r->at = r->first;
    restart_read_more(r);
}

void restart_restore(struct worker *w, void *done)
{
    struct restoring *r = mem_new(struct restoring);
    r->arena = arena_create(0);
    r->worker = w;
    r->done = done;
    struct store_batch *b = store_read(worker_store(w), 0);
    store_add(b, &get_all, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(w), 0, restart_listed, r);
}

/* Other addresses. */

struct frozen_renaming {
    struct store *store;
    const struct renaming *renaming;
    struct xml_work *xml;
    slice jid; /* whose part it is, the number of which is next */
    int64_t number;
    enum err e;
};

/* Damaged bytes stay as they are: they are not thawed. */
static void restart_rename_part(void *arg, enum store_result result, const struct store_batch *b)
{
    struct frozen_renaming *r = arg;
    const struct renaming *renaming = r->renaming;
    const char *old = renaming->old;
    struct why why;
    struct buf out;
    r->e = err_of_store(result);
    if (r->e != OK || store_row_count(b, 0) == 0)
        return;
    struct arena *tmp = arena_create(0);
    slice bytes = store_text(b, 0, 0, 0);
    struct frozen_reading part = {
        .row = account_frozen.row, .xml = r->xml, .tmp = tmp, .rest = bytes
    };
    buf_init(&out, FROZEN_BYTES_MAX);
    if (bytes.len > 0 &&
        (!renaming->domain || memmem(bytes.ptr, bytes.len, old, strlen(old)) != NULL) &&
        frozen_rename(&out, &part, renaming, &why) == OK) {
        struct store_batch *put = store_write(r->store, 0);
        STORE_ADD(put, &put_part, 1, SV_T(r->jid), SV_I(r->number), SV_B(buf_fit(&out)));
        r->e = err_of_store(store_run(put, NULL, NULL));
    }
    buf_fini(&out);
    arena_destroy(&tmp);
}

static void restart_rename_all(void *arg, enum store_result result, const struct store_batch *b)
{
    struct frozen_renaming *r = arg;
    r->e = err_of_store(result);
    for (uint32_t i = 0; r->e == OK && i < store_row_count(b, 0); i++) {
        r->jid = store_text(b, 0, i, 0);
        for (r->number = 0; r->e == OK && r->number < store_int(b, 0, i, 1); r->number++) {
            struct store_batch *one = store_read(r->store, 0);
            STORE_ADD(one, &get_parts, STORE_ANY_ROWS, SV_T(r->jid), SV_I(r->number),
                      SV_I(r->number + 1));
            store_run(one, restart_rename_part, r);
        }
    }
}

enum err restart_rename(struct store *store, const struct renaming *renaming)
{
    struct frozen_renaming r = { .store = store, .renaming = renaming, .xml = xml_work_create() };
    struct store_batch *b = store_read(store, 0);
    store_add(b, &get_all, STORE_ANY_ROWS, NULL, 0);
    store_run(b, restart_rename_all, &r);
    xml_work_destroy(&r.xml);
    return r.e;
}
