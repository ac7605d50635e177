#include "ext/mam/mam_quota.h"
#include "archive/archive.h"
#include "archive/leave.h"
#include "archive/reader.h"
#include "archive/size.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "ext/mam/mam_expire.h"
#include "ext/mam/mam_prefs.h"
#include "home/here.h"
#include "io/timer.h"
#include "ops/users.h"
#include <stdlib.h>

enum {
    DELAY_MS = 2000, /* from a message to the round that counts it */
    PAUSE_MS = 20,   /* between steps, at least */
    PAUSE_TIMES = 5, /* between steps that count: as many times what the last one took */
    STEP_ROWS = 500, /* so that a step delays the commits of others by some ms only */
    STEP_BYTES = 4 << 20,
    REMOVE_ROWS = 256,
    KNOWN_BITS = 12,
    OWNERS_MAX = 2 * STEP_ROWS,
    TRIES = 100,
};

/* What a tombstone counts besides its own bytes: archive/size.h. */
#define MORE(id) " THEN coalesce((SELECT more FROM archive_event WHERE about = " id "), 0)"
/* SQLite counts the characters of a text; as a BLOB it counts the bytes. It reads the text for
 * both.
 */
#define SQLITE_LENGTH "length(CAST(stanza AS BLOB))"
#define PGSQL_LENGTH  "octet_length(stanza)"
#define UNCOUNTED(length, limit)                                                                   \
    "SELECT id, sender, sender_entry, rcpt, CASE WHEN (flags & 2) = 0 OR rcpt" ROOMS_SQL           \
    " THEN rcpt_entry ELSE 0 END AS rcpt_kept, " length " + CASE WHEN (flags & 32) <> 0" MORE(     \
        "message.id") " ELSE 0 END AS size FROM message"                                           \
                      " WHERE" LOG_BEHIND("archive-sizes") " ORDER BY id LIMIT " limit

/* How many owners are above a limit, with messages that are not counted yet. -1: these are too many
 * to read here, after an import or while there was no limit. */
#define UNCOUNTED_MAX "10000"
#define ADDED         ", size + " ARCHIVE_ROW_BYTES_SQL " FROM uncounted WHERE "
#define OWNERS                                                                                     \
    "SELECT owner, bytes FROM archive_size UNION ALL SELECT sender" ADDED "sender_entry <> 0"      \
    " UNION ALL SELECT rcpt" ADDED "rcpt_kept <> 0"
#define OVER(uncounted, owners)                                                                    \
    "WITH uncounted AS (" uncounted ") SELECT CASE WHEN (SELECT count(*) FROM uncounted) ="        \
    " " UNCOUNTED_MAX " THEN -1 ELSE (SELECT count(*) FROM (SELECT owner FROM (" OWNERS ") s"      \
    " WHERE owner" owners " GROUP BY owner HAVING sum(bytes) > $1) v) END"
#define SQLITE_OVER(owners) OVER(UNCOUNTED(SQLITE_LENGTH, UNCOUNTED_MAX), owners)
#define PGSQL_OVER(owners)  OVER(UNCOUNTED(PGSQL_LENGTH, UNCOUNTED_MAX), owners)
#define OF_ACCOUNTS         " IN (SELECT id FROM account)"
static struct store_stmt users_over = {
    .name = "mam-quota.users-over",
    .sqlite = SQLITE_OVER(OF_ACCOUNTS),
    .pgsql = PGSQL_OVER(OF_ACCOUNTS),
    .params = "i",
    .cols = "i",
};
static const struct setting_impact users_over_impact = {
    .stmt = &users_over, .what = "users whose oldest messages will be deleted", .deletes = true
};
static struct store_stmt rooms_over = {
    .name = "mam-quota.rooms-over",
    .sqlite = SQLITE_OVER(ROOMS_SQL),
    .pgsql = PGSQL_OVER(ROOMS_SQL),
    .params = "i",
    .cols = "i",
};
static const struct setting_impact rooms_over_impact = {
    .stmt = &rooms_over, .what = "rooms whose oldest messages will be deleted", .deletes = true
};
static void mam_quota_limit_changed(struct worker *w, const struct setting *s)
{
    (void)s;
    mam_quota_stored(w); /* also where no message comes */
}

