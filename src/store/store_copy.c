/* A copy of all data from a file of SQLite to an empty database of PostgreSQL, table by table, in
 * one transaction. Both have been opened and closed by a store just before: so their schemas are
 * the newest, and no row is late. */
#include "base/buf.h"
#include "base/mem.h"
#include "store/store_sqlite.h"
#include <libpq-fe.h>

enum { CHUNK_BYTES = 1 << 18, SQL_BYTES_MAX = 65536 };

struct copying {
    sqlite3 *from;
    PGconn *to;
    struct store_copied *out;
    struct why *why;
};

static enum err pg_failed(struct copying *c, const char *table)
{
    why_set(c->why, "%s: PostgreSQL: %s", table, PQerrorMessage(c->to));
    return E_IO;
}

static enum err lite_failed(struct copying *c, const char *table)
{
    why_set(c->why, "%s: SQLite: %s", table, sqlite3_errmsg(c->from));
    return E_CORRUPT;
}

static enum err pg_run(struct copying *c, const char *what, const char *sql)
{
    PGresult *res = PQexec(c->to, sql);
    ExecStatusType status = PQresultStatus(res);
    PQclear(res);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_COPY_IN
               ? OK
               : pg_failed(c, what);
}

static enum err pg_int(struct copying *c, const char *what, const char *sql, int64_t *out)
{
    PGresult *res = PQexec(c->to, sql);
    bool fine = PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) == 1 &&
                slice_int(slice_of(PQgetvalue(res, 0, 0)), out);
    PQclear(res);
    return fine ? OK : pg_failed(c, what);
}

/* One value in the text form of COPY. false: a text with a NUL, which PostgreSQL does not take. */
static bool store_copy_add_value(struct buf *b, sqlite3_stmt *st, int i)
{
    static const char digits[] = "0123456789abcdef";
    int type = sqlite3_column_type(st, i);
    const unsigned char *at = sqlite3_column_blob(st, i);
    int len = sqlite3_column_bytes(st, i);
    if (type == SQLITE_NULL) {
        buf_lit(b, "\\N");
    } else if (type == SQLITE_INTEGER) {
        buf_printf(b, "%lld", (long long)sqlite3_column_int64(st, i));
    } else if (type == SQLITE_BLOB) {
        buf_lit(b, "\\\\x");
        for (int k = 0; k < len; k++)
            buf_append(b, (char[]){ digits[at[k] >> 4], digits[at[k] & 15] }, 2);
    } else {
        for (int k = 0; k < len; k++) {
            if (at[k] == '\0')
                return false;
            if (at[k] == '\\' || at[k] == '\t' || at[k] == '\n' || at[k] == '\r')
                buf_append(b,
                           (char[]){ '\\', at[k] == '\\'   ? '\\'
                                           : at[k] == '\t' ? 't'
                                           : at[k] == '\n' ? 'n'
                                                           : 'r' },
                           2);
            else
                buf_append(b, &at[k], 1);
        }
    }
    return true;
}

static enum err send_rows(struct copying *c, const char *table, sqlite3_stmt *st, int64_t *rows)
{
    enum { COPIED_BYTES_MAX = STORE_BATCH_BYTES_MAX * 4 };
    struct buf b;
    enum err e = OK;
    int rc;
    buf_init(&b, COPIED_BYTES_MAX);
    while (e == OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        for (int i = 0; e == OK && i < sqlite3_column_count(st); i++) {
            if (i > 0)
                buf_lit(&b, "\t");
            if (!store_copy_add_value(&b, st, i)) {
                why_set(c->why, "%s: a text with a NUL, which PostgreSQL does not take", table);
                e = E_UNSUPPORTED;
            }
        }
        buf_lit(&b, "\n");
        ++*rows;
        if (e == OK && b.len >= CHUNK_BYTES) {
            if (PQputCopyData(c->to, b.ptr, (int)b.len) != 1)
                e = pg_failed(c, table);
            buf_clear(&b);
        }
    }
    if (e == OK && rc != SQLITE_DONE)
        e = lite_failed(c, table);
    if (e == OK && b.len > 0 && PQputCopyData(c->to, b.ptr, (int)b.len) != 1)
        e = pg_failed(c, table);
    buf_fini(&b);
    return e;
}

static enum err end_copy(struct copying *c, const char *table, enum err e)
{
    if (PQputCopyEnd(c->to, e == OK ? NULL : "given up") != 1 && e == OK)
        e = pg_failed(c, table);
    for (PGresult *res; (res = PQgetResult(c->to)) != NULL; PQclear(res))
        if (PQresultStatus(res) != PGRES_COMMAND_OK && e == OK)
            e = pg_failed(c, table);
    return e;
}

/* "a, b, c" of a table; the names are ours. */
static void add_columns(struct buf *b, sqlite3_stmt *st)
{
    for (int i = 0; i < sqlite3_column_count(st); i++)
        buf_printf(b, "%s\"%s\"", i > 0 ? ", " : "", sqlite3_column_name(st, i));
}

/* Ids go on behind those that are there, where the database gives them. */
static enum err fix_identity(struct copying *c, const char *table)
{
    struct buf sql;
    int64_t is_given = 0, set;
    buf_init(&sql, SQL_BYTES_MAX);
    buf_printf(&sql,
               "SELECT count(*) FROM information_schema.columns WHERE table_schema = "
               "current_schema() AND table_name = '%s' AND column_name = 'id' AND is_identity = "
               "'YES'",
               table);
    buf_append(&sql, "", 1);
    enum err e = pg_int(c, table, sql.ptr, &is_given);
    buf_clear(&sql);
    buf_printf(&sql,
               "SELECT setval(pg_get_serial_sequence('%s', 'id'), (SELECT coalesce(max(id), 0) + 1 "
               "FROM \"%s\"), false)",
               table, table);
    buf_append(&sql, "", 1);
    if (e == OK && is_given > 0)
        e = pg_int(c, table, sql.ptr, &set);
    buf_fini(&sql);
    return e;
}

