#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "store/store_sqlite.h"
#include <errno.h>

enum {
    GATHER_MIN = 4,        /* batches expected while gathering, or it is not worth the wait */
    ALONE_GROUPS = 64,     /* one writer who waits for each answer is not slowed down more often */
    LATE_STEP_ROWS = 512,  /* at least, with each group */
    IDLE_STEP_ROWS = 2048, /* with each commit while nobody waits */
    FLUSH_STEP_ROWS = 16384, /* at open and close */
    IDLE_KEEP_ROWS = 1024,   /* fewer late rows stay in memory */
    IDLE_WAL_PAGES = 128,    /* a smaller WAL stays */
};

int sqlite_writer_open(struct sqlite_writer *w)
{
    const struct {
        sqlite3_stmt **stmt;
        const char *sql;
    } own[] = {
        { &w->begin, "BEGIN IMMEDIATE" }, { &w->commit, "COMMIT" },
        { &w->rollback, "ROLLBACK" },     { &w->savepoint, "SAVEPOINT batch" },
        { &w->release, "RELEASE batch" }, { &w->rollback_to, "ROLLBACK TO batch" },
    };
    int rc = SQLITE_OK;
    w->tail = &w->first;
    for (size_t i = 0; rc == SQLITE_OK && i < sizeof own / sizeof *own; i++)
        rc = sqlite_prepare(&w->conn, own[i].sql, own[i].stmt);
    return rc;
}

void sqlite_writer_close(struct sqlite_writer *w)
{
    sqlite_late_close(&w->late);
    sqlite3_finalize(w->begin);
    sqlite3_finalize(w->commit);
    sqlite3_finalize(w->rollback);
    sqlite3_finalize(w->savepoint);
    sqlite3_finalize(w->release);
    sqlite3_finalize(w->rollback_to);
    sqlite_conn_close(&w->conn);
}

/* Only the first who finds the writer asleep pays for the wake-up. */
void sqlite_writer_submit(struct sqlite_writer *w, struct store_batch *b)
{
    struct store_batch *top = atomic_load_explicit(&w->top, memory_order_relaxed);
    do {
        b->next = top;
    } while (!atomic_compare_exchange_weak(&w->top, &top, b));
    uint32_t queued = atomic_fetch_add(&w->queued, 1) + 1;
    int mode = atomic_load(&w->mode);
    if (mode == WRITER_AWAKE || (mode == WRITER_GATHERS && queued < SQLITE_GROUP_MAX))
        return;
    if (atomic_exchange(&w->mode, WRITER_AWAKE) != WRITER_AWAKE) {
        pthread_mutex_lock(&w->lock);
        pthread_cond_signal(&w->wake);
        pthread_mutex_unlock(&w->lock);
    }
}

static void take_submitted(struct sqlite_writer *w)
{
    struct store_batch *b = atomic_exchange(&w->top, NULL), *oldest = NULL, *next;
    struct store_batch **newest = b != NULL ? &b->next : NULL;
    if (b == NULL)
        return;
    for (; b != NULL; b = next) {
        next = b->next;
        b->next = oldest;
        oldest = b;
        w->taken++;
    }
    *w->tail = oldest;
    w->tail = newest;
}

static bool is_due(const struct sqlite_writer *w, enum writer_mode mode)
{
    if (atomic_load(&w->stop))
        return true;
    return mode == WRITER_IDLE ? atomic_load(&w->top) != NULL
                               : atomic_load(&w->queued) >= SQLITE_GROUP_MAX;
}

/* Announces sleep, then looks again: see sqlite_writer_submit(). until_us 0: no limit. False: the
 * time is over. */
static bool nap(struct sqlite_writer *w, enum writer_mode mode, uint64_t until_us)
{
    struct timespec until = { (time_t)(until_us / 1000000), (long)(until_us % 1000000) * 1000 };
    int rc = 0;
    pthread_mutex_lock(&w->lock);
    atomic_store(&w->mode, mode);
    while (!is_due(w, mode) && rc != ETIMEDOUT)
        rc = until_us == 0 ? pthread_cond_wait(&w->wake, &w->lock)
                           : pthread_cond_timedwait(&w->wake, &w->lock, &until);
    atomic_store(&w->mode, WRITER_AWAKE);
    pthread_mutex_unlock(&w->lock);
    return rc != ETIMEDOUT;
}