struct setting mam_user_bytes = {
    .name = "archive.user-bytes",
    .impact = &users_over_impact,
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 1ll << 30,
    .min = 64 << 10,
    .max = 1ll << 50,
    .allow_none = true,
    .changed = mam_quota_limit_changed,
    .doc = "How much the archive of one account may hold; each message counts 128 bytes more than "
           "its size. Beyond the limit, the oldest messages of the longest conversation are "
           "deleted within some seconds. Undelivered messages are kept.",
};
struct setting mam_room_bytes = {
    .name = "archive.room-bytes",
    .impact = &rooms_over_impact,
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 1ll << 30,
    .min = 64 << 10,
    .max = 1ll << 50,
    .allow_none = true,
    .changed = mam_quota_limit_changed,
    .doc = "How much the archive of one room may hold, with the record of who enters and leaves; "
           "see archive.user-bytes.",
};
struct metric mam_trimmed = { .name = "muster_archive_trimmed",
                              .kind = METRIC_COUNTER,
                              .help = "Messages removed from archives above archive.user-bytes or "
                                      "archive.room-bytes." };

static struct store_stmt read_uncounted = {
    .name = "mam-quota.log",
    .sqlite = UNCOUNTED(SQLITE_LENGTH, "$1"),
    .pgsql = UNCOUNTED(PGSQL_LENGTH, "$1"),
    .params = "i",
    .cols = "iiiiii",
};
static struct store_stmt add_size = {
    .name = "mam-quota.add",
    .sql =
        "INSERT INTO archive_size(owner, peer, bytes) VALUES($1, $2, $3) ON CONFLICT(owner, peer)"
        " DO UPDATE SET bytes = archive_size.bytes + excluded.bytes",
    .params = "iii",
    .cols = "",
};
static struct store_stmt read_size = {
    .name = "mam-quota.size",
    .sql = "SELECT CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM archive_size WHERE owner = $1",
    .params = "i",
    .cols = "i",
};
static struct store_stmt find_over = {
    .name = "mam-quota.over",
    .sql = "SELECT owner FROM archive_size WHERE owner > $1 GROUP BY owner HAVING sum(bytes) >"
           " CASE WHEN owner < $2 THEN $3 ELSE $4 END ORDER BY owner LIMIT $5",
    .params = "iiiii",
    .cols = "i",
};
static struct store_stmt find_longest = {
    .name = "mam-quota.longest",
    .sql = "SELECT peer, bytes FROM archive_size WHERE owner = $1 ORDER BY bytes DESC, peer"
           " LIMIT 1 OFFSET $2",
    .params = "ii",
    .cols = "ii",
};
static struct store_stmt drop_longest = {
    .name = "mam-quota.drop",
    .sql = "DELETE FROM archive_size WHERE owner = $1 AND peer = $2",
    .params = "ii",
    .cols = "",
};
/* The text of messages that stay is not read. */
#define KEPT                                                                                       \
    "(e.flags >= 2 AND NOT e.owner" ROOMS_SQL ") OR (e.flags % 2 = 1"                              \
    " AND e.id > coalesce((SELECT cursor FROM mailbox WHERE owner = $1), 0))"                      \
    " OR m.pending_out <> 0"
#define OLDEST(index)                                                                              \
    "SELECT m.id, m.sender, m.sender_entry, m.rcpt, m.rcpt_entry, m.flags,"                        \
    " CASE WHEN " KEPT " THEN '' ELSE m.stanza END, e.id, CASE WHEN " KEPT " THEN 1 ELSE 0 END,"   \
    " CASE WHEN (m.flags & 32) <> 0" MORE(                                                         \
        "m.id") " ELSE 0 END"                                                                      \
                " FROM entry e" index                                                              \
                " JOIN message m ON m.id = e.msg WHERE e.owner = $1 AND e.peer = $2"               \
                " AND e.id > $3 ORDER BY e.id LIMIT $4"
