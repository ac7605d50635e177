#include "base/alarm.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/sqlite_index.h"
#include "store/store_sqlite.h"
#include <stdio.h>
#include <sys/statvfs.h>

/* Free space that a database needs to be well: so many bytes, or this share of a small disk. */
enum { ROOM_BYTES = 4 << 20, ROOM_SHARE = 32 };

/* synchronous=FULL makes each commit durable in WAL mode; NORMAL would lose acknowledged messages
 * at a power failure. The keeper checkpoints, so no commit has to. Pages of 8 KiB take 12 % less
 * CPU for messages with late rows than pages of 4 KiB. */
static const char *const pragmas[] = {
    [SQLITE_WRITES] = "PRAGMA busy_timeout=2000;"
                      "PRAGMA page_size=8192;"
                      "PRAGMA journal_mode=WAL;"
                      "PRAGMA synchronous=FULL;"
                      "PRAGMA wal_autocheckpoint=0;"
                      "PRAGMA secure_delete=FAST;"
                      "PRAGMA foreign_keys=ON;"
                      "PRAGMA temp_store=MEMORY;",
    [SQLITE_READS] = "PRAGMA busy_timeout=2000;"
                     "PRAGMA wal_autocheckpoint=0;"
                     "PRAGMA temp_store=MEMORY;"
                     "PRAGMA query_only=ON;",
    [SQLITE_KEEPS] = "PRAGMA busy_timeout=2000;"
                     "PRAGMA synchronous=FULL;"
                     "PRAGMA wal_autocheckpoint=0;"
                     "PRAGMA cache_size=-256;",
};

int sqlite_conn_open(struct sqlite_conn *c, struct sqlite_db *db, enum sqlite_role role)
{
    char cache[64];
    c->owner = db;
    c->stmts = mem_zalloc((db->store->stmt_count + 1) * sizeof(sqlite3_stmt *));
    int rc = sqlite3_open_v2(db->path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                             SQLITE_VFS_NAME);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_extended_result_codes(c->db, 1);
    /* what a damaged or foreign schema says is not trusted, nor may SQL of ours harm the file */
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    snprintf(cache, sizeof cache, "PRAGMA cache_size=-%d",
             role == SQLITE_WRITES ? SQLITE_WRITER_CACHE_KIB : SQLITE_READER_CACHE_KIB);
    rc = sqlite3_exec(c->db, cache, NULL, NULL, NULL);
    return rc == SQLITE_OK ? sqlite3_exec(c->db, pragmas[role], NULL, NULL, NULL) : rc;
}

void sqlite_conn_close(struct sqlite_conn *c)
{
    for (uint32_t i = 0; c->stmts != NULL && i < c->owner->store->stmt_count; i++)
        sqlite3_finalize(c->stmts[i]);
    mem_free(&c->stmts);
    sqlite3_close(c->db);
    c->db = NULL;
}

const char *sqlite_conn_text_of(const struct store_stmt *stmt)
{
    return stmt->sql != NULL ? stmt->sql : stmt->sqlite;
}

int sqlite_prepare(struct sqlite_conn *c, const char *sql, sqlite3_stmt **out)
{
    return sqlite3_prepare_v3(c->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
}

sqlite3_stmt *sqlite_conn_stmt(struct sqlite_conn *c, const struct store_stmt *stmt)
{
    sqlite3_stmt **slot = &c->stmts[stmt->id];
    if (*slot == NULL && sqlite_prepare(c, sqlite_conn_text_of(stmt), slot) != SQLITE_OK)
        return NULL;
    return *slot;
}

bool sqlite_prepares(struct sqlite_conn *c, const struct store_stmt *stmt)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite_prepare(c, sqlite_conn_text_of(stmt), &st);
    sqlite3_finalize(st);
    return rc == SQLITE_OK;
}

int sqlite_step(sqlite3_stmt *stmt)
{
    sqlite3_step(stmt);
    return sqlite3_reset(stmt);
}

static int bind(sqlite3_stmt *st, int slot, const struct store_val *v)
{
    switch (v->type) {
    case STORE_INT:
        return sqlite3_bind_int64(st, slot, v->num);
    case STORE_TEXT:
        return sqlite3_bind_text(st, slot, v->bytes.ptr, (int)v->bytes.len, SQLITE_STATIC);
    case STORE_BLOB:
        return sqlite3_bind_blob(st, slot, v->bytes.ptr, (int)v->bytes.len, SQLITE_STATIC);
    case STORE_NULL:
    case STORE_LAST:
        break;
    }
    return sqlite3_bind_null(st, slot);
}

static int bind_all(sqlite3_stmt *st, const struct sqlite_info *info, const struct store_batch *b,
                    const struct store_part *part)
{
    const char *at = b->data + part->at;
    int rc = SQLITE_OK;
    for (uint32_t i = 0; rc == SQLITE_OK && i < part->value_count; i++) {
        struct store_val v;
        at = batch_unpack(at, &v);
        if (v.type == STORE_LAST) {
            if (b->last_id == 0)
                return SQLITE_CONSTRAINT;
            v = SV_I(b->last_id);
        }
        rc = bind(st, info->slot[i], &v);
    }
    return rc;
}

