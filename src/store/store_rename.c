/* The statements serve both databases; only the function that finds a text in another has two
 * names. */
#include "store/store_rename.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "store/store_sqlite.h"
#include <libpq-fe.h>

enum { RENAME_SQL_MAX = 4096 };

struct rename {
    sqlite3 *lite; /* or */
    PGconn *pg;
    const char *old, *to; /* $1 and $2 of each statement */
    uint64_t rows;        /* changed */
    struct why *why;
};

static enum err rename_failed(struct rename *r, const char *what)
{
    if (r->pg != NULL)
        why_set(r->why, "%s: PostgreSQL: %s", what, PQerrorMessage(r->pg));
    else
        why_set(r->why, "%s: SQLite: %s", what, sqlite3_errmsg(r->lite));
    return E_IO;
}

static enum err rename_run_pg(struct rename *r, const char *what, const char *sql, bool with,
                              int64_t *first)
{
    static const Oid text = 25;
    PGresult *res = PQexecParams(r->pg, sql, with ? 2 : 0, (const Oid[]){ text, text },
                                 (const char *const[]){ r->old, r->to }, NULL, NULL, 0);
    ExecStatusType status = PQresultStatus(res);
    int64_t n = 0;
    bool fine = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    if (fine && first != NULL)
        fine = PQntuples(res) == 1 && slice_int(slice_of(PQgetvalue(res, 0, 0)), first);
    else if (fine && slice_int(slice_of(PQcmdTuples(res)), &n))
        r->rows += (uint64_t)n;
    PQclear(res);
    return fine ? OK : rename_failed(r, what);
}

static enum err rename_run_lite(struct rename *r, const char *what, const char *sql, int64_t *first)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(r->lite, sql, -1, &st, NULL) != SQLITE_OK)
        return rename_failed(r, what);
    sqlite3_bind_text(st, sqlite3_bind_parameter_index(st, "$1"), r->old, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, sqlite3_bind_parameter_index(st, "$2"), r->to, -1, SQLITE_STATIC);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW && first != NULL)
        *first = sqlite3_column_int64(st, 0);
    else if (rc == SQLITE_DONE && !sqlite3_stmt_readonly(st))
        r->rows += (uint64_t)sqlite3_changes(r->lite);
    enum err e = rc == SQLITE_ROW || rc == SQLITE_DONE ? OK : rename_failed(r, what);
    sqlite3_finalize(st);
    return e;
}

/* `first`, if not NULL: the number that it selects. `with`: it has $1 and $2. */
static enum err rename_run(struct rename *r, const char *what, const char *sql, bool with,
                           int64_t *first)
{
    return r->pg != NULL ? rename_run_pg(r, what, sql, with, first)
                         : rename_run_lite(r, what, sql, first);
}

/* Rows of the new address where the same key has one of the old. */
static void rename_sql_twice(struct buf *sql, const struct store_address *at)
{
    buf_printf(sql,
               "DELETE FROM %s AS x WHERE (x.%s = $2 OR substr(x.%s, 1, length($2) + 1) = $2 || "
               "'/') AND EXISTS (SELECT 1 FROM %s AS o WHERE o.%s = $1 || substr(x.%s, length($2) "
               "+ 1)",
               at->table, at->column, at->column, at->table, at->column, at->column);
    slice name, rest = slice_of(at->beside);
    while (rest.len > 0) {
        slice_cut(rest, ' ', &name, &rest);
        buf_printf(sql, " AND o.%.*s = x.%.*s", SLICE_ARG(name), SLICE_ARG(name));
    }
    buf_lit(sql, ")");
}

static void rename_sql_jid(struct buf *sql, const struct store_address *at)
{
    buf_printf(sql,
               "UPDATE %s SET %s = $2 || substr(%s, length($1) + 1) WHERE (%s = $1 OR substr(%s, "
               "1, length($1) + 1) = $1 || '/')",
               at->table, at->column, at->column, at->column, at->column);
}

static void rename_sql_list(struct buf *sql, const struct store_address *at, const char *find)
{
    char list[256], s = at->separator;
    snprintf(list, sizeof list, "'%c' || %s || '%c'", s, at->column, s);
    buf_printf(sql,
               "UPDATE %s SET %s = substr(replace(replace(%s, '%c' || $1 || '%c', '%c' || $2 || "
               "'%c'), '%c' || $1 || '/', '%c' || $2 || '/'), 2, length(replace(replace(%s, '%c' "
               "|| $1 || '%c', '%c' || $2 || '%c'), '%c' || $1 || '/', '%c' || $2 || '/')) - 2) "
               "WHERE (%s(%s, '%c' || $1 || '%c') > 0 OR %s(%s, '%c' || $1 || '/') > 0)",
               at->table, at->column, list, s, s, s, s, s, s, list, s, s, s, s, s, s, find, list, s,
               s, find, list, s);
}