static struct store_stmt read_oldest = {
    .name = "mam-quota.oldest",
    .sqlite = OLDEST(" INDEXED BY entry_peer"),
    .pgsql = OLDEST(""),
    .params = "iiii",
    .cols = "iiiiiitiii",
};
static struct store_stmt size_by_jid = {
    .name = "mam-quota.by-jid",
    .sql = "SELECT CAST(coalesce(sum(s.bytes), 0) AS BIGINT), count(a.id) FROM account a LEFT JOIN"
           " archive_size s ON s.owner = a.id WHERE a.jid = $1",
    .params = "t",
    .cols = "ii",
};
struct store_stmt *const mam_quota_stmts[] = {
    &size_by_jid,  &read_uncounted, &add_size,   &read_size,  &find_over, &find_longest,
    &drop_longest, &read_oldest,    &users_over, &rooms_over, NULL
};

static struct round {
    struct log_reading log; /* first */
    struct timer timer;
    int64_t limits[2]; /* that all owners have been compared with: of accounts, of rooms; */
    int64_t now[2];    /* and those that they are being compared with */
    uint32_t rows;
    int64_t owners[OWNERS_MAX]; /* to look at; then those that have too much */
    unsigned owners_len;
    uint64_t step_us;  /* when this step began */
    bool more;         /* the log went on behind the messages of this step */
    bool any;          /* something was counted: the next round sees what was committed late */
    bool all;          /* all owners are looked at, */
    int64_t all_after; /* those above this one next */
    /* The owner that is looked at: */
    int64_t owner, peer, entry; /* entries of this conversation up to this one have been seen */
    uint32_t skip, tries;       /* longer conversations that have nothing to remove */
    bool kept;                  /* some message of this conversation stays */
    uint32_t removed, removing;
    int64_t entry_next;
} round_;
static atomic_bool running, stored_more;

/* How far owners are below their limit, at least, so that most need not be summed up. A place for
 * each hash; the round that is under way uses it. */
static struct {
    int64_t owner, free;
} known[1u << KNOWN_BITS];
static int64_t known_limits[2]; /* they were compared with these */

static const struct log_reader mam_quota_reader;
static void mam_quota_step(struct round *q);
static void all_counted(struct round *q);
static void next_owner(struct round *q);
static void mam_quota_look_at(struct round *q);

static int64_t limit_of(int64_t owner)
{
    int64_t n = setting_int(owner < ROOM_ID_MIN ? &mam_user_bytes : &mam_room_bytes);
    return n == SETTING_NONE ? INT64_MAX : n;
}

static void forget_changed_limits(void)
{
    const int64_t now[] = { limit_of(0), limit_of(ROOM_ID_MIN) };
    if (memcmp(known_limits, now, sizeof now) != 0)
        memset(known, 0, sizeof known);
    memcpy(known_limits, now, sizeof now);
}

static unsigned known_place(int64_t owner)
{
    return (unsigned)((uint64_t)owner * 0x9e3779b97f4a7c15u >> (64 - KNOWN_BITS));
}

static bool known_below(int64_t owner, int64_t added)
{
    unsigned i = known_place(owner);
    if (known[i].owner != owner || known[i].free < added)
        return false;
    known[i].free -= added;
    return true;
}

static void know(int64_t owner, int64_t free)
{
    unsigned i = known_place(owner);
    known[i].owner = owner;
    known[i].free = free;
}

static void mam_quota_due(struct timer *t, struct loop *loop)
{
    struct round *q = CONTAINER_OF(t, struct round, timer);
    (void)loop;
    atomic_store(&stored_more, false);
    q->rows = REMOVE_ROWS;
    q->any = false;
    mam_quota_step(q);
}