static void sqlite_conn_add_row(struct store_batch *b, struct store_part *part, sqlite3_stmt *st)
{
    int cols = sqlite3_column_count(st);
    for (int i = 0; i < cols; i++) {
        int type = sqlite3_column_type(st, i);
        if (type == SQLITE_NULL) {
            batch_add_null(b);
        } else if (type == SQLITE_INTEGER) {
            batch_add_int(b, sqlite3_column_int64(st, i));
        } else {
            const void *ptr = sqlite3_column_blob(st, i);
            size_t len = (size_t)sqlite3_column_bytes(st, i);
            batch_add_bytes(b, type == SQLITE_BLOB ? STORE_BLOB : STORE_TEXT, ptr, len);
        }
    }
    part->row_count++;
}

int sqlite_run_part(struct sqlite_conn *c, struct store_batch *b, struct store_part *part)
{
    const struct sqlite_info *info = &c->owner->info[part->stmt->id];
    sqlite3_stmt *st = sqlite_conn_stmt(c, part->stmt);
    if (st == NULL)
        return sqlite3_extended_errcode(c->db);
    bool readonly = sqlite3_stmt_readonly(st) != 0;
    ensure(b->kind == BATCH_WRITE || readonly);
    int rc = bind_all(st, info, b, part);
    if (rc != SQLITE_OK)
        return rc;
    batch_begin_rows(b, part);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW && !batch_result_overflow(b))
        sqlite_conn_add_row(b, part, st);
    rc = rc == SQLITE_ROW || batch_result_overflow(b) ? SQLITE_TOOBIG : SQLITE_OK;
    int end = sqlite3_reset(st);
    part->changed = readonly || end != SQLITE_OK ? 0 : sqlite3_changes64(c->db);
    if (b->kind == BATCH_WRITE)
        b->last_id = sqlite3_last_insert_rowid(c->db);
    return end != SQLITE_OK ? end : rc;
}

int sqlite_note_fault(struct sqlite_conn *c, int rc)
{
    snprintf(c->fault_text, sizeof c->fault_text, "%s", sqlite3_errmsg(c->db));
    return rc;
}

static void sqlite_conn_raise(struct alarm *alarm, struct sqlite_conn *c, int rc)
{
    char detail[2 * ALARM_DETAIL_BYTES];
    snprintf(detail, sizeof detail, "%s: %s (%d)", c->owner->path, c->fault_text, rc);
    if (alarm == &store_full_alarm)
        store_full_raise(slice_of(detail));
    else
        alarm_raise(alarm, slice_of(detail));
}

enum store_result sqlite_denied(struct sqlite_conn *c, int rc)
{
    log_warn(&log_store, LOG_EV("store.refused"), LOG_I("code", rc), LOG_C("text", c->fault_text),
             LOG_C("hint", "see the alarm store.refused"));
    sqlite_conn_raise(&store_refused_alarm, c, rc);
    return STORE_DOWN;
}

enum store_result sqlite_failed(struct sqlite_conn *c, int rc)
{
    if (sqlite_index_is_damaged(c, rc))
        return STORE_DOWN;
    switch (rc & 0xff) {
    case SQLITE_CONSTRAINT:
        return STORE_CONFLICT; /* often expected: the feature knows */
    case SQLITE_ERROR:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
        log_warn(&log_store, LOG_EV("store.refused"), LOG_I("code", rc),
                 LOG_C("text", c->fault_text),
                 LOG_C("hint", "two changes met, and the database refused one of them"));
        return STORE_CONFLICT;
    case SQLITE_TOOBIG:
        log_info(&log_store, LOG_EV("store.too-many-bytes"));
        return STORE_CONFLICT; /* whoever asked asks for less, or says so */
    case SQLITE_FULL:
        sqlite_conn_raise(&store_full_alarm, c, rc);
        return STORE_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        atomic_store(&c->owner->corrupt, true);
        break;
    case SQLITE_INTERRUPT:
        return STORE_DOWN; /* a read past its deadline: nobody waits */
    default:
        break;
    }
    sqlite_conn_raise(&store_down_alarm, c, rc);
    return STORE_DOWN;
}

/* On a full disk a commit works as long as it fits into what the WAL had before. */
static bool sqlite_has_room(const struct sqlite_db *db)
{
    struct statvfs fs;
    if (statvfs(db->path, &fs) != 0)
        return true; /* the write alone decides */
    uint64_t share = (uint64_t)fs.f_blocks * fs.f_frsize / ROOM_SHARE;
    return (uint64_t)fs.f_bavail * fs.f_frsize >= (share < ROOM_BYTES ? share : ROOM_BYTES);
}

void sqlite_worked(struct sqlite_db *db)
{
    if (atomic_load(&db->keeper.failed) || atomic_load(&db->corrupt))
        return;
    if (atomic_load_explicit(&store_full_alarm.active, memory_order_relaxed) && sqlite_has_room(db))
        store_full_worked();
    if (atomic_load_explicit(&store_down_alarm.active, memory_order_relaxed))
        alarm_clear(&store_down_alarm);
}