static bool is_batch_fault(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_CONSTRAINT:
    case SQLITE_ERROR:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
    case SQLITE_RANGE:
        return true;
    default:
        return false;
    }
}

static int run_part(struct sqlite_writer *w, struct store_batch *b, struct store_part *part)
{
    int rc = sqlite_run_part(&w->conn, b, part);
    if (rc != SQLITE_OK)
        return rc;
    if (part->rows != STORE_ANY_ROWS && part->changed != part->rows)
        return SQLITE_CONSTRAINT;
    return part->late_count > 0 ? sqlite_late_take(&w->late, b, part) : SQLITE_OK;
}

/* A lone statement undoes itself when it fails; a savepoint is needed where more can have happened
 * before a batch is refused. */
static bool needs_savepoint(const struct store_batch *b)
{
    const struct store_part *part = b->parts;
    return b->part_count > 1 || part->stmt->cols[0] != '\0' ||
           (part->rows != STORE_ANY_ROWS && part->rows != 1);
}

static int refuse(struct sqlite_writer *w, struct store_batch *b, int rc, bool has_savepoint)
{
    b->result = sqlite_failed(&w->conn, sqlite_note_fault(&w->conn, rc));
    if (has_savepoint) {
        rc = sqlite_step(w->rollback_to);
        return rc == SQLITE_OK ? sqlite_step(w->release) : rc;
    }
    /* changed, but not as expected: the group is done again, each batch alone, and this rolled back
     */
    return b->parts[0].changed > 0 ? SQLITE_ABORT : SQLITE_OK;
}

/* Within the group's transaction. An error is the group's; a refused batch is not. */
static int run_write(struct sqlite_writer *w, struct store_batch *b)
{
    bool has_savepoint = needs_savepoint(b);
    struct late_mark mark = late_here(&w->late.gather);
    /* in front of the savepoint: they stay inserted if the batch is refused */
    int rc = b->reads_late ? sqlite_late_owner(&w->late, b->late_owner) : SQLITE_OK;
    if (rc != SQLITE_OK)
        return rc;
    rc = has_savepoint ? sqlite_step(w->savepoint) : SQLITE_OK;
    sqlite3_set_last_insert_rowid(w->conn.db, 0);
    for (uint32_t i = 0; rc == SQLITE_OK && i < b->part_count; i++)
        rc = run_part(w, b, &b->parts[i]);
    b->result = STORE_OK;
    if (rc == SQLITE_OK)
        return has_savepoint ? sqlite_step(w->release) : SQLITE_OK;
    if (!is_batch_fault(rc) || sqlite3_get_autocommit(w->conn.db))
        return rc;
    late_rewind(&w->late.gather, mark);
    return refuse(w, b, rc, has_savepoint);
}

static int run_batch(struct sqlite_writer *w, struct store_batch *b)
{
    if (b->kind == BATCH_WRITE)
        return run_write(w, b);
    b->result = STORE_OK;
    return b->reads_late ? sqlite_late_owner(&w->late, b->late_owner) : SQLITE_OK;
}

static int commit(struct sqlite_writer *w)
{
    uint64_t began_us = clock_mono_us();
    int rc = sqlite_step(w->commit);
    metric_add(&store_commits, 1);
    metric_add(&store_commit_us, (int64_t)(clock_mono_us() - began_us));
    return rc;
}

/* One transaction: `count` batches and the next late rows. Nothing of it is there unless SQLITE_OK.
 */