static void mam_quota_start(struct worker *w)
{
    bool idle = false;
    if ((limit_of(0) == INT64_MAX && limit_of(ROOM_ID_MIN) == INT64_MAX) ||
        !atomic_compare_exchange_strong(&running, &idle, true))
        return;
    round_.log = (struct log_reading){ .reader = &mam_quota_reader, .worker = w };
    round_.timer.fn = mam_quota_due;
    timer_set(worker_loop(w), &round_.timer, DELAY_MS);
}

void mam_quota_stored(struct worker *w)
{
    if (!atomic_load_explicit(&stored_more, memory_order_relaxed))
        atomic_store(&stored_more, true);
    if (!atomic_load_explicit(&running, memory_order_relaxed))
        mam_quota_start(w);
}

void mam_quota_stop(struct worker *w)
{
    if (round_.log.worker != w)
        return;
    timer_cancel(&round_.timer);
    round_.log.worker = NULL;
    atomic_store(&running, false);
}

static void mam_quota_end(struct round *q)
{
    struct worker *w = q->log.worker;
    q->all = false;
    atomic_store(&running, false);
    if ((q->any || atomic_load(&stored_more)) && !worker_stopping(w))
        mam_quota_start(w);
}

/* Removing. */

static void mam_quota_look_again(struct timer *t, struct loop *loop)
{
    (void)loop;
    mam_quota_look_at(CONTAINER_OF(t, struct round, timer));
}

static void mam_quota_trimmed(void *arg, enum store_result r, const struct store_batch *b)
{
    struct round *q = arg;
    (void)b;
    ensure(worker_is_here(q->log.worker));
    if (r == STORE_OK) {
        q->removed += q->removing;
        q->entry = q->entry_next;
        q->tries = 0;
    } else if (r != STORE_CONFLICT || ++q->tries == TRIES) {
        mam_quota_end(q);
        return;
    }
    q->timer.fn = mam_quota_look_again;
    timer_set(worker_loop(q->log.worker), &q->timer, PAUSE_MS);
}

/* This conversation has nothing more to remove. If it has no entries at all, its count is wrong:
 * entries of a deleted account are found under another id. */
static void conversation_ends(struct round *q)
{
    if (q->kept) {
        q->skip++;
        mam_quota_look_at(q);
        return;
    }
    struct store_batch *b = store_write(worker_store(q->log.worker), (uint64_t)q->owner);
    STORE_ADD(b, &drop_longest, STORE_ANY_ROWS, SV_I(q->owner), SV_I(q->peer));
    q->removing = 0;
    store_submit(b, worker_loop(q->log.worker), 0, mam_quota_trimmed, q);
}

/* Adds the removal of the oldest, about `most` bytes; how many. */
static uint32_t add_oldest(struct round *q, struct store_batch *b, const struct store_batch *rows,
                           int64_t most)
{
    uint32_t removing = 0, count = store_row_count(rows, 2);
    int64_t bytes = 0;
    for (uint32_t i = 0; i < count && bytes < most; i++) {
        const struct archive_line was = archive_line_of(rows, 2, i);
        struct archive_line m = was;
        int64_t entry = store_int(rows, 2, i, 7);
        q->entry_next = entry;
        if (store_int(rows, 2, i, 8) != 0) {
            q->kept = true;
            continue;
        }
        if (m.rcpt == q->owner && m.rcpt_entry == entry)
            m.rcpt_entry = 0;
        else
            m.sender_entry = 0;
        bytes += (int64_t)m.stanza.len + ARCHIVE_ROW_BYTES + store_int(rows, 2, i, 9);
        archive_take(b, &was, &m, q->owner, entry);
        removing++;
    }
    return removing;
}

