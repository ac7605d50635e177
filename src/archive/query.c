#include "archive/query.h"
#include "archive/archive.h"
#include "archive/ids.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "home/here.h"
#include <stdlib.h>

enum {
    COUNT_MAX = 10000, /* more are not counted */
    FIND_MS = 2000     /* a filter that finds little in much is given up */
};

#define JOINED                                                                                     \
    " JOIN message m ON m.id = e.msg WHERE e.owner = $1 AND e.id > $2 AND e.id < $3"               \
    " AND e.flags < 2 AND m.at_us >= $4 AND m.at_us <= $5"
#define FOUND " FROM entry e" JOINED
/* Left alone, SQLite would walk over the whole archive in the order of ids. */
#define FOUND_WITH       " FROM entry e INDEXED BY entry_peer" JOINED WITH("instr")
#define FOUND_WITH_PGSQL " FROM entry e" JOINED WITH("strpos")
/* $6 the peer; $7 its address if it is not one of ours, empty: any. */
#define WITH(find)                                                                                 \
    " AND e.peer = $6 AND (e.peer <> 0 OR $7 = '' OR m.remote = $7)" ARCHIVE_FULL_JID(find)

static struct store_stmt find_first = {
    .name = "archive.first",
    .sql = "SELECT e.id" FOUND " ORDER BY e.id LIMIT $6",
    .params = "iiiiii",
    .cols = "i",
};
static struct store_stmt find_last = {
    .name = "archive.last",
    .sql = "SELECT e.id" FOUND " ORDER BY e.id DESC LIMIT $6",
    .params = "iiiiii",
    .cols = "i",
};
static struct store_stmt find_first_with = {
    .name = "archive.first-with",
    .sqlite = "SELECT e.id" FOUND_WITH " ORDER BY e.id LIMIT $10",
    .pgsql = "SELECT e.id" FOUND_WITH_PGSQL " ORDER BY e.id LIMIT $10",
    .params = "iiiiiittti",
    .cols = "i",
};
static struct store_stmt find_last_with = {
    .name = "archive.last-with",
    .sqlite = "SELECT e.id" FOUND_WITH " ORDER BY e.id DESC LIMIT $10",
    .pgsql = "SELECT e.id" FOUND_WITH_PGSQL " ORDER BY e.id DESC LIMIT $10",
    .params = "iiiiiittti",
    .cols = "i",
};
static struct store_stmt count_all = {
    .name = "archive.count",
    .sql = "SELECT count(*) FROM (SELECT 1" FOUND " LIMIT $6) c",
    .params = "iiiiii",
    .cols = "i",
};
static struct store_stmt count_with = {
    .name = "archive.count-with",
    .sqlite = "SELECT count(*) FROM (SELECT 1" FOUND_WITH " LIMIT $10) c",
    .pgsql = "SELECT count(*) FROM (SELECT 1" FOUND_WITH_PGSQL " LIMIT $10) c",
    .params = "iiiiiittti",
    .cols = "i",
};
static struct store_stmt find_peer = {
    .name = "archive.peer",
    .sql = "SELECT coalesce((SELECT id FROM account WHERE jid = $1),"
           " (SELECT max(id) FROM former WHERE jid = $1), 0)",
    .params = "t",
    .cols = "i",
};
static struct store_stmt find_id = {
    .name = "archive.id",
    .sql = "SELECT id, msg FROM entry WHERE owner = $1 AND id = $2 AND flags < 2",
    .params = "ii",
    .cols = "ii",
};
static struct store_stmt read_ends = {
    .name = "archive.ends",
    .sql = "SELECT e.id, m.at_us FROM entry e JOIN message m ON m.id = e.msg WHERE e.owner = $1"
           " AND (e.id = (SELECT min(id) FROM entry WHERE owner = $1 AND flags < 2)"
           " OR e.id = (SELECT max(id) FROM entry WHERE owner = $1 AND flags < 2)) ORDER BY e.id",
    .params = "i",
    .cols = "ii",
};
static struct store_stmt *const stmts[] = {
    &find_first, &find_last, &find_first_with, &find_last_with, &count_all,
    &count_with, &find_peer, &find_id,         &read_ends,      NULL
};
static const struct store_migration none[] = { { 0 } };
const struct store_schema archive_query_schema = { .feature = "archive-query",
                                                   .migrations = none,
                                                   .stmts = stmts };

