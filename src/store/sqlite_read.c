#include "base/clock.h"
#include "base/log.h"
#include "store/store_sqlite.h"

enum { OPS_A_LOOK = 4096 }; /* of SQLite's machine, between two looks at the clock */
enum { STOOD_STILL_US = 500 * 1000 };

/* Time in which the process did not run (it was paused, or the machine was moved) does not count.
 */
static int is_overdue(void *reader)
{
    struct sqlite_reader *r = reader;
    uint64_t now_us = clock_mono_us(), since_us = now_us - r->looked_us;
    if (since_us > STOOD_STILL_US && r->deadline_us != UINT64_MAX)
        r->deadline_us += since_us;
    r->looked_us = now_us;
    return now_us > r->deadline_us;
}

/* One statement is a snapshot by itself. */
static int sqlite_read_run_parts(struct sqlite_reader *r, struct store_batch *b)
{
    int rc = SQLITE_OK;
    if (b->part_count > 1)
        rc = sqlite3_exec(r->conn.db, "BEGIN", NULL, NULL, NULL);
    for (uint32_t i = 0; rc == SQLITE_OK && i < b->part_count; i++)
        rc = sqlite_run_part(&r->conn, b, &b->parts[i]);
    return rc;
}

static int reader_open(struct sqlite_reader *r)
{
    int rc =
        r->conn.db != NULL ? SQLITE_OK : sqlite_conn_open(&r->conn, r->conn.owner, SQLITE_READS);
    if (rc != SQLITE_OK)
        sqlite_conn_close(&r->conn);
    else
        sqlite3_progress_handler(r->conn.db, OPS_A_LOOK, is_overdue, r);
    return rc;
}

static void sqlite_read_run_read(struct sqlite_reader *r, struct store_batch *b)
{
    uint64_t began_us = clock_mono_us();
    r->looked_us = began_us;
    r->deadline_us = batch_due_us(b, began_us);
    int rc = atomic_load(&b->given_up) ? SQLITE_INTERRUPT : reader_open(r);
    if (rc == SQLITE_OK)
        rc = sqlite_read_run_parts(r, b);
    b->result =
        rc == SQLITE_OK ? STORE_OK : sqlite_failed(&r->conn, sqlite_note_fault(&r->conn, rc));
    if (r->conn.db != NULL && !sqlite3_get_autocommit(r->conn.db))
        sqlite3_exec(r->conn.db, "ROLLBACK", NULL, NULL, NULL);
    uint64_t took_ms = (clock_mono_us() - began_us) / 1000;
    if (took_ms > SQLITE_SLOW_READ_MS)
        log_warn(&log_store, LOG_EV("store.slow-read"), LOG_C("stmt", b->parts[0].stmt->name),
                 LOG_I("ms", took_ms),
                 LOG_C("hint", "the database is slow; look at the load of its disk"));
}

void *sqlite_reader_main(void *reader)
{
    struct sqlite_reader *r = reader;
    struct sqlite_db *db = r->conn.owner;
    struct store_batch *b;
    while ((b = read_queue_take(&db->reads, r->takes)) != NULL) {
        sqlite_read_run_read(r, b);
        store_finish(db->store, b);
    }
    return NULL;
}

void sqlite_reads_stop(struct sqlite_db *db)
{
    read_queue_stop(&db->reads);
    for (unsigned i = 0; i < db->reader_count; i++)
        pthread_join(db->readers[i].thread, NULL);
}