static enum err copy_table(struct copying *c, const char *table)
{
    sqlite3_stmt *st = NULL;
    struct buf sql;
    int64_t rows = 0, there = 0;
    buf_init(&sql, SQL_BYTES_MAX);
    buf_printf(&sql, "SELECT * FROM \"%s\"", table);
    buf_append(&sql, "", 1);
    enum err e = sqlite3_prepare_v2(c->from, sql.ptr, -1, &st, NULL) == SQLITE_OK
                     ? OK
                     : lite_failed(c, table);
    buf_clear(&sql);
    buf_printf(&sql, "TRUNCATE \"%s\"", table);
    buf_append(&sql, "", 1);
    if (e == OK)
        e = pg_run(c, table, sql.ptr);
    buf_clear(&sql);
    buf_printf(&sql, "COPY \"%s\"(", table);
    add_columns(&sql, st);
    buf_append(&sql, ") FROM STDIN", sizeof ") FROM STDIN");
    if (e == OK)
        e = pg_run(c, table, sql.ptr);
    if (e == OK)
        e = end_copy(c, table, send_rows(c, table, st, &rows));
    buf_clear(&sql);
    buf_printf(&sql, "SELECT count(*) FROM \"%s\"", table);
    buf_append(&sql, "", 1);
    if (e == OK)
        e = pg_int(c, table, sql.ptr, &there);
    if (e == OK && there != rows) {
        why_set(c->why, "%s: %lld rows were copied, %lld are there", table, (long long)rows,
                (long long)there);
        e = E_INTERNAL;
    }
    if (e == OK)
        e = fix_identity(c, table);
    c->out->tables++;
    c->out->rows += (uint64_t)rows;
    sqlite3_finalize(st);
    buf_fini(&sql);
    return e;
}

/* And behind those that were given before, the last of which SQLite knows (AUTOINCREMENT). */
static enum err set_sequence(struct copying *c, const char *table, int64_t last)
{
    struct buf sql;
    int64_t set;
    buf_init(&sql, SQL_BYTES_MAX);
    buf_printf(&sql, "SELECT setval(pg_get_serial_sequence('%s', 'id'), %lld)", table,
               (long long)last);
    buf_append(&sql, "", 1);
    enum err e = pg_int(c, table, sql.ptr, &set);
    buf_fini(&sql);
    return e;
}

typedef enum err table_fn(struct copying *c, const char *table, int64_t number);

static enum err each_row(struct copying *c, const char *sql, table_fn *fn)
{
    sqlite3_stmt *st = NULL;
    enum err e = OK;
    if (sqlite3_prepare_v2(c->from, sql, -1, &st, NULL) != SQLITE_OK)
        return lite_failed(c, "tables");
    while (e == OK && sqlite3_step(st) == SQLITE_ROW)
        e = fn(c, (const char *)sqlite3_column_text(st, 0), sqlite3_column_int64(st, 1));
    sqlite3_finalize(st);
    return e;
}

static enum err one_table(struct copying *c, const char *table, int64_t number)
{
    (void)number;
    return copy_table(c, table);
}

static enum err one_sequence(struct copying *c, const char *table, int64_t number)
{
    return number > 0 ? set_sequence(c, table, number) : OK;
}

static enum err copy_all(struct copying *c)
{
    int64_t found = 0;
    enum err e = pg_run(c, "database", "BEGIN");
    if (e == OK)
        e = pg_int(c, "account",
                   "SELECT (SELECT count(*) FROM account) + (SELECT count(*) FROM message)",
                   &found);
    if (e == OK && found > 0) {
        why_set(c->why, "the database of PostgreSQL has accounts or messages already: give an "
                        "empty one");
        e = E_EXISTS;
    }
    /* each has its own index of words, and its own of versions and states */
    if (e == OK)
        e = each_row(c,
                     "SELECT name, 0 FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE "
                     "'sqlite_%' AND name NOT LIKE 'message_fts%' AND name NOT IN ('schema', "
                     "'store_state')",
                     one_table);
    if (e == OK)
        e = each_row(c, "SELECT name, seq FROM sqlite_sequence WHERE name NOT LIKE 'message_fts%'",
                     one_sequence);
    if (e == OK) /* the index of words is made again from the beginning */
        e = pg_run(c, "reader", "DELETE FROM reader WHERE name = 'fulltext'");
    return e == OK ? pg_run(c, "database", "COMMIT") : e;
}

enum err store_copy(const char *path, const char *url, struct store_copied *out, struct why *why)
{
    struct copying c = { .out = out, .why = why };
    sqlite_configure();
    *out = (struct store_copied){ 0 };
    enum err e = OK;
    if (sqlite3_open_v2(path, &c.from, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX,
                        SQLITE_VFS_NAME) != SQLITE_OK)
        e = lite_failed(&c, path);
    if (e == OK) {
        c.to = PQconnectdb(url);
        if (PQstatus(c.to) != CONNECTION_OK)
            e = pg_failed(&c, "connection");
    }
    if (e == OK)
        e = copy_all(&c);
    PQfinish(c.to);
    sqlite3_close(c.from);
    return e;
}
