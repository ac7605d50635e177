/* An index that FTS5 cannot open cannot be dropped either. So its shadow tables are first made as
 * those of an index that is empty: https://www.sqlite.org/fts5.html, "FTS5 Data Structures". */
#include "store/sqlite_index.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"

enum { AGAIN_US = 60 * 1000000 }; /* not at each write, if that did not help */

/* Also those of other options of FTS5: whoever has changed the tables may have left them. */
#define DROP_SHADOWS                                                                               \
    "DROP TABLE IF EXISTS \"%w_data\";DROP TABLE IF EXISTS \"%w_idx\";"                            \
    "DROP TABLE IF EXISTS \"%w_config\";DROP TABLE IF EXISTS \"%w_docsize\";"                      \
    "DROP TABLE IF EXISTS \"%w_content\";"

static bool index_may_be_made(struct sqlite_db *db)
{
    uint64_t before_us = atomic_load(&db->made_us);
    return db->store->index != NULL && (before_us == 0 || clock_mono_us() - before_us >= AGAIN_US);
}

static int index_make(struct sqlite_conn *c, const struct store_index *x)
{
    const char *t = x->table;
    char *sql = sqlite3_mprintf(
        "BEGIN IMMEDIATE;" DROP_SHADOWS
        "CREATE TABLE \"%w_data\"(id INTEGER PRIMARY KEY, block BLOB);"
        "INSERT INTO \"%w_data\" VALUES(1, x''), (10, x'00000000000000');"
        "CREATE TABLE \"%w_idx\"(segid, term, pgno, PRIMARY KEY(segid, term)) WITHOUT ROWID;"
        "CREATE TABLE \"%w_config\"(k PRIMARY KEY, v) WITHOUT ROWID;"
        "INSERT INTO \"%w_config\" VALUES('version', 4);"
        "DROP TABLE IF EXISTS \"%w\";" DROP_SHADOWS
        "%s;UPDATE reader SET position = 0 WHERE name = %Q;COMMIT",
        t, t, t, t, t, t, t, t, t, t, t, t, t, t, t, t, x->create, x->reader);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
    int rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
    sqlite_note_fault(c, rc);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (!sqlite3_get_autocommit(c->db))
        sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_free(sql);
    return rc;
}

int sqlite_index_make(struct sqlite_conn *c)
{
    struct sqlite_db *db = c->owner;
    const struct store_index *x = db->store->index;
    ensure(x != NULL && sqlite3_get_autocommit(c->db));
    if (!index_may_be_made(db))
        return SQLITE_CORRUPT_VTAB;
    atomic_store(&db->made_us, clock_mono_us());
    int rc = index_make(c, x);
    log_warn(&log_store, LOG_EV("store.index-damaged"), LOG_C("table", x->table), LOG_I("code", rc),
             LOG_C("hint", "nothing but searches reads it; it is made anew"));
    if (rc == SQLITE_OK)
        x->emptied();
    return rc;
}

/* Whether it is damaged so that a statement about it, or its own about its shadow tables, does not
 * prepare. A constructor that has failed does not make SQLite read the schema again, so that a
 * connection would go on to refuse an index that has been made anew: the first statement does. */
static bool index_is_closed(struct sqlite_conn *c, const struct store_index *x)
{
    const char *t = x->table;
    char *sql = sqlite3_mprintf("SELECT 1 FROM sqlite_schema LIMIT 1;"
                                "SELECT words FROM \"%w\" WHERE \"%w\" MATCH 'a' LIMIT 0;"
                                "SELECT id, block FROM \"%w_data\" LIMIT 0;"
                                "SELECT segid, term, pgno FROM \"%w_idx\" LIMIT 0;"
                                "SELECT k, v FROM \"%w_config\" LIMIT 0",
                                t, t, t, t, t);
    int rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
    sqlite3_free(sql);
    return rc == SQLITE_CORRUPT_VTAB || (rc & 0xff) == SQLITE_ERROR;
}

int sqlite_index_look(struct sqlite_conn *c)
{
    const struct store_index *x = c->owner->store->index;
    return x != NULL && index_is_closed(c, x) ? sqlite_index_make(c) : SQLITE_OK;
}

bool sqlite_index_fails(struct sqlite_conn *c, int rc)
{
    const struct store_index *x = c->owner->store->index;
    if (x == NULL || (rc != SQLITE_CORRUPT_VTAB && (rc & 0xff) != SQLITE_ERROR))
        return false;
    return index_is_closed(c, x) || rc == SQLITE_CORRUPT_VTAB;
}

bool sqlite_index_is_damaged(struct sqlite_conn *c, int rc)
{
    struct sqlite_db *db = c->owner;
    if (!sqlite_index_fails(c, rc))
        return false;
    if (index_may_be_made(db) && !atomic_exchange(&db->index_damaged, true))
        db->store->index->emptied();
    return true;
}