/* An empty page would say that there are no messages. */
slice archive_unread_text(enum stanza_error e)
{
    return e == SE_RESOURCE_CONSTRAINT
               ? SLICE("the archive cannot be read now, because the database is busy or does not "
                       "answer: ask again later")
               : SLICE("the archive cannot be read");
}

static void archive_query_fail(struct archive_query *q, enum store_result r)
{
    enum stanza_error e = stanza_error_of(err_of_store(r));
    q->done(q, e, archive_unread_text(e));
}

static bool with_anybody(const struct archive_query *q) { return q->ask->with.full.len == 0; }

/* The address of the other side if it is not one of ours. Empty for occupants of a room that are
 * known by nickname only: these are found by the stanza. */
static slice remote(const struct archive_query *q)
{
    slice bare = jid_bare(&q->ask->with);
    return q->room.len > 0 && slice_eq(bare, q->room) ? SLICE("") : bare;
}

/* How a stanza with this full JID as `from` begins, and what follows the value of `from` if it is
 * the `to`: stanza_store() writes from and to first, with the quotes in them escaped. */
static void full_jid_texts(const struct archive_query *q, slice *from, slice *to)
{
    struct buf text;
    *from = *to = SLICE("");
    if (q->ask->with.resource.len == 0)
        return;
    buf_init(&text, XML_PART_MAX);
    buf_lit(&text, "<message from='"); /* the value is escaped */
    xml_escape(&text, q->ask->with.full);
    buf_lit(&text, "'");
    *from = slice_dup(q->tmp, buf_fit(&text));
    buf_clear(&text);
    buf_lit(&text, "' to='");
    xml_escape(&text, q->ask->with.full);
    buf_lit(&text, "'");
    *to = slice_dup(q->tmp, buf_fit(&text));
    buf_fini(&text);
}

struct range {
    uint64_t after, before;
    uint32_t limit;
};

static void add_find(const struct archive_query *q, struct store_batch *b,
                     const struct store_stmt *all, const struct store_stmt *with, struct range r)
{
    slice from, to;
    const struct mam_query *ask = q->ask;
    if (with_anybody(q)) {
        STORE_ADD(b, all, STORE_ANY_ROWS, SV_I(q->owner), SV_I(r.after), SV_I(r.before),
                  SV_I(ask->start_us), SV_I(ask->end_us), SV_I(r.limit));
        return;
    }
    full_jid_texts(q, &from, &to);
    STORE_ADD(b, with, STORE_ANY_ROWS, SV_I(q->owner), SV_I(r.after), SV_I(r.before),
              SV_I(ask->start_us), SV_I(ask->end_us), SV_I(q->peer), SV_T(remote(q)), SV_T(from),
              SV_T(to), SV_I(r.limit));
}

/* Cuts to the page: one more than its limit was looked for, and the other way round if backwards.
 */
static void cut_page(struct archive_query *q)
{
    uint32_t limit = q->ask->limit;
    q->complete = q->found_count <= limit;
    if (q->complete && q->ask->open)
        q->count = q->found_count;
    if (!q->complete)
        q->found_count = limit;
    for (uint32_t i = 0; q->ask->backwards && i < q->found_count / 2; i++) {
        uint64_t *one = &q->found[i], *other = &q->found[q->found_count - 1 - i], id = *one;
        *one = *other;
        *other = id;
    }
}