static void mam_quota_oldest_read(void *arg, enum store_result r, const struct store_batch *rows)
{
    struct round *q = arg;
    ensure(q->rows > 0);
    if (r == STORE_CONFLICT && q->rows > 1) { /* too many bytes */
        q->rows = store_fewer(q->rows);
        mam_quota_look_at(q);
        return;
    }
    if (r != STORE_OK || worker_stopping(q->log.worker)) {
        mam_quota_end(q);
        return;
    }
    int64_t goal = limit_of(q->owner), size = store_int(rows, 0, 0, 0);
    goal -= goal / 16;
    bool there = store_row_count(rows, 1) > 0;
    if (!there || size <= goal) {
        next_owner(q);
    } else if (store_int(rows, 1, 0, 0) != q->peer) {
        q->peer = store_int(rows, 1, 0, 0);
        q->entry = 0;
        q->kept = false;
        mam_quota_look_at(q);
    } else if (store_row_count(rows, 2) == 0) {
        conversation_ends(q);
    } else {
        struct store_batch *b = store_write(worker_store(q->log.worker), (uint64_t)q->owner);
        store_read_late(b, q->owner);
        q->removing = add_oldest(q, b, rows, size - goal < STEP_BYTES ? size - goal : STEP_BYTES);
        archive_edit(b);
        if (q->removing == 0) {
            store_drop(&b);
            mam_quota_trimmed(q, STORE_OK, NULL);
        } else {
            store_submit(b, worker_loop(q->log.worker), 0, mam_quota_trimmed, q);
        }
    }
}

static void mam_quota_look_at(struct round *q)
{
    struct store_batch *b = store_read(worker_store(q->log.worker), (uint64_t)q->owner);
    store_read_late(b, q->owner);
    STORE_ADD(b, &read_size, 1, SV_I(q->owner));
    STORE_ADD(b, &find_longest, STORE_ANY_ROWS, SV_I(q->owner), SV_I(q->skip));
    STORE_ADD(b, &read_oldest, STORE_ANY_ROWS, SV_I(q->owner), SV_I(q->peer), SV_I(q->entry),
              SV_I(q->rows));
    store_submit(b, worker_loop(q->log.worker), 0, mam_quota_oldest_read, q);
}

