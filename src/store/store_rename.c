/* The statements serve both databases; only the function that finds a text in another has two
 * names. */
#include "store/store_rename.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "store/store_sqlite.h"
#include <libpq-fe.h>

enum { RENAME_SQL_MAX = 4096, RENAME_PARAMS_MAX = 3 };

struct rename {
    sqlite3 *lite; /* or */
    PGconn *pg;
    struct arena *arena;
    const char *old, *to; /* $1 and $2 of most statements */
    struct store_renamed *done;
    struct why *why;
};

/* Two columns of a row that was read. */
struct rename_row {
    struct rename_row *next;
    const char *text, *beside;
};

static enum err rename_failed(struct rename *r, const char *what)
{
    if (r->pg != NULL)
        why_set(r->why, "%s: PostgreSQL: %s", what, PQerrorMessage(r->pg));
    else
        why_set(r->why, "%s: SQLite: %s", what, sqlite3_errmsg(r->lite));
    return E_IO;
}

static void rename_row_add(struct rename *r, struct rename_row **rows, const char *text,
                           const char *beside)
{
    struct rename_row *row = arena_new(r->arena, struct rename_row, 1);
    *row = (struct rename_row){ *rows, slice_cstr(r->arena, slice_of(text)),
                                slice_cstr(r->arena, slice_of(beside)) };
    *rows = row;
}

static enum err rename_run_pg(struct rename *r, const char *what, const char *sql,
                              const char *const *params, struct rename_row **rows)
{
    static const Oid text = 25;
    int count = 0, n = 0;
    while (count < RENAME_PARAMS_MAX && params[count] != NULL)
        count++;
    PGresult *res =
        PQexecParams(r->pg, sql, count, (const Oid[]){ text, text, text }, params, NULL, NULL, 0);
    ExecStatusType status = PQresultStatus(res);
    int64_t changed = 0;
    bool fine = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    if (fine && rows != NULL)
        for (n = 0; n < PQntuples(res); n++)
            rename_row_add(r, rows, PQgetvalue(res, n, 0), PQgetvalue(res, n, 1));
    else if (fine && slice_int(slice_of(PQcmdTuples(res)), &changed))
        r->done->rows += (uint64_t)changed;
    PQclear(res);
    return fine ? OK : rename_failed(r, what);
}

static enum err rename_run_lite(struct rename *r, const char *what, const char *sql,
                                const char *const *params, struct rename_row **rows)
{
    static const char *const names[RENAME_PARAMS_MAX] = { "$1", "$2", "$3" };
    sqlite3_stmt *st = NULL;
    int rc;
    if (sqlite3_prepare_v2(r->lite, sql, -1, &st, NULL) != SQLITE_OK)
        return rename_failed(r, what);
    for (int i = 0; i < RENAME_PARAMS_MAX && params[i] != NULL; i++)
        sqlite3_bind_text(st, sqlite3_bind_parameter_index(st, names[i]), params[i], -1,
                          SQLITE_STATIC);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW)
        if (rows != NULL)
            rename_row_add(r, rows, (const char *)sqlite3_column_text(st, 0),
                           (const char *)sqlite3_column_text(st, 1));
    if (rc == SQLITE_DONE && !sqlite3_stmt_readonly(st))
        r->done->rows += (uint64_t)sqlite3_changes(r->lite);
    enum err e = rc == SQLITE_DONE ? OK : rename_failed(r, what);
    sqlite3_finalize(st);
    return e;
}

/* `params` are $1 and following, ended by NULL. `rows`, if not NULL, gets what it selects: two
 * texts that are not NULL. */
static enum err rename_run(struct rename *r, const char *what, const char *sql,
                           const char *const *params, struct rename_row **rows)
{
    return r->pg != NULL ? rename_run_pg(r, what, sql, params, rows)
                         : rename_run_lite(r, what, sql, params, rows);
}

/* With both addresses. */
static enum err rename_run_both(struct rename *r, const char *what, const char *sql)
{
    return rename_run(r, what, sql, (const char *const[]){ r->old, r->to, NULL }, NULL);
}