static void archive_query_found(void *arg, enum store_result r, const struct store_batch *b)
{
    struct archive_query *q = arg;
    uint32_t limit = q->ask->limit;
    bool ids = q->ask->id_count > 0 && q->match.len == 0;
    if (r != STORE_OK) {
        archive_query_fail(q, r);
        return;
    }
    q->found_count = 0;
    for (unsigned s = 0; s < store_stmt_count(b) && limit > 0; s++)
        for (uint32_t i = 0; i < store_row_count(b, s) && q->found_count <= limit; i++)
            q->found[q->found_count++] = (uint64_t)store_int(b, s, i, 0);
    if (limit > 0) {
        cut_page(q);
    } else { /* only the count was asked for (XEP-0059 §2.7) */
        int64_t n = ids ? 0 : store_int(b, 0, 0, 0);
        for (unsigned s = 0; ids && s < store_stmt_count(b); s++)
            n += store_row_count(b, s);
        q->complete = n == 0;
        q->count = n <= COUNT_MAX ? n : -1;
    }
    ensure(q->found_count <= limit || limit == 0);
    q->done(q, SE_NONE, (slice){ 0 });
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = ((const struct mam_want *)a)->id, y = ((const struct mam_want *)b)->id;
    return (x > y) - (x < y);
}

/* The ids that were asked for, in their order in the archive; each once. */
static void add_find_ids(struct archive_query *q, struct store_batch *b)
{
    const struct mam_query *ask = q->ask;
    unsigned added = 0, n = ask->id_count, most = ask->limit == 0 ? n : ask->limit + 1;
    struct mam_want *ids = arena_new(q->tmp, struct mam_want, n);
    memcpy(ids, ask->want, n * sizeof *ids);
    qsort(ids, n, sizeof *ids, by_id);
    for (unsigned k = 0; k < n && added < most; k++) {
        unsigned at = ask->backwards ? n - 1 - k : k;
        uint64_t id = ids[at].id;
        bool again = at > 0 && id == ids[at - 1].id;
        if (again || id <= ask->after || id >= ask->before)
            continue;
        add_find(q, b, &find_first, &find_first_with, (struct range){ id - 1, id + 1, 1 });
        added++;
    }
}

static void add_find_words(const struct archive_query *q, struct store_batch *b,
                           const struct store_stmt *stmt, uint32_t limit)
{
    slice from, to;
    bool with = !with_anybody(q);
    full_jid_texts(q, &from, &to);
    STORE_ADD(b, stmt, STORE_ANY_ROWS, SV_I(q->owner), SV_I(q->after_msg), SV_I(q->before_msg),
              SV_I(q->ask->start_us), SV_I(q->ask->end_us), SV_I(with ? q->peer : -1),
              SV_T(with ? remote(q) : SLICE("")), SV_T(from), SV_T(to), SV_I(limit),
              SV_T(q->match));
}

static void find_words(struct archive_query *q, struct store_batch *b)
{
    const struct archive_words *words = archive_words();
    if (q->ask->limit == 0)
        add_find_words(q, b, words->count, COUNT_MAX + 1);
    else
        add_find_words(q, b, q->ask->backwards ? words->last : words->first, q->ask->limit + 1);
    store_read_long(b, q->user, FIND_MS);
    store_submit(b, worker_loop(q->worker), 0, archive_query_found, q);
}

static void archive_query_find(struct archive_query *q, struct store_batch *b)
{
    const struct mam_query *ask = q->ask;
    struct range r = { ask->after, ask->before, ask->limit + 1 };
    uint64_t slack = archive_slack_us(q->worker);
    if (ask->start_us > 0 && (uint64_t)ask->start_us > r.after + slack)
        r.after = (uint64_t)ask->start_us - slack - 1;
    if (ask->end_us >= 0 && r.before > slack && (uint64_t)ask->end_us < r.before - slack - 1)
        r.before = (uint64_t)ask->end_us + slack + 1;
    q->found = arena_new(q->tmp, uint64_t, ask->limit + 1);
    if (q->match.len > 0) {
        find_words(q, b);
        return;
    }
    if (ask->id_count > 0)
        add_find_ids(q, b);
    else if (ask->limit == 0)
        add_find(q, b, &count_all, &count_with, (struct range){ r.after, r.before, COUNT_MAX + 1 });
    else if (ask->backwards)
        add_find(q, b, &find_last, &find_last_with, r);
    else
        add_find(q, b, &find_first, &find_first_with, r);
    store_read_long(b, q->user, FIND_MS);
    store_submit(b, worker_loop(q->worker), 0, archive_query_found, q);
}