static void all_read(void *arg, enum store_result r, const struct store_batch *b)
{
    struct round *q = arg;
    uint32_t count = r == STORE_OK ? store_row_count(b, 0) : 0;
    if (r == STORE_OK && count == 0)
        memcpy(q->limits, q->now, sizeof q->limits);
    if (count == 0) {
        mam_quota_end(q);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        q->owners[i] = store_int(b, 0, count - 1 - i, 0);
    q->owners_len = count;
    q->all_after = q->owners[0];
    next_owner(q);
}

static void step_again(struct timer *t, struct loop *loop)
{
    (void)loop;
    mam_quota_step(CONTAINER_OF(t, struct round, timer));
}

static void counted_step(struct round *q)
{
    struct loop *loop = worker_loop(q->log.worker);
    if (!q->more) {
        all_counted(q);
        return;
    }
    q->timer.fn = step_again;
    timer_set(loop, &q->timer, PAUSE_MS + PAUSE_TIMES * (loop_now_us(loop) - q->step_us) / 1000);
}

static void next_owner(struct round *q)
{
    if (q->removed > 0) {
        metric_add(&mam_trimmed, q->removed);
        log_info(&mam_log, LOG_EV("archive.trimmed"),
                 LOG_C("of", q->owner < ROOM_ID_MIN ? "account" : "room"), LOG_I("id", q->owner),
                 LOG_I("messages", q->removed));
    }
    q->removed = 0;
    if (q->owners_len > 0) {
        q->owner = q->owners[--q->owners_len];
        q->peer = -1;
        q->entry = 0;
        q->skip = q->tries = 0;
        q->kept = false;
        mam_quota_look_at(q);
    } else if (q->all) {
        struct store_batch *b = store_read(worker_store(q->log.worker), 0);
        STORE_ADD(b, &find_over, STORE_ANY_ROWS, SV_I(q->all_after), SV_I(ROOM_ID_MIN),
                  SV_I(q->now[0]), SV_I(q->now[1]), SV_I(OWNERS_MAX));
        store_submit(b, worker_loop(q->log.worker), 0, all_read, q);
    } else {
        counted_step(q);
    }
}

/* Counting. */

static void sizes_read(void *arg, enum store_result r, const struct store_batch *b)
{
    struct round *q = arg;
    unsigned over = 0;
    if (r != STORE_OK) {
        mam_quota_end(q);
        return;
    }
    for (unsigned i = 0; i < q->owners_len; i++) {
        int64_t free = limit_of(q->owners[i]) - store_int(b, i, 0, 0);
        know(q->owners[i], free);
        if (free < 0)
            q->owners[over++] = q->owners[i];
    }
    q->owners_len = over;
    next_owner(q);
}

/* What one conversation of one owner gets by a step. */
struct leg {
    int64_t owner, peer, bytes;
};

static int by_conversation(const void *a, const void *b)
{
    const struct leg *x = a, *y = b;
    if (x->owner != y->owner)
        return (x->owner > y->owner) - (x->owner < y->owner);
    return (x->peer > y->peer) - (x->peer < y->peer);
}

/* The legs of these messages, one for each conversation, sorted; how many. */
static unsigned add_up(const struct store_batch *rows, uint32_t count, struct leg *legs)
{
    unsigned n = 0, merged = 0;
    for (uint32_t i = 0; i < count; i++) {
        int64_t sender = store_int(rows, LOG_ROWS, i, 1), rcpt = store_int(rows, LOG_ROWS, i, 3);
        int64_t bytes = store_int(rows, LOG_ROWS, i, 5) + ARCHIVE_ROW_BYTES;
        if (store_int(rows, LOG_ROWS, i, 2) != 0)
            legs[n++] = (struct leg){ sender, rcpt, bytes };
        if (store_int(rows, LOG_ROWS, i, 4) != 0)
            legs[n++] = (struct leg){ rcpt, sender, bytes };
    }
    qsort(legs, n, sizeof legs[0], by_conversation);
    for (unsigned i = 1; i < n; i++)
        if (by_conversation(&legs[merged], &legs[i]) == 0)
            legs[merged].bytes += legs[i].bytes;
        else
            legs[++merged] = legs[i];
    return n == 0 ? 0 : merged + 1;
}

/* Owners that are not known to stay below their limit. */
static void choose_owners(struct round *q, const struct leg *legs, unsigned count)
{
    forget_changed_limits();
    q->owners_len = 0;
    for (unsigned i = 0; i < count;) {
        int64_t owner = legs[i].owner, bytes = 0;
        for (; i < count && legs[i].owner == owner; i++)
            bytes += legs[i].bytes;
        if (!known_below(owner, bytes))
            q->owners[q->owners_len++] = owner;
    }
}

static void read_sizes(struct round *q)
{
    struct store_batch *b = store_read(worker_store(q->log.worker), 0);
    for (unsigned i = 0; i < q->owners_len; i++)
        STORE_ADD(b, &read_size, 1, SV_I(q->owners[i]));
    store_submit(b, worker_loop(q->log.worker), 0, sizes_read, q);
}

static void all_counted(struct round *q)
{
    q->now[0] = limit_of(0);
    q->now[1] = limit_of(ROOM_ID_MIN);
    if (memcmp(q->limits, q->now, sizeof q->limits) == 0) {
        mam_quota_end(q);
        return;
    }
    q->all = true;
    q->all_after = q->owners_len = 0;
    next_owner(q);
}

/* How many of these messages are about STEP_BYTES. */
static uint32_t step_rows(struct round *q, const struct store_batch *rows)
{
    uint32_t i = 0, count = store_row_count(rows, LOG_ROWS);
    for (int64_t bytes = 0; i < count && bytes < STEP_BYTES; i++)
        bytes += store_int(rows, LOG_ROWS, i, 5);
    q->more = i == q->log.rows || i < count;
    q->any = true;
    return i;
}

static uint32_t mam_quota_count(struct log_reading *l, const struct store_batch *rows,
                                struct store_batch *b)
{
    struct round *q = (struct round *)l;
    if (worker_stopping(l->worker))
        return 0;
    uint32_t count = step_rows(q, rows);
    struct leg *legs = mem_alloc(2 * count * sizeof *legs);
    unsigned legs_len = add_up(rows, count, legs);
    for (unsigned i = 0; i < legs_len; i++)
        STORE_ADD(b, &add_size, 1, SV_I(legs[i].owner), SV_I(legs[i].peer), SV_I(legs[i].bytes));
    choose_owners(q, legs, legs_len);
    mem_free(&legs);
    return count;
}

static void mam_quota_counted(struct log_reading *l, enum log_step how)
{
    struct round *q = (struct round *)l;
    if (how == LOG_AGAIN && ++q->tries < TRIES) { /* a message was edited meanwhile */
        mam_quota_step(q);
        return;
    }
    q->tries = 0;
    if (how == LOG_STEPPED && q->owners_len > 0)
        read_sizes(q);
    else if (how == LOG_STEPPED)
        counted_step(q);
    else if (how == LOG_CURRENT && !worker_stopping(l->worker))
        all_counted(q);
    else
        mam_quota_end(q);
}

static const struct log_reader mam_quota_reader = {
    .name = "archive-sizes",
    .from = &read_uncounted,
    .rows = STEP_ROWS,
    .step = mam_quota_count,
    .done = mam_quota_counted,
};

static void mam_quota_step(struct round *q)
{
    q->step_us = loop_now_us(worker_loop(q->log.worker));
    log_read(&q->log);
}

/* `user archive` */

static void user_archive_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    slice jid = command_arg(call, "jid");
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), "the account could not be read");
        return;
    }
    if (store_int(b, 0, 0, 1) == 0) {
        users_fail_missing(call, jid);
        return;
    }
    command_row(call);
    command_int(call, "bytes", store_int(b, 0, 0, 0));
    if (setting_int(&mam_user_bytes) < SETTING_NONE)
        command_int(call, "bytes_max", setting_int(&mam_user_bytes));
    mam_prefs_say(call, b, 1);
    command_done(call, "%s", "");
}

