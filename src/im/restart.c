#include "im/restart.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/xml_read.h"
#include "home/frozen.h"
#include "home/here.h"
#include "home/node.h"
#include "home/question.h"
#include "im/account.h"
#include "im/account_frozen.h"
#include "im/feature.h"
#include "im/guest.h"
#include "im/session_private.h"
#include "im/session_wait.h"

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

/* Saving. */

enum { PART_BYTES = 256 << 10, BATCH_BYTES = 4 << 20 };

static void put_parts(const struct account *a, struct store_batch **b, slice bytes)
{
    size_t used = 0;
    STORE_ADD(*b, &drop_parts, STORE_ANY_ROWS, SV_T(a->jid)); /* of an end before this one */
    for (int64_t n = 0; bytes.len > 0; n++) {
        slice part = frozen_part(&bytes, PART_BYTES);
        used += part.len;
        if (used > BATCH_BYTES) { /* a batch is bounded; the lane keeps them in order */
            store_submit(*b, worker_loop(a->worker), 0, NULL, NULL);
            *b = store_write(worker_store(a->worker), account_lane(a));
            used = part.len;
        }
        STORE_ADD(*b, &put_part, STORE_ANY_ROWS, SV_T(a->jid), SV_I(n), SV_B(part));
    }
}

/* How many of its sessions can be resumed. */
static unsigned freeze_into(struct account *a, struct store_batch **b)
{
    unsigned frozen = 0, count = 0;
    struct buf bytes;
    LIST_EACH (it, &a->sessions) {
        struct session *s = CONTAINER_OF(it, struct session, node);
        if (!session_is_frozen(s))
            continue;
        session_wait_drop(s); /* its client says it again */
        frozen++;
        count += s->sm == 2;
    }
    if (frozen == 0)
        return 0;
    buf_init(&bytes, FROZEN_BYTES_MAX);
    actor_freeze(&a->actor, &bytes);
    put_parts(a, b, buf_fit(&bytes));
    buf_fini(&bytes);
    return count;
}

static unsigned save_account(struct account *a)
{
    struct worker *w = a->worker;
    struct store_batch *b = store_write(worker_store(w), account_lane(a));
    ensure(account_here(a));
    unsigned count = freeze_into(a, &b);
    if (!mailbox_clean(a))
        mailbox_save(a, b);
    EMIT(account.stopping, a, b);
    if (store_stmt_count(b) > 0)
        store_submit(b, worker_loop(w), 0, NULL, NULL);
    else
        store_drop(&b);
    return count;
}

void restart_save(struct worker *w)
{
    struct account *a;
    unsigned count = 0;
    for (uint32_t i = 0; (a = accounts_next(w, &i)) != NULL;)
        if (a->state == ACTOR_READY && !account_is_guest(a) &&
            (!mailbox_clean(a) || !list_empty(&a->sessions)))
            count += save_account(a);
    if (count > 0)
        log_info(&log_session, LOG_EV("sessions.saved"), LOG_I("count", count));
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
};

enum { THAWING_MAX = 64, PAGE_PARTS = 4, DROPS_MAX = 500 }; /* accounts that are read at a time */

struct restoring {
    struct arena *arena;
    struct worker *worker;
    struct thawing *first, *at; /* at: the next one */
    unsigned under_way, count;
    bool failed; /* something could not be read: the rows stay for the next start */
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
    if (e == OK && a->state == ACTOR_READY) {
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
    if (result == STORE_CONFLICT) { /* a page with more bytes than are read at once */
        account_not_thawed(t->jid, "it is too long");
        one_is_done(t);
        return;
    }
    if (result != STORE_OK) {
        r->failed = true;
        r->at = NULL;
        one_is_done(t);
        return;
    }
    for (uint32_t i = 0; i < store_row_count(b, 0); i++)
        buf_add(&t->bytes, store_text(b, 0, i, 0));
    if (t->read < t->parts) {
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
    for (uint32_t i = 0; (s = sessions_next(w, &i)) != NULL;)
        if (s->state == SESSION_HIBERNATING && s->sm == 0)
            session_end(s, END_SHUTDOWN);
}

static void restart_finished(struct restoring *r)
{
    struct store_batch *b = NULL;
    if (r->count > 0)
        log_info(&log_session, LOG_EV("sessions.restored"), LOG_I("count", r->count));
    for (const struct thawing *t = r->first; !r->failed && t != NULL; t = t->next) {
        if (b == NULL)
            b = store_write(worker_store(r->worker), 0);
        STORE_ADD(b, &drop_parts, STORE_ANY_ROWS, SV_T(t->jid));
        if (store_stmt_count(b) < DROPS_MAX && t->next != NULL)
            continue;
        store_submit(b, worker_loop(r->worker), 0, NULL, NULL);
        b = NULL;
    }
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
    r->failed = result != STORE_OK;
    for (uint32_t i = 0; !r->failed && i < store_row_count(b, 0); i++) {
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

/* Another address. */

struct renaming {
    struct store *store;
    slice old, to;
    struct xml_work *xml;
    slice jid; /* whose part it is, the number of which is next */
    int64_t number;
    enum err e;
};

/* Damaged bytes stay as they are: they are not thawed. */
static void restart_rename_part(void *arg, enum store_result result, const struct store_batch *b)
{
    struct renaming *r = arg;
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
    if (bytes.len > 0 && memmem(bytes.ptr, bytes.len, r->old.ptr, r->old.len) != NULL &&
        frozen_rename(&out, &part, r->old, r->to, &why) == OK) {
        struct store_batch *put = store_write(r->store, 0);
        STORE_ADD(put, &put_part, 1, SV_T(r->jid), SV_I(r->number), SV_B(buf_fit(&out)));
        r->e = err_of_store(store_run(put, NULL, NULL));
    }
    buf_fini(&out);
    arena_destroy(&tmp);
}

static void restart_rename_all(void *arg, enum store_result result, const struct store_batch *b)
{
    struct renaming *r = arg;
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

enum err restart_rename(struct store *store, slice old, slice to)
{
    struct renaming r = { .store = store, .old = old, .to = to, .xml = xml_work_create() };
    struct store_batch *b = store_read(store, 0);
    store_add(b, &get_all, STORE_ANY_ROWS, NULL, 0);
    store_run(b, restart_rename_all, &r);
    xml_work_destroy(&r.xml);
    return r.e;
}