static enum err rename_one(struct rename *r, const char *what, struct buf *sql)
{
    buf_append(sql, "", 1);
    ensure(!sql->overflow);
    enum err e = rename_run_both(r, what, sql->ptr);
    buf_clear(sql);
    return e;
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

/* Rows of the account itself that have its new address. */
static void rename_sql_own(struct buf *sql, const struct store_address *at)
{
    buf_printf(sql,
               "DELETE FROM %s WHERE %s = (SELECT id FROM account WHERE jid IN ($1, $2)) AND (%s = "
               "$2 OR substr(%s, 1, length($2) + 1) = $2 || '/')",
               at->table, at->own, at->column, at->column);
}

static void rename_sql_jid(struct buf *sql, const struct store_address *at)
{
    buf_printf(sql,
               "UPDATE %s SET %s = $2 || substr(%s, length($1) + 1) WHERE (%s = $1 OR substr(%s, "
               "1, length($1) + 1) = $1 || '/')",
               at->table, at->column, at->column, at->column, at->column);
}

/* Whether it is this bare JID, or a full JID of it. */
static bool rename_is(slice jid, const char *bare)
{
    size_t len = strlen(bare);
    return slice_starts(jid, slice_of(bare)) && (jid.len == len || jid.ptr[len] == '/');
}

static bool rename_list_has(slice list, char separator, const char *bare)
{
    slice one;
    while (list.len > 0) {
        slice_cut(list, separator, &one, &list);
        if (rename_is(one, bare))
            return true;
    }
    return false;
}

static bool rename_list_has_one(slice list, char separator, slice jid)
{
    slice one;
    while (list.len > 0) {
        slice_cut(list, separator, &one, &list);
        if (slice_eq(one, jid))
            return true;
    }
    return false;
}

/* The list with the new address, which is in it once. without: only the old one becomes that. */
static const char *rename_list(const struct rename *r, slice list, char separator, bool without)
{
    struct buf out;
    slice one;
    bool ends = list.len > 0 && list.ptr[list.len - 1] == separator;
    buf_init(&out, STORE_BATCH_BYTES_MAX);
    while (list.len > 0) {
        slice_cut(list, separator, &one, &list);
        bool renamed = rename_is(one, r->old);
        if (renamed)
            one = slice_of(arena_printf(r->arena, "%s%.*s", r->to,
                                        SLICE_ARG(slice_from(one, strlen(r->old)))));
        else if (without && rename_is(one, r->to))
            continue;
        if (rename_is(one, r->to) && rename_list_has_one(buf_slice(&out), separator, one))
            continue;
        buf_add(&out, one);
        buf_append(&out, &separator, 1);
    }
    if (!ends && out.len > 0)
        out.len--;
    ensure(!out.overflow);
    const char *text = slice_cstr(r->arena, buf_slice(&out));
    buf_fini(&out);
    return text;
}

/* Lists that are alike become alike. An address that was renamed in the list beside is not in this
 * one, too. */
static enum err rename_in_lists(struct rename *r, const struct store_address *at, const char *find)
{
    const char *beside = at->beside != NULL ? at->beside : at->column, *only = "", *and = "";
    struct rename_row *rows = NULL;
    if (at->only != NULL) {
        only = at->only;
        and = " AND ";
    }
    const char *all = arena_printf(
        r->arena,
        "SELECT DISTINCT %s, %s FROM %s WHERE (%s(%s, $1) > 0 OR %s(%s, $1) > 0 OR (%s(%s, $2) > 0 "
        "AND %s(%s, $2) > 0))%s%s",
        at->column, beside, at->table, find, at->column, find, beside, find, at->column, find,
        beside, and, only);
    const char *put = arena_printf(r->arena, "UPDATE %s SET %s = $1 WHERE %s = $2 AND %s = $3%s%s",
                                   at->table, at->column, at->column, beside, and, only);
    enum err e = rename_run(r, at->table, all, (const char *const[]){ r->old, r->to, NULL }, &rows);
    for (; e == OK && rows != NULL; rows = rows->next) {
        slice list = slice_of(rows->text), other = slice_of(rows->beside);
        bool old = rename_list_has(list, at->separator, r->old);
        bool without = !old && at->beside != NULL &&
                       (rename_list_has(other, at->separator, r->old) ||
                        rename_list_has(other, at->separator, r->to));
        if (!old && !without)
            continue;
        const char *text = rename_list(r, list, at->separator, without);
        e = rename_run(r, at->table, put,
                       (const char *const[]){ text, rows->text, rows->beside, NULL }, NULL);
    }
    return e;
}

static bool rename_in_word(char c)
{
    uint8_t u = (uint8_t)c;
    return u >= 0x80 || (u >= '0' && u <= '9') || ((u | 0x20) >= 'a' && (u | 0x20) <= 'z') ||
           (c != '\0' && strchr("_-+%", c) != NULL);
}

bool store_rename_names(slice text, const char *address)
{
    size_t len = strlen(address);
    bool within = false; /* the byte before belongs to a longer address */
    for (; text.len >= len; text = slice_from(text, 1)) {
        if (!within && slice_starts(text, slice_of(address))) {
            slice rest = slice_from(text, len);
            if (rest.len > 0 && rest.ptr[0] == '.')
                rest = slice_from(rest, 1); /* it may end a sentence */
            if (rest.len == 0 || !rename_in_word(rest.ptr[0]))
                return true;
        }
        within = rename_in_word(text.ptr[0]) || text.ptr[0] == '.';
    }
    return false;
}

/* What operators wrote stays; they are told. */
static enum err rename_tell(struct rename *r, const struct store_address *at, const char *find)
{
    struct rename_row *rows = NULL;
    const char *sql =
        arena_printf(r->arena, "SELECT %s, %s FROM %s WHERE %s(%s, $1) > 0 ORDER BY 2 DESC",
                     at->column, at->beside, at->table, find, at->column);
    enum err e = rename_run(r, at->table, sql, (const char *const[]){ r->old, NULL }, &rows);
    for (; e == OK && rows != NULL; rows = rows->next)
        if (store_rename_names(slice_of(rows->text), r->old))
            r->done->left(r->done->arg, rows->beside);
    return e;
}

/* Which stanzas have the address in an attribute of the start tag, and at which place. before: what
 * stands in front of it, in SQL's quotes. An address has no character that XML or SQL would escape
 * (RFC 7622 §3.3.1), and values of attributes have no ">" (codec/xml_write.h), so the first one
 * ends the start tag. */
struct rename_attribute {
    char place[256], rows[768];
};

static void rename_attribute_find(struct rename_attribute *a, const struct store_address *at,
                                  const char *find, const char *before)
{
    const char *c = at->column, *only = at->only != NULL ? at->only : "1 = 1";
    snprintf(a->place, sizeof a->place, "%s(%s, %s || $1)", find, c, before);
    int len = snprintf(a->rows, sizeof a->rows,
                       "%s BETWEEN 1 AND %s(%s, '>') AND substr(%s, %s + length(%s || $1), 1) IN "
                       "('''', '/') AND %s",
                       a->place, find, c, c, a->place, before, only);
    ensure(len > 0 && len < (int)sizeof a->rows);
}

static enum err rename_in_attribute(struct rename *r, const struct store_address *at,
                                    const char *find, const char *before, struct buf *sql)
{
    struct rename_attribute a;
    enum err e = OK;
    const char *c = at->column;
    rename_attribute_find(&a, at, find, before);
    if (at->resize != NULL) {
        at->resize(sql, a.rows, (int64_t)strlen(r->to) - (int64_t)strlen(r->old));
        e = rename_one(r, at->table, sql);
    }
    buf_printf(sql,
               "UPDATE %s SET %s = substr(%s, 1, %s - 1) || %s || $2 || substr(%s, %s + length(%s "
               "|| $1)) WHERE %s",
               at->table, c, c, a.place, before, c, a.place, before, a.rows);
    return e == OK ? rename_one(r, at->table, sql) : e;
}

static enum err rename_in_jids(struct rename *r, const struct store_address *at, struct buf *sql)
{
    static void (*const make[])(struct buf *, const struct store_address *) = { rename_sql_own,
                                                                                rename_sql_twice,
                                                                                rename_sql_jid };
    const bool has[] = { at->own != NULL, at->beside != NULL, true };
    enum err e = OK;
    for (size_t i = 0; e == OK && i < sizeof make / sizeof make[0]; i++) {
        if (!has[i])
            continue;
        make[i](sql, at);
        if (at->only != NULL)
            buf_printf(sql, " AND %s", at->only);
        e = rename_one(r, at->table, sql);
    }
    return e;
}

static enum err rename_in(struct rename *r, const struct store_address *at)
{
    enum err e = OK;
    const char *find = r->pg != NULL ? "strpos" : "instr";
    struct buf sql;
    buf_init(&sql, RENAME_SQL_MAX);
    switch (at->kind) {
    case STORE_START_TAG:
        e = rename_in_attribute(r, at, find, "' from='''", &sql);
        if (e == OK)
            e = rename_in_attribute(r, at, find, "''' to='''", &sql);
        break;
    case STORE_JID_LIST:
        e = rename_in_lists(r, at, find);
        break;
    case STORE_WRITTEN:
        e = rename_tell(r, at, find);
        break;
    case STORE_JID:
        e = rename_in_jids(r, at, &sql);
        break;
    }
    buf_fini(&sql);
    return e == OK && at->after != NULL ? rename_run_both(r, at->table, at->after) : e;
}

static enum err rename_may(struct rename *r)
{
    static const char sql[] = "SELECT jid, jid FROM account WHERE jid = $1";
    struct rename_row *is = NULL, *taken = NULL;
    enum err e = rename_run(r, "account", sql, (const char *const[]){ r->old, NULL }, &is);
    if (e == OK)
        e = rename_run(r, "account", sql, (const char *const[]){ r->to, NULL }, &taken);
    if (e == OK && (is == NULL || strcmp(r->old, r->to) == 0)) {
        why_set(r->why, "%s: there is no such account", r->old);
        e = E_NOTFOUND;
    } else if (e == OK && taken != NULL) {
        why_set(r->why, "%s: there is such an account already", r->to);
        e = E_EXISTS;
    }
    return e;
}

static enum err rename_all(struct rename *r, const struct store_schema *const *schemas)
{
    static const char *const none[] = { NULL };
    enum err e = rename_run(r, "database", "BEGIN", none, NULL);
    if (e == OK)
        e = rename_may(r);
    for (; e == OK && *schemas != NULL; schemas++)
        for (const struct store_address *at = (*schemas)->addresses;
             e == OK && at != NULL && at->table != NULL; at++)
            e = rename_in(r, at);
    return e == OK ? rename_run(r, "database", "COMMIT", none, NULL) : e;
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
                      const char *to, struct store_renamed *done, struct why *why)
{
    struct rename r = { .arena = arena_create(0), .old = old, .to = to, .done = done, .why = why };
    done->rows = 0;
    enum err e = rename_open(&r, url);
    if (e == OK)
        e = rename_all(&r, schemas);
    PQfinish(r.pg);
    sqlite3_close(r.lite); /* rolls back what was not committed */
    arena_destroy(&r.arena);
    return e;
}
