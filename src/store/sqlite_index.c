/* FTS5 has a command that empties an index (`delete-all`), but no statement about an index whose
 * first rows are wrong gets as far as that. These rows are put right before it, as those of an
 * index that is empty: https://www.sqlite.org/fts5.html, "The %_data Table". */
#include "store/sqlite_index.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"

enum { AGAIN_US = 60 * 1000000 }; /* not at each write, if that did not help */

static bool index_may_be_emptied(struct sqlite_db *db)
{
    uint64_t before_us = atomic_load(&db->emptied_us);
    return db->store->index != NULL && (before_us == 0 || clock_mono_us() - before_us >= AGAIN_US);
}

static int index_run(struct sqlite_conn *c, const struct store_index *x)
{
    char *sql = sqlite3_mprintf(
        "BEGIN IMMEDIATE;DELETE FROM \"%w_data\";DELETE FROM \"%w_idx\";"
        "INSERT INTO \"%w_data\"(id, block) VALUES(1, x''), (10, x'00000000000000');"
        "INSERT INTO \"%w\"(\"%w\") VALUES('delete-all');"
        "UPDATE reader SET position = 0 WHERE name = %Q;COMMIT",
        x->table, x->table, x->table, x->table, x->table, x->reader);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
    int rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
    sqlite_note_fault(c, rc);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (!sqlite3_get_autocommit(c->db))
        sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_free(sql);
    return rc;
}

int sqlite_index_empty(struct sqlite_conn *c)
{
    struct sqlite_db *db = c->owner;
    const struct store_index *x = db->store->index;
    ensure(x != NULL && sqlite3_get_autocommit(c->db));
    if (!index_may_be_emptied(db))
        return SQLITE_CORRUPT_VTAB;
    atomic_store(&db->emptied_us, clock_mono_us());
    int rc = index_run(c, x);
    log_warn(&log_store, LOG_EV("store.index-damaged"), LOG_C("table", x->table), LOG_I("code", rc),
             LOG_C("hint", "nothing but searches reads it; it is made anew"));
    if (rc == SQLITE_OK)
        x->emptied();
    return rc;
}

int sqlite_index_look(struct sqlite_conn *c)
{
    const struct store_index *x = c->owner->store->index;
    sqlite3_stmt *st = NULL;
    if (x == NULL)
        return SQLITE_OK;
    char *sql = sqlite3_mprintf("SELECT 1 FROM \"%w\" LIMIT 0", x->table);
    int rc = sqlite_prepare(c, sql, &st);
    sqlite3_finalize(st);
    sqlite3_free(sql);
    return rc == SQLITE_CORRUPT_VTAB ? sqlite_index_empty(c) : SQLITE_OK;
}

bool sqlite_index_is_damaged(struct sqlite_db *db, int rc)
{
    if (rc != SQLITE_CORRUPT_VTAB || db->store->index == NULL)
        return false;
    if (index_may_be_emptied(db) && !atomic_exchange(&db->index_damaged, true))
        db->store->index->emptied();
    return true;
}