static void run_user_archive(struct command_call *call)
{
    ensure(worker_is_here(call->worker));
    struct store_batch *b = store_read(worker_store(call->worker), 0);
    STORE_ADD(b, &size_by_jid, STORE_ANY_ROWS, SV_T(command_arg(call, "jid")));
    mam_prefs_look(b, command_arg(call, "jid"));
    store_submit(b, worker_loop(call->worker), 0, user_archive_read, call);
}

struct command mam_user_archive = {
    .name = "user archive",
    .rest = "GET /users/{jid}/archive",
    .effect = COMMAND_READS,
    .area = "users",
    .args = (const struct command_arg[]){ COMMAND_USER_ARG, { 0 } },
    .run = run_user_archive,
    .record = true,
    .doc = "Shows the size of a user's archive: as archive.user-bytes counts it. Messages are "
           "counted within some seconds, but not while archive.user-bytes and "
           "archive.room-bytes are both none. It also shows what the user has chosen to be "
           "archived (XEP-0441), which is not in force while archive.users-may-choose is off.",
    .columns =
        (const struct command_column[]){
            { .name = "bytes", .type = PARAM_INT, .unit = "bytes", .doc = "its size" },
            { .name = "bytes_max",
              .type = PARAM_INT,
              .unit = "bytes",
              .optional = true,
              .doc = "archive.user-bytes; missing: there is no limit" },
            { .name = "default",
              .optional = true,
              .doc = "the user's choice for all but the next two: always, roster or never; "
                     "missing: the user has not chosen" },
            { .name = "always", .optional = true, .doc = "addresses that are always archived" },
            { .name = "never", .optional = true, .doc = "addresses that are never archived" },
            { 0 } },
};