static void archive_query_checked(void *arg, enum store_result r, const struct store_batch *b)
{
    struct archive_query *q = arg;
    const struct mam_query *ask = q->ask;
    if (r != STORE_OK) {
        archive_query_fail(q, r);
        return;
    }
    for (unsigned i = 0; i < ask->want_count; i++) {
        if (store_row_count(b, i) == 0) { /* §4.1.3, §4.3.2 */
            q->done(q, SE_ITEM_NOT_FOUND, SLICE("no such id in the archive"));
            return;
        }
        int64_t msg = store_int(b, i, 0, 1);
        if (ask->want[i].as == MAM_WANT_AFTER && msg > q->after_msg)
            q->after_msg = msg;
        if (ask->want[i].as == MAM_WANT_BEFORE && msg < q->before_msg)
            q->before_msg = msg;
    }
    if (store_stmt_count(b) > ask->want_count)
        q->peer = store_int(b, ask->want_count, 0, 0);
    archive_query_find(q, store_read(worker_store(q->worker), 0));
}

/* Entries of the owner that are late are put in place by the first read (architecture §7). What a
 * room has is from addresses, not from accounts. */
static void archive_query_start(struct archive_query *q)
{
    const struct mam_query *ask = q->ask;
    bool peer = !with_anybody(q) && q->room.len == 0;
    struct store_batch *b = store_read(worker_store(q->worker), (uint64_t)q->owner);
    store_read_late(b, q->owner);
    if (ask->want_count == 0 && !peer) {
        archive_query_find(q, b);
        return;
    }
    for (unsigned i = 0; i < ask->want_count; i++)
        STORE_ADD(b, &find_id, STORE_ANY_ROWS, SV_I(q->owner), SV_I(ask->want[i].id));
    if (peer)
        STORE_ADD(b, &find_peer, STORE_ANY_ROWS, SV_T(jid_bare(&ask->with)));
    store_submit(b, worker_loop(q->worker), 0, archive_query_checked, q);
}

static void indexed(void *arg, enum archive_words_state state)
{
    struct archive_query *q = arg;
    q->index = state;
    archive_query_start(q);
}

void archive_find(struct archive_query *q)
{
    const struct archive_words *words = archive_words();
    q->count = -1;
    ensure(q->owner != 0 && q->done != NULL && q->tmp != NULL);
    q->before_msg = INT64_MAX;
    if (q->ask->words.len == 0) {
        archive_query_start(q);
        return;
    }
    if (words == NULL || !setting_bool(words->enabled)) {
        q->done(q, SE_FEATURE_NOT_IMPLEMENTED, SLICE("there is no full-text search here"));
        return;
    }
    q->match = words->match(q->worker, q->owner, q->ask->words, q->tmp);
    if (q->match.len == 0)
        q->done(q, SE_BAD_REQUEST, SLICE("there is no word to search for"));
    else
        words->catch_up(q->worker, (uint64_t)q->owner, indexed, q);
}

void archive_fin_write(struct xml_write *x, const struct archive_query *q, uint32_t from,
                       uint32_t count)
{
    bool all = count == q->found_count;
    struct mam_fin fin = { .count = all ? q->count : -1,
                           .complete = all && q->complete,
                           .unstable = q->index == WORDS_BEHIND };
    if (count > 0) {
        fin.first = q->found[from];
        fin.last = q->found[from + count - 1];
    }
    mam_fin_write(x, &fin);
}

void archive_ends_add(struct store_batch *b, int64_t owner)
{
    STORE_ADD(b, &read_ends, STORE_ANY_ROWS, SV_I(owner));
}

static struct mam_end archive_query_end_of(const struct store_batch *b, unsigned stmt, uint32_t row)
{
    return (struct mam_end){ (uint64_t)store_int(b, stmt, row, 0),
                             (uint64_t)store_int(b, stmt, row, 1) };
}

void archive_ends_write(struct xml_write *x, const struct store_batch *b, unsigned stmt)
{
    struct mam_end first, last;
    uint32_t rows = store_row_count(b, stmt);
    if (rows > 0) {
        first = archive_query_end_of(b, stmt, 0);
        last = archive_query_end_of(b, stmt, rows - 1);
    }
    mam_metadata_write(x, rows > 0 ? &first : NULL, &last);
}
