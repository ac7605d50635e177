#include "base/alarm.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/sqlite_index.h"
#include "store/store_sqlite.h"

enum {
    LATE_STEP_ROWS = 512,    /* at least, with each group */
    IDLE_STEP_ROWS = 2048,   /* with each commit while nobody waits */
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

/* SQLite has one code for a text that it cannot parse and for a table that is gone. All statements
 * were checked at open: if one does not prepare now, somebody has changed the tables since. */
static bool is_denied(struct sqlite_writer *w, const struct store_stmt *stmt, int rc)
{
    return (rc & 0xff) == SQLITE_ERROR && stmt != NULL && !sqlite_prepares(&w->conn, stmt);
}

/* The words of SQLite have been noted. */
static enum store_result deny(struct sqlite_writer *w, const struct store_stmt *stmt, int rc)
{
    w->denied = stmt;
    w->look_us = clock_mono_us() + SQLITE_LOOK_MS * 1000;
    return sqlite_denied(&w->conn, rc);
}

/* Its tables may have been mended; perhaps nobody asks for the like again soon. */
static void sqlite_write_look_again(struct sqlite_writer *w)
{
    uint64_t now_us;
    if (w->denied == NULL || (now_us = clock_mono_us()) < w->look_us)
        return;
    w->look_us = now_us + SQLITE_LOOK_MS * 1000;
    if (!sqlite_prepares(&w->conn, w->denied))
        return;
    w->denied = NULL;
    alarm_clear(&store_refused_alarm);
}

/* These were committed. What else is accepted proves nothing. */
static void sqlite_write_note_accepted(struct sqlite_writer *w, const struct store_batch *b,
                                       uint32_t count)
{
    for (; w->denied != NULL && count > 0; count--, b = b->next)
        for (uint32_t i = 0; b->result == STORE_OK && i < b->part_count; i++)
            if (b->parts[i].stmt == w->denied)
                w->look_us = 0;
    sqlite_write_look_again(w);
}

/* stmt: the one that failed; NULL: none of the batch */
static int sqlite_write_refuse(struct sqlite_writer *w, struct store_batch *b,
                               const struct store_stmt *stmt, int rc, bool has_savepoint)
{
    sqlite_note_fault(&w->conn, rc);
    if (sqlite_index_fails(&w->conn, rc))
        return SQLITE_CORRUPT_VTAB; /* the group is done again, with a new index */
    b->result = is_denied(w, stmt, rc) ? deny(w, stmt, rc) : sqlite_failed(&w->conn, rc);
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
    const struct store_stmt *stmt = NULL;
    for (uint32_t i = 0; rc == SQLITE_OK && i < b->part_count; i++) {
        stmt = b->parts[i].stmt;
        rc = run_part(w, b, &b->parts[i]);
    }
    b->result = STORE_OK;
    if (rc == SQLITE_OK)
        return has_savepoint ? sqlite_step(w->release) : SQLITE_OK;
    if (!is_batch_fault(rc) || sqlite3_get_autocommit(w->conn.db))
        return rc;
    late_rewind(&w->late.gather, mark);
    return sqlite_write_refuse(w, b, stmt, rc, has_savepoint);
}

static int run_batch(struct sqlite_writer *w, struct store_batch *b)
{
    if (b->kind == BATCH_WRITE)
        return run_write(w, b);
    b->result = STORE_OK;
    return b->reads_late ? sqlite_late_owner(&w->late, b->late_owner) : SQLITE_OK;
}

static int sqlite_write_commit(struct sqlite_writer *w)
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
        rc = sqlite_write_commit(w);
    if (rc == SQLITE_OK) {
        sqlite_late_commit(&w->late);
        sqlite_worked(w->conn.owner);
        sqlite_write_note_accepted(w, first, count);
        return SQLITE_OK;
    }
    sqlite_note_fault(&w->conn, rc);
    if (!sqlite3_get_autocommit(w->conn.db))
        sqlite_step(w->rollback);
    sqlite_late_rollback(&w->late, mark);
    const struct store_late *late = w->conn.owner->store->late;
    if (late != NULL && is_denied(w, late->insert, rc))
        deny(w, late->insert, rc);
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

static void sqlite_write_run_group(struct sqlite_writer *w, struct store_batch *first,
                                   uint32_t count)
{
    if (!needs_transaction(first, count)) {
        fail_all(first, count, STORE_OK);
    } else if (atomic_load(&w->conn.owner->corrupt)) {
        fail_all(first, count, STORE_DOWN);
    } else {
        if (atomic_exchange(&w->conn.owner->index_damaged, false))
            (void)!sqlite_index_make(&w->conn);
        int rc = try_group(w, first, count, LATE_STEP_ROWS);
        if (rc == SQLITE_CORRUPT_VTAB && w->conn.owner->store->index != NULL)
            (void)!sqlite_index_make(&w->conn);
        if ((rc & 0xff) == SQLITE_BUSY) /* another process writes: so it would be for each */
            fail_all(first, count, sqlite_failed(&w->conn, rc));
        else if (rc != SQLITE_OK)
            try_each(w, first, count);
    }
}

/* Writes have ended; reads that waited for them go on to the readers. */
static void sqlite_write_deliver(struct sqlite_writer *w, struct store_batch *first)
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
    store_finish(w->conn.owner->store, read_queue_put(&w->conn.owner->reads, reads));
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

static void sqlite_write_commit_group(struct sqlite_writer *w)
{
    uint32_t count;
    struct store_batch *first = group_cut(&w->in, &count);
    sqlite_write_run_group(w, first, count);
    atomic_fetch_sub(&w->in.queued, count);
    sqlite_write_deliver(w, first);
    if (w->late.gather.count >= w->late.run_rows && w->late.run_rows > 0)
        sqlite_late_flush(&w->late);
    tend_wal(w);
    w->trimmed = false;
}

static bool sqlite_write_is_full(const struct sqlite_writer *w)
{
    return atomic_load_explicit(&store_full_alarm.active, memory_order_relaxed) != 0 &&
           !atomic_load(&w->conn.owner->corrupt);
}

/* Nobody writes, so only a write of our own tells whether the disk has room again. */
static void probe(struct sqlite_writer *w)
{
    int rc = sqlite3_exec(w->conn.db, "UPDATE store_state SET value = 0 WHERE name = 'clean'", NULL,
                          NULL, NULL);
    if (rc == SQLITE_OK)
        sqlite_worked(w->conn.owner);
    else if (!sqlite3_get_autocommit(w->conn.db))
        sqlite_step(w->rollback);
}

/* Nothing was written for a while: gives memory and disk back. Ends early when there is work. */
static void sqlite_write_trim(struct sqlite_writer *w)
{
    int rc = SQLITE_OK;
    if (sqlite_write_is_full(w))
        probe(w);
    while (rc == SQLITE_OK && w->late.paused_until_us == 0 &&
           (w->late.flushing || sqlite_late_pending(&w->late) > IDLE_KEEP_ROWS)) {
        sqlite_late_flush(&w->late);
        rc = try_group(w, NULL, 0, IDLE_STEP_ROWS);
        if (atomic_load(&w->in.top) != NULL || atomic_load(&w->in.stop))
            return;
    }
    if (w->wal_pages >= IDLE_WAL_PAGES)
        sqlite3_wal_checkpoint_v2(w->conn.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_db_release_memory(w->conn.db);
    w->trimmed = true;
}

/* At the end a database that is locked, or away, is not waited for: nothing of what is still to be
 * written was promised to anybody. */
void sqlite_writer_hurry(struct sqlite_writer *w)
{
    if (atomic_load_explicit(&store_down_alarm.active, memory_order_relaxed) != 0)
        sqlite3_busy_timeout(w->conn.db, 0);
}

/* False: asked to stop, and nothing is left. */
static bool sqlite_write_wait_for_work(struct sqlite_writer *w)
{
    for (;;) {
        bool stop = atomic_load(&w->in.stop);
        if (stop)
            sqlite_writer_hurry(w);
        sqlite_write_look_again(w);
        group_take(&w->in);
        if (w->in.taken > 0)
            return true;
        if (stop)
            return false;
        bool waits = w->trimmed && !sqlite_write_is_full(w) && w->denied == NULL;
        uint64_t until_us = waits ? 0 : clock_mono_us() + SQLITE_IDLE_MS * 1000;
        if (group_nap(&w->in, GROUP_IDLE, until_us, -1) == GROUP_TIME)
            sqlite_write_trim(w);
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
    while (sqlite_write_wait_for_work(w)) {
        group_gather(&w->in);
        sqlite_write_commit_group(w);
    }
    return NULL;
}

void sqlite_writer_stop(struct sqlite_writer *w)
{
    group_stop(&w->in);
    pthread_join(w->thread, NULL);
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