static int try_group(struct sqlite_writer *w, struct store_batch *first, uint32_t count,
                     uint32_t late_rows)
{
    struct late_mark mark = late_here(&w->late.gather);
    struct store_batch *b = first;
    int rc = sqlite_step(w->begin);
    for (uint32_t i = 0; rc == SQLITE_OK && i < count; i++, b = b->next)
        rc = run_batch(w, b);
    if (rc == SQLITE_OK && late_rows > 0) {
        uint32_t came = w->late.gather.count - mark.count;
        rc = sqlite_late_step(&w->late, came * 2 > late_rows ? came * 2 : late_rows);
    }
    if (rc == SQLITE_OK)
        rc = commit(w);
    if (rc == SQLITE_OK) {
        sqlite_late_commit(&w->late);
        sqlite_worked(w->conn.owner);
        return SQLITE_OK;
    }
    sqlite_note_fault(&w->conn, rc);
    if (!sqlite3_get_autocommit(w->conn.db))
        sqlite_step(w->rollback);
    sqlite_late_rollback(&w->late, mark);
    return rc;
}

/* The batch that failed the group is not known, or it is all of them: each is tried alone, once. */
static void try_each(struct sqlite_writer *w, struct store_batch *first, uint32_t count)
{
    struct store_batch *b = first;
    for (uint32_t i = 0; i < count; i++, b = b->next) {
        batch_clear_results(b);
        int rc = try_group(w, b, 1, 0);
        if (rc == SQLITE_ABORT)
            b->result = STORE_CONFLICT;
        else if (rc != SQLITE_OK)
            b->result = sqlite_failed(&w->conn, rc);
    }
}

static void fail_all(struct store_batch *first, uint32_t count, enum store_result result)
{
    for (struct store_batch *b = first; count > 0; count--, b = b->next)
        b->result = result;
}

static bool needs_transaction(const struct store_batch *first, uint32_t count)
{
    for (const struct store_batch *b = first; count > 0; count--, b = b->next) {
        if (b->kind == BATCH_WRITE || b->reads_late)
            return true;
    }
    return false;
}

static void run_group(struct sqlite_writer *w, struct store_batch *first, uint32_t count)
{
    if (!needs_transaction(first, count)) {
        fail_all(first, count, STORE_OK);
    } else if (atomic_load(&w->conn.owner->corrupt)) {
        fail_all(first, count, STORE_DOWN);
    } else {
        int rc = try_group(w, first, count, LATE_STEP_ROWS);
        if ((rc & 0xff) == SQLITE_BUSY) /* another process writes: so it would be for each */
            fail_all(first, count, sqlite_failed(&w->conn, rc));
        else if (rc != SQLITE_OK)
            try_each(w, first, count);
    }
}

/* Writes have ended; reads that waited for them go on to the readers. */
static void deliver(struct sqlite_writer *w, struct store_batch *first)
{
    struct store_batch *done = NULL, **done_tail = &done, *reads = NULL, **reads_tail = &reads;
    for (struct store_batch *b = first; b != NULL; b = b->next) {
        struct store_batch ***tail =
            b->kind == BATCH_READ && b->result == STORE_OK ? &reads_tail : &done_tail;
        **tail = b;
        *tail = &b->next;
    }
    *done_tail = *reads_tail = NULL;
    store_finish(w->conn.owner->store, done);
    sqlite_reads_submit(w->conn.owner, reads);
}

static struct store_batch *cut_group(struct sqlite_writer *w, uint32_t *count)
{
    struct store_batch *first = w->first, *last = first;
    *count = w->taken < SQLITE_GROUP_MAX ? w->taken : SQLITE_GROUP_MAX;
    for (uint32_t i = 1; i < *count; i++)
        last = last->next;
    w->first = last->next;
    if (w->first == NULL)
        w->tail = &w->first;
    last->next = NULL;
    w->taken -= *count;
    return first;
}

/* Commit at once when the rate is low or the oldest has waited long enough, be it for the last
 * commit; else wait for company (design §7). */
static void gather(struct sqlite_writer *w)
{
    uint64_t until_us = w->first->submitted_us + SQLITE_GATHER_US;
    if (w->taken >= SQLITE_GROUP_MAX || w->batches_per_us * SQLITE_GATHER_US < GATHER_MIN ||
        clock_mono_us() >= until_us)
        return;
    if (w->alone > 0) {
        w->alone--;
        return;
    }
    nap(w, WRITER_GATHERS, until_us);
    take_submitted(w);
    if (w->taken < GATHER_MIN)
        w->alone = ALONE_GROUPS;
}