enum { NAME_BYTES_MAX = 8 }; /* of "message", "presence", "iq" */

/* before: what stands in front of the address, in SQL's quotes. The first attribute begins behind
 * the name. An address has no character that XML or SQL would escape (RFC 7622 §3.3.1). */
static void rename_sql_attribute(struct buf *sql, const struct store_address *at, const char *find,
                                 const char *before, unsigned place_max)
{
    const char *c = at->column;
    char place[256];
    snprintf(place, sizeof place, "%s(%s, %s || $1)", find, c, before);
    buf_printf(sql,
               "UPDATE %s SET %s = substr(%s, 1, %s - 1) || %s || $2 || substr(%s, %s + length(%s "
               "|| $1)) WHERE %s BETWEEN 1 AND %u AND substr(%s, %s + length(%s || $1), 1) IN "
               "('''', '/')",
               at->table, c, c, place, before, c, place, before, place, place_max, c, place,
               before);
}

static enum err rename_one(struct rename *r, const struct store_address *at, struct buf *sql)
{
    const char *only = at->only == NULL ? "" : at->only, *and = at->only == NULL ? "" : " AND ";
    buf_printf(sql, "%s%s", and, only);
    buf_append(sql, "", 1);
    ensure(!sql->overflow);
    enum err e = rename_run(r, at->table, sql->ptr, true, NULL);
    buf_clear(sql);
    return e;
}

static enum err rename_in(struct rename *r, const struct store_address *at)
{
    enum err e = OK;
    const char *find = r->pg != NULL ? "strpos" : "instr";
    struct buf sql;
    buf_init(&sql, RENAME_SQL_MAX);
    if (at->beside != NULL) {
        rename_sql_twice(&sql, at);
        e = rename_one(r, at, &sql);
    }
    if (at->kind == STORE_START_TAG) {
        rename_sql_attribute(&sql, at, find, "' from='''", 1 + NAME_BYTES_MAX + 1);
        if (e == OK)
            e = rename_one(r, at, &sql);
        rename_sql_attribute(&sql, at, find, "''' to='''", INT32_MAX);
    } else if (at->kind == STORE_JID_LIST) {
        rename_sql_list(&sql, at, find);
    } else {
        rename_sql_jid(&sql, at);
    }
    if (e == OK)
        e = rename_one(r, at, &sql);
    buf_fini(&sql);
    return e;
}

static enum err rename_may(struct rename *r)
{
    int64_t is = 0, taken = 0;
    enum err e = rename_run(r, "account",
                            "SELECT count(*) FROM account WHERE jid = $1 AND $1 <> $2", true, &is);
    if (e == OK)
        e = rename_run(r, "account", "SELECT count(*) FROM account WHERE jid = $2 AND $1 <> $2",
                       true, &taken);
    if (e == OK && is == 0) {
        why_set(r->why, "%s: there is no such account", r->old);
        e = E_NOTFOUND;
    } else if (e == OK && taken > 0) {
        why_set(r->why, "%s: there is such an account already", r->to);
        e = E_EXISTS;
    }
    return e;
}

static enum err rename_all(struct rename *r, const struct store_schema *const *schemas)
{
    enum err e = rename_run(r, "database", "BEGIN", false, NULL);
    if (e == OK)
        e = rename_may(r);
    for (; e == OK && *schemas != NULL; schemas++)
        for (const struct store_address *at = (*schemas)->addresses;
             e == OK && at != NULL && at->table != NULL; at++)
            e = rename_in(r, at);
    /* it looks otherwise now: looks_complete() */
    if (e == OK)
        e = rename_run(r, "account", "UPDATE account SET look = '' WHERE jid = $2 AND $1 <> $2",
                       true, NULL);
    return e == OK ? rename_run(r, "database", "COMMIT", false, NULL) : e;
}

static enum err rename_open(struct rename *r, const char *url)
{
    if (!slice_starts(slice_of(url), SLICE("sqlite:"))) {
        r->pg = PQconnectdb(url);
        return PQstatus(r->pg) == CONNECTION_OK ? OK : rename_failed(r, "connection");
    }
    sqlite_configure();
    const char *path = url + sizeof "sqlite:" - 1;
    return sqlite3_open_v2(path, &r->lite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                           SQLITE_VFS_NAME) == SQLITE_OK
               ? OK
               : rename_failed(r, path);
}

enum err store_rename(const char *url, const struct store_schema *const *schemas, const char *old,
                      const char *to, uint64_t *rows, struct why *why)
{
    struct rename r = { .old = old, .to = to, .why = why };
    enum err e = rename_open(&r, url);
    if (e == OK)
        e = rename_all(&r, schemas);
    PQfinish(r.pg);
    sqlite3_close(r.lite); /* rolls back what was not committed */
    *rows = r.rows;
    return e;
}