static void measure_rate(struct sqlite_writer *w, uint32_t count)
{
    uint64_t now_us = clock_mono_us();
    double rate = count / (double)(now_us - w->group_us + 1);
    w->batches_per_us = (w->batches_per_us * 3 + rate) / 4;
    w->group_us = now_us;
}

/* Under load each of the keeper's passes leaves what was written meanwhile; the writer copies that
 * little rest, and its next commit begins the WAL anew. */
static void tend_wal(struct sqlite_writer *w)
{
    struct sqlite_keeper *k = &w->conn.owner->keeper;
    if (atomic_exchange(&k->done, false)) {
        sqlite3_wal_checkpoint_v2(w->conn.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        w->wal_pages_asked = 0;
    } else if (w->wal_pages < w->wal_pages_asked) {
        w->wal_pages_asked = 0; /* it began anew */
    } else if (w->wal_pages - w->wal_pages_asked >= SQLITE_WAL_PAGES) {
        w->wal_pages_asked = w->wal_pages;
        sqlite_keeper_ask(k);
    }
}

static void commit_group(struct sqlite_writer *w)
{
    uint32_t count;
    struct store_batch *first = cut_group(w, &count);
    measure_rate(w, count);
    run_group(w, first, count);
    atomic_fetch_sub(&w->queued, count);
    deliver(w, first);
    if (w->late.gather.count >= w->late.run_rows && w->late.run_rows > 0)
        sqlite_late_flush(&w->late);
    tend_wal(w);
    w->trimmed = false;
}

/* Nothing was written for a while: gives memory and disk back. Ends early when there is work. */
static void trim(struct sqlite_writer *w)
{
    int rc = SQLITE_OK;
    while (rc == SQLITE_OK && w->late.paused_until_us == 0 &&
           (w->late.flushing || sqlite_late_pending(&w->late) > IDLE_KEEP_ROWS)) {
        sqlite_late_flush(&w->late);
        rc = try_group(w, NULL, 0, IDLE_STEP_ROWS);
        if (atomic_load(&w->top) != NULL || atomic_load(&w->stop))
            return;
    }
    if (w->wal_pages >= IDLE_WAL_PAGES)
        sqlite3_wal_checkpoint_v2(w->conn.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_db_release_memory(w->conn.db);
    w->trimmed = true;
}

/* False: asked to stop, and nothing is left. */
static bool wait_for_work(struct sqlite_writer *w)
{
    for (;;) {
        bool stop = atomic_load(&w->stop);
        take_submitted(w);
        if (w->taken > 0)
            return true;
        if (stop)
            return false;
        uint64_t until_us = w->trimmed ? 0 : clock_mono_us() + SQLITE_IDLE_MS * 1000;
        if (!nap(w, WRITER_IDLE, until_us))
            trim(w);
    }
}

static int note_wal(void *writer, sqlite3 *db, const char *name, int pages)
{
    struct sqlite_writer *w = writer;
    (void)db;
    (void)name;
    w->wal_pages = pages;
    return SQLITE_OK;
}

void *sqlite_writer_main(void *db)
{
    struct sqlite_writer *w = &((struct sqlite_db *)db)->writer;
    sqlite3_wal_hook(w->conn.db, note_wal, w);
    while (wait_for_work(w)) {
        gather(w);
        commit_group(w);
    }
    return NULL;
}

void sqlite_writer_stop(struct sqlite_writer *w)
{
    pthread_mutex_lock(&w->lock);
    atomic_store(&w->stop, true);
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    ensure(atomic_load(&w->top) == NULL);
}

int sqlite_writer_flush(struct sqlite_writer *w)
{
    struct sqlite_late *l = &w->late;
    int rc = SQLITE_OK;
    while (rc == SQLITE_OK && (l->flushing || l->gather.log_id_max > 0)) {
        l->paused_until_us = 0;
        sqlite_late_flush(l);
        rc = try_group(w, NULL, 0, FLUSH_STEP_ROWS);
    }
    return rc;
}
