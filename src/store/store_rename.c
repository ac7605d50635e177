/* The statements serve both databases; only the function that finds a text in another has two
 * names. */
#include "store/store_rename.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "store/store_pgsql.h"
#include "store/store_sqlite.h"
#include <unistd.h>

#define RENAME_FROM "' from='''"
#define RENAME_TO   "''' to='''"

enum { RENAME_SQL_MAX = 1 << 20, RENAME_COLUMNS_MAX = 3 };

struct rename {
    sqlite3 *lite; /* or */
    PGconn *pg;
    struct arena *arena;
    struct renaming *forth; /* $1 and $2 of most statements are its addresses */
    struct renaming back;
    bool found; /* the old address */
    struct store_renamed *done;
    struct why *why;
};

/* A row that was read. */
struct rename_row {
    struct rename_row *next;
    const char *text[RENAME_COLUMNS_MAX];
};

static const char *const rename_none[] = { NULL };

static enum err rename_failed(struct rename *r, const char *what)
{
    if (r->pg != NULL)
        why_set(r->why, "%s: PostgreSQL: %s", what, PQerrorMessage(r->pg));
    else
        why_set(r->why, "%s: SQLite: %s", what, sqlite3_errmsg(r->lite));
    return E_IO;
}

static struct rename_row *rename_row_add(struct rename *r, struct rename_row **rows)
{
    struct rename_row *row = arena_new(r->arena, struct rename_row, 1);
    row->next = *rows;
    return *rows = row;
}

static enum err rename_run_pg(struct rename *r, const char *what, const char *sql,
                              const char *const *params, struct rename_row **rows)
{
    static const Oid text = 25;
    int count = 0;
    while (count < RENAME_COLUMNS_MAX && params[count] != NULL)
        count++;
    PGresult *res =
        PQexecParams(r->pg, sql, count, (const Oid[]){ text, text, text }, params, NULL, NULL, 0);
    ExecStatusType status = PQresultStatus(res);
    int64_t changed = 0;
    bool fine = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    if (fine && rows != NULL)
        for (int n = 0; n < PQntuples(res); n++) {
            struct rename_row *row = rename_row_add(r, rows);
            for (int i = 0; i < PQnfields(res); i++)
                row->text[i] = slice_cstr(r->arena, slice_of(PQgetvalue(res, n, i)));
        }
    else if (fine && slice_int(slice_of(PQcmdTuples(res)), &changed))
        r->done->rows += (uint64_t)changed;
    PQclear(res);
    return fine ? OK : rename_failed(r, what);
}

static enum err rename_run_lite(struct rename *r, const char *what, const char *sql,
                                const char *const *params, struct rename_row **rows)
{
    static const char *const names[RENAME_COLUMNS_MAX] = { "$1", "$2", "$3" };
    sqlite3_stmt *st = NULL;
    int rc;
    if (sqlite3_prepare_v2(r->lite, sql, -1, &st, NULL) != SQLITE_OK)
        return rename_failed(r, what);
    for (int i = 0; i < RENAME_COLUMNS_MAX && params[i] != NULL; i++)
        sqlite3_bind_text(st, sqlite3_bind_parameter_index(st, names[i]), params[i], -1,
                          SQLITE_STATIC);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW && rows != NULL) {
        struct rename_row *row = rename_row_add(r, rows);
        for (int i = 0; i < sqlite3_column_count(st); i++)
            row->text[i] = slice_cstr(r->arena, slice_of((const char *)sqlite3_column_text(st, i)));
    }
    if (rc == SQLITE_DONE && !sqlite3_stmt_readonly(st))
        r->done->rows += (uint64_t)sqlite3_changes(r->lite);
    enum err e = rc == SQLITE_DONE ? OK : rename_failed(r, what);
    sqlite3_finalize(st);
    return e;
}

/* `params` are $1 and following, ended by NULL. `rows` gets what it selects, texts that are not
 * NULL; of a statement that selects nothing it may be NULL. */
static enum err rename_run(struct rename *r, const char *what, const char *sql,
                           const char *const *params, struct rename_row **rows)
{
    return r->pg != NULL ? rename_run_pg(r, what, sql, params, rows)
                         : rename_run_lite(r, what, sql, params, rows);
}

/* What changes no rows. */
static enum err rename_define(struct rename *r, const char *what, const char *sql)
{
    if (r->pg != NULL)
        return rename_run_pg(r, what, sql, rename_none, NULL);
    return sqlite3_exec(r->lite, sql, NULL, NULL, NULL) == SQLITE_OK ? OK : rename_failed(r, what);
}

/* With both addresses. */
static enum err rename_run_both(struct rename *r, const char *what, const char *sql)
{
    return rename_run(r, what, sql, (const char *const[]){ r->forth->old, r->forth->to, NULL },
                      NULL);
}

static enum err rename_one(struct rename *r, const struct store_address *at, struct buf *sql)
{
    if (at->only != NULL)
        buf_printf(sql, " AND %s", at->only);
    buf_append(sql, "", 1);
    ensure(!sql->overflow);
    enum err e = rename_run_both(r, at->table, sql->ptr);
    buf_clear(sql);
    return e;
}

/* Parts of statements; `jid` and `bare` are expressions of an address. A database may try a part
 * before it looks at other conditions: on any text it gives no error. */

static const char *rename_sql_find(const struct rename *r)
{
    return r->pg != NULL ? "strpos" : "instr";
}

/* The text in front of the first character that is this one, which is in SQL's quotes. */
static const char *rename_sql_until(const struct rename *r, const char *text, const char *in,
                                    const char *end)
{
    return arena_printf(r->arena, "substr(%s, 1, %s(0, %s(%s, %s) - 1))", text,
                        r->pg != NULL ? "greatest" : "max", rename_sql_find(r), in, end);
}

static const char *rename_sql_bare(const struct rename *r, const char *jid)
{
    return rename_sql_until(r, jid, arena_printf(r->arena, "%s || '/'", jid), "'/'");
}

/* renaming_means(). An address has no character that XML or SQL would escape (RFC 7622 §3.3.1). */
static const char *rename_sql_means(const struct rename *r, const struct renaming *as,
                                    const char *bare)
{
    struct buf names;
    const char *name = bare;
    if (as->domain)
        name =
            arena_printf(r->arena, "substr(%s, %s(%s, '@') + 1)", bare, rename_sql_find(r), bare);
    buf_init(&names, RENAME_SQL_MAX);
    for (unsigned i = 0; i < as->count; i++) {
        ensure(strchr(as->name[i], '\'') == NULL);
        buf_printf(&names, "%s'%s'", i > 0 ? ", " : "", as->name[i]);
    }
    const char *out = arena_printf(r->arena, "%s IN (%.*s)", name, SLICE_ARG(buf_fit(&names)));
    buf_fini(&names);
    return out;
}

static const char *rename_sql_means_jid(const struct rename *r, const struct renaming *as,
                                        const char *jid)
{
    return rename_sql_means(r, as, rename_sql_bare(r, jid));
}

/* renaming_of() an address that changes. */
static const char *rename_sql_other(const struct rename *r, const struct renaming *as,
                                    const char *jid)
{
    const char *end = arena_printf(r->arena, "%s(%s || '/', '/')", rename_sql_find(r), jid);
    return arena_printf(r->arena,
                        "substr(%s, 1, %s(0, %s - 1 - length(%s))) || %s || substr(%s, %s)", jid,
                        r->pg != NULL ? "greatest" : "max", end, as == r->forth ? "$1" : "$2",
                        as == r->forth ? "$2" : "$1", jid, end);
}

/* The address of a row's column, without what is in front of it; and that with the other one. */
static const char *rename_sql_address(const struct rename *r, const struct store_address *at,
                                      const char *column)
{
    return at->mark == NULL
               ? column
               : arena_printf(r->arena, "substr(%s, length(%s) + 1)", column, at->mark);
}

static const char *rename_sql_with_other(const struct rename *r, const struct store_address *at,
                                         const struct renaming *as, const char *column)
{
    const char *other = rename_sql_other(r, as, rename_sql_address(r, at, column));
    return at->mark == NULL ? other : arena_printf(r->arena, "%s || %s", at->mark, other);
}

/* Rows of the new address where the same key has one of the old. */
static void rename_sql_twice(const struct rename *r, struct buf *sql,
                             const struct store_address *at)
{
    const char *jid = arena_printf(r->arena, "x.%s", at->column);
    buf_printf(sql,
               "DELETE FROM %s AS x WHERE %s AND EXISTS (SELECT 1 FROM %s AS o WHERE o.%s = %s",
               at->table, rename_sql_means_jid(r, &r->back, rename_sql_address(r, at, jid)),
               at->table, at->column, rename_sql_with_other(r, at, &r->back, jid));
    slice name, rest = slice_of(at->beside);
    while (rest.len > 0) {
        slice_cut(rest, ' ', &name, &rest);
        buf_printf(sql, " AND o.%.*s = x.%.*s", SLICE_ARG(name), SLICE_ARG(name));
    }
    buf_lit(sql, ")");
}

/* Rows of an account itself that have its new address. */
static void rename_sql_own(const struct rename *r, struct buf *sql, const struct store_address *at)
{
    const char *jid = arena_printf(r->arena, "x.%s", at->column);
    const char *bare = rename_sql_bare(r, jid);
    buf_printf(sql,
               "DELETE FROM %s AS x WHERE %s AND EXISTS (SELECT 1 FROM account AS a WHERE a.id = "
               "x.%s AND a.jid IN (%s, %s))",
               at->table, rename_sql_means_jid(r, &r->back, jid), at->own, bare,
               rename_sql_other(r, &r->back, bare));
}

static void rename_sql_jid(const struct rename *r, struct buf *sql, const struct store_address *at)
{
    buf_printf(sql, "UPDATE %s SET %s = %s WHERE %s", at->table, at->column,
               rename_sql_with_other(r, at, r->forth, at->column),
               rename_sql_means_jid(r, r->forth, rename_sql_address(r, at, at->column)));
}

static enum err rename_in_jids(struct rename *r, const struct store_address *at, struct buf *sql)
{
    static void (*const make[])(const struct rename *, struct buf *,
                                const struct store_address *) = { rename_sql_own, rename_sql_twice,
                                                                  rename_sql_jid };
    const bool has[] = { at->own != NULL, at->beside != NULL, true };
    enum err e = OK;
    for (size_t i = 0; e == OK && i < sizeof make / sizeof make[0]; i++) {
        if (!has[i])
            continue;
        make[i](r, sql, at);
        e = rename_one(r, at, sql);
    }
    return e;
}

/* Whether a list has this bare JID, or a full JID of it. */
static bool rename_list_has(slice list, char separator, slice bare)
{
    slice one, resource;
    while (list.len > 0) {
        slice_cut(list, separator, &one, &list);
        slice_cut(one, '/', &one, &resource);
        if (slice_eq(one, bare))
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

/* Whether a new address that is in a list has to leave it: the list beside has it, too, maybe still
 * as the old one, and this list does not have the old one. */
static bool rename_list_yields(const struct rename *r, slice list, slice beside, char separator,
                               slice jid)
{
    slice is, resource;
    slice_cut(jid, '/', &is, &resource);
    slice was = renaming_of(&r->back, is, r->arena);
    return renaming_means(&r->back, is) && !rename_list_has(list, separator, was) &&
           (rename_list_has(beside, separator, was) || rename_list_has(beside, separator, is));
}

/* The list with new addresses, each of which is in it once. */
static const char *rename_list(const struct rename *r, slice list, slice beside, char separator)
{
    struct buf out;
    slice one, rest = list;
    bool ends = list.len > 0 && list.ptr[list.len - 1] == separator;
    buf_init(&out, STORE_BATCH_BYTES_MAX);
    while (rest.len > 0) {
        slice_cut(rest, separator, &one, &rest);
        if (rename_list_yields(r, list, beside, separator, one))
            continue;
        one = renaming_of(r->forth, one, r->arena);
        if (renaming_means(&r->back, one) && rename_list_has_one(buf_slice(&out), separator, one))
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

/* Runs a statement that puts $1 into each of the rows that were read: $2 and $3 find them again by
 * this value. It has an index meanwhile, or each would look at the whole table. PostgreSQL has only
 * one kind for values of any length. */
typedef enum err rename_put_fn(struct rename *r, const struct store_address *at, const char *put,
                               const struct rename_row *row);
static enum err rename_put_all(struct rename *r, const struct store_address *at, const char *put,
                               const char *value, const struct rename_row *rows, rename_put_fn *fn)
{
    const char *make = arena_printf(r->arena, "CREATE INDEX rename_rows ON %s%s((%s))", at->table,
                                    r->pg != NULL ? " USING hash " : "", value);
    enum err e = rows == NULL ? OK : rename_define(r, at->table, make);
    for (const struct rename_row *row = rows; e == OK && row != NULL; row = row->next)
        e = fn(r, at, put, row);
    return e == OK && rows != NULL ? rename_define(r, at->table, "DROP INDEX rename_rows") : e;
}

static enum err rename_put_list(struct rename *r, const struct store_address *at, const char *put,
                                const struct rename_row *row)
{
    slice other = slice_of(at->beside != NULL ? row->text[1] : "");
    const char *text = rename_list(r, slice_of(row->text[0]), other, at->separator);
    return strcmp(text, row->text[0]) == 0
               ? OK
               : rename_run(r, at->table, put,
                            (const char *const[]){ text, row->text[0], row->text[1], NULL }, NULL);
}

/* Lists that are alike become alike. An address that was renamed in the list beside is not in this
 * one, too. */
static enum err rename_in_lists(struct rename *r, const struct store_address *at)
{
    const char *beside = at->beside != NULL ? at->beside : at->column, *c = at->column;
    const char *find = rename_sql_find(r), *only = at->only != NULL ? at->only : "1 = 1";
    struct rename_row *rows = NULL;
    const char *all = arena_printf(
        r->arena,
        "SELECT DISTINCT %s, %s FROM %s WHERE (%s(%s, $1) > 0 OR %s(%s, $1) > 0 OR (%s(%s, $2) > 0 "
        "AND %s(%s, $2) > 0)) AND %s",
        c, beside, at->table, find, c, find, beside, find, c, find, beside, only);
    const char *both = arena_printf(r->arena, "%s || %s", c, beside);
    const char *put = arena_printf(
        r->arena, "UPDATE %s SET %s = $1 WHERE %s = $2 || $3 AND %s = $2 AND %s = $3 AND %s",
        at->table, c, both, c, beside, only);
    enum err e = rename_run(r, at->table, all,
                            (const char *const[]){ r->forth->old, r->forth->to, NULL }, &rows);
    return e == OK ? rename_put_all(r, at, put, both, rows, rename_put_list) : e;
}

/* What operators wrote stays; they are told. */
static enum err rename_tell(struct rename *r, const struct store_address *at)
{
    struct rename_row *rows = NULL;
    const char *sql =
        arena_printf(r->arena, "SELECT %s, %s FROM %s WHERE %s(%s, $1) > 0 ORDER BY 2 DESC",
                     at->column, at->beside, at->table, rename_sql_find(r), at->column);
    enum err e = rename_run(r, at->table, sql, (const char *const[]){ r->forth->old, NULL }, &rows);
    for (; e == OK && rows != NULL; rows = rows->next)
        if (renaming_in_text(r->forth, slice_of(rows->text[0])))
            r->done->left(r->done->arg, rows->text[1]);
    return e;
}

/* Where a stanza has an address, as SQL. */
struct rename_place {
    const char *begin, *bare;
    const char *is; /* whether it has one there */
};

/* An attribute of the start tag; `before` stands in front of its value, in SQL's quotes. Values of
 * attributes have no quotes and no ">" (codec/xml_write.h), so the first ">" ends the start tag. */
static struct rename_place rename_attribute(const struct rename *r, const char *column,
                                            const char *before)
{
    struct rename_place p;
    const char *find = rename_sql_find(r);
    const char *place = arena_printf(r->arena, "%s(%s, %s)", find, column, before);
    p.begin = arena_printf(r->arena, "%s + length(%s)", place, before);
    const char *rest = arena_printf(r->arena, "substr(%s, %s)", column, p.begin);
    p.bare =
        rename_sql_until(r, rest, arena_printf(r->arena, "replace(%s, '/', '''')", rest), "''''");
    p.is = arena_printf(r->arena, "%s BETWEEN 1 AND %s(%s, '>')", place, find, column);
    return p;
}

/* The address that the sender has as an attribute of an element. */
static struct rename_place rename_mark(const struct rename *r, const struct store_address *at)
{
    const char *c = at->column;
    struct rename_place from = rename_attribute(r, c, RENAME_FROM), p = { .bare = from.bare };
    const char *text = arena_printf(r->arena, "%s || %s || ''''", at->mark, p.bare);
    p.begin = at->behind > 0 ? arena_printf(r->arena, "length(%s) - %u - length(%s) + 1", c,
                                            at->behind, p.bare)
                             : arena_printf(r->arena, "%s(%s, %s) + length(%s)", rename_sql_find(r),
                                            c, text, at->mark);
    p.is = arena_printf(r->arena, "%s AND substr(%s, %s - length(%s), length(%s)) = %s", from.is, c,
                        p.begin, at->mark, text, text);
    return p;
}

static enum err rename_at_place(struct rename *r, const struct store_address *at,
                                struct rename_place p, struct buf *sql)
{
    const char *c = at->column, *means = rename_sql_means(r, r->forth, p.bare);
    const char *rows = arena_printf(r->arena, "%s AND %s", p.is, means);
    int64_t more = (int64_t)strlen(r->forth->to) - (int64_t)strlen(r->forth->old);
    enum err e = OK;
    ensure(at->only == NULL); /* resize() could not have it */
    if (at->resize != NULL && more != 0) {
        at->resize(sql, rows, more);
        e = rename_one(r, at, sql);
    }
    buf_printf(sql,
               "UPDATE %s SET %s = substr(%s, 1, %s + length(%s) - 1 - length($1)) || $2 || "
               "substr(%s, %s + length(%s)) WHERE %s",
               at->table, c, c, p.begin, p.bare, c, p.begin, p.bare, rows);
    return e == OK ? rename_one(r, at, sql) : e;
}

static enum err rename_in_stanzas(struct rename *r, const struct store_address *at, struct buf *sql)
{
    enum err e = rename_at_place(r, at, rename_attribute(r, at->column, RENAME_FROM), sql);
    return e == OK ? rename_at_place(r, at, rename_attribute(r, at->column, RENAME_TO), sql) : e;
}

static enum err rename_in_numbers(struct rename *r, const struct store_address *at, struct buf *sql)
{
    enum err e = OK;
    for (unsigned i = 0; e == OK && r->forth->domain && i < r->forth->count; i++) {
        buf_printf(sql, "UPDATE %s SET %s = %lld WHERE %s = %lld", at->table, at->column,
                   (long long)at->number(slice_of(r->back.name[i])), at->column,
                   (long long)at->number(slice_of(r->forth->name[i])));
        e = rename_one(r, at, sql);
    }
    return e;
}

/* A context with an expression in the place of the address. */
static const char *rename_sql_context(const struct rename *r, const char *context, const char *jid)
{
    slice head, tail;
    slice_cut(slice_of(context), '?', &head, &tail);
    return arena_printf(r->arena, "%.*s%s%.*s", SLICE_ARG(head), jid, SLICE_ARG(tail));
}

static enum err rename_reseal(struct rename *r, const struct store_address *at, const char *put,
                              const struct rename_row *row)
{
    struct buf out;
    enum err e = OK;
    buf_init(&out, STORE_BATCH_BYTES_MAX);
    if (at->reseal(&out, slice_of(row->text[0]), slice_of(row->text[1]), slice_of(row->text[2]),
                   r->arena)) {
        const char *text = slice_cstr(r->arena, buf_fit(&out));
        e = rename_run(r, at->table, put,
                       (const char *const[]){ text, row->text[0], row->text[1], NULL }, NULL);
    }
    buf_fini(&out);
    return e;
}

static enum err rename_in_sealed(struct rename *r, const struct store_address *at)
{
    const char *was = rename_sql_context(r, at->context, at->beside), *c = at->column;
    const char *is = rename_sql_context(r, at->context, rename_sql_other(r, r->forth, at->beside));
    struct rename_row *rows = NULL;
    const char *all = arena_printf(r->arena, "SELECT %s, %s, %s FROM %s WHERE %s", c, was, is,
                                   at->table, rename_sql_means_jid(r, r->forth, at->beside));
    const char *put = arena_printf(r->arena, "UPDATE %s SET %s = $1 WHERE %s = $2 AND %s = $3",
                                   at->table, c, c, was);
    enum err e = rename_run(r, at->table, all,
                            (const char *const[]){ r->forth->old, r->forth->to, NULL }, &rows);
    return e == OK ? rename_put_all(r, at, put, c, rows, rename_reseal) : e;
}

static enum err rename_in(struct rename *r, const struct store_address *at)
{
    enum err e = OK;
    struct buf sql;
    if (at->not_alone && !r->forth->domain)
        return OK;
    buf_init(&sql, RENAME_SQL_MAX);
    switch (at->kind) {
    case STORE_START_TAG:
        e = rename_in_stanzas(r, at, &sql);
        break;
    case STORE_JID_LIST:
        e = rename_in_lists(r, at);
        break;
    case STORE_WRITTEN:
        e = rename_tell(r, at);
        break;
    case STORE_MARK:
        e = rename_at_place(r, at, rename_mark(r, at), &sql);
        break;
    case STORE_NUMBER:
        e = rename_in_numbers(r, at, &sql);
        break;
    case STORE_SEALED:
        e = rename_in_sealed(r, at);
        break;
    case STORE_JID:
        e = rename_in_jids(r, at, &sql);
        break;
    }
    buf_fini(&sql);
    if (e == OK && at->after != NULL)
        e = rename_run_both(r, at->table, at->after);
    return e == OK && at->last != NULL ? rename_run_both(r, at->table, at->last) : e;
}

static enum err rename_each(struct rename *r, const struct store_schema *const *schemas,
                            enum err (*fn)(struct rename *r, const struct store_address *at))
{
    enum err e = OK;
    for (; e == OK && *schemas != NULL; schemas++)
        for (const struct store_address *at = (*schemas)->addresses;
             e == OK && at != NULL && at->table != NULL; at++)
            e = fn(r, at);
    return e;
}

/* What is below the domain by a row of the database. */
static enum err rename_gather(struct rename *r, const struct store_address *at)
{
    struct rename_row *rows = NULL;
    enum err e = OK;
    const char *sql =
        arena_printf(r->arena, "SELECT DISTINCT %s FROM %s ORDER BY 1", at->column, at->table);
    if (at->below && r->forth->domain)
        e = rename_run(r, at->table, sql, rename_none, &rows);
    for (; e == OK && rows != NULL; rows = rows->next) {
        e = renaming_add(r->forth, slice_of(rows->text[0]));
        if (e != OK)
            why_set(r->why, "%s: it has more than %d services", r->forth->old, RENAMING_NAMES_MAX);
    }
    return e;
}

/* One row that is at an old or at a new address. */
static enum err rename_there(struct rename *r, const struct store_address *at,
                             const struct renaming *as, struct rename_row **rows)
{
    enum err e = OK;
    if (at->kind == STORE_JID)
        return rename_run(r, at->table,
                          arena_printf(r->arena, "SELECT %s FROM %s WHERE %s LIMIT 1", at->column,
                                       at->table, rename_sql_means_jid(r, as, at->column)),
                          rename_none, rows);
    for (unsigned i = 0; e == OK && as->domain && i < as->count; i++)
        e = rename_run(r, at->table,
                       arena_printf(r->arena, "SELECT '%s' FROM %s WHERE %s = %lld LIMIT 1",
                                    as->name[i], at->table, at->column,
                                    (long long)at->number(slice_of(as->name[i]))),
                       rename_none, rows);
    return e;
}

static enum err rename_find(struct rename *r, const struct store_address *at)
{
    struct rename_row *old = NULL, *taken = NULL;
    if (!at->there)
        return OK;
    enum err e = rename_there(r, at, r->forth, &old);
    if (e == OK)
        e = rename_there(r, at, &r->back, &taken);
    r->found |= old != NULL;
    if (e != OK || taken == NULL)
        return e;
    if (r->forth->domain)
        why_set(r->why, "%s: this domain is in use already: the database has %s", r->forth->to,
                taken->text[0]);
    else
        why_set(r->why, "%s: there is such an account already", r->forth->to);
    return E_EXISTS;
}

/* Completes the names before. */
static enum err rename_may(struct rename *r, const struct store_schema *const *schemas)
{
    enum err e = rename_each(r, schemas, rename_gather);
    if (e != OK)
        return e;
    r->back = renaming_reverse(r->forth);
    for (unsigned i = 0; r->forth->domain && i < r->back.count; i++)
        if (renaming_means(r->forth, slice_of(r->back.name[i]))) {
            why_set(r->why,
                    "%s: it belongs to %s; rename to another domain first, then to this one",
                    r->back.name[i], r->forth->old);
            return E_EXISTS;
        }
    if (strcmp(r->forth->old, r->forth->to) != 0)
        e = rename_each(r, schemas, rename_find);
    if (e != OK || r->found)
        return e;
    if (r->forth->domain)
        why_set(r->why, "%s: there is no such domain in the database: nothing is at it",
                r->forth->old);
    else
        why_set(r->why, "%s: there is no such account", r->forth->old);
    return E_NOTFOUND;
}

static enum err rename_all(struct rename *r, const struct store_schema *const *schemas)
{
    enum err e = rename_run(r, "database", "BEGIN", rename_none, NULL);
    if (e == OK)
        e = rename_may(r, schemas);
    if (e == OK)
        e = rename_each(r, schemas, rename_in);
    return e == OK ? rename_run(r, "database", "COMMIT", rename_none, NULL) : e;
}

/* Until the connection ends: no server may begin to use the database meanwhile. Of one that has
 * just ended the database may not know yet. */
static enum err rename_lock(struct rename *r)
{
    enum { PAUSE_US = 50000 };
    uint64_t until_us = clock_mono_us() + PG_LOCK_WAIT_MS * UINT64_C(1000);
    for (;;) {
        struct rename_row *row = NULL;
        enum err e = rename_run(r, "database", "SELECT pg_try_advisory_lock(" PG_LOCK_KEY ")",
                                rename_none, &row);
        if (e != OK || strcmp(row->text[0], "t") == 0)
            return e;
        if (clock_mono_us() >= until_us)
            break;
        usleep(PAUSE_US);
    }
    why_set(r->why, "the database is used by another process: stop that server first");
    return E_EXISTS;
}

static enum err rename_open(struct rename *r, const char *url)
{
    if (!slice_starts(slice_of(url), SLICE("sqlite:"))) {
        r->pg = PQconnectdb(url);
        return PQstatus(r->pg) == CONNECTION_OK ? rename_lock(r) : rename_failed(r, "connection");
    }
    sqlite_configure();
    const char *path = url + sizeof "sqlite:" - 1;
    return sqlite3_open_v2(path, &r->lite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                           SQLITE_VFS_NAME) == SQLITE_OK
               ? OK
               : rename_failed(r, path);
}

enum err store_rename(const char *url, const struct store_schema *const *schemas,
                      struct renaming *renaming, struct store_renamed *done, struct why *why)
{
    struct rename r = { .arena = renaming->arena, .forth = renaming, .done = done, .why = why };
    done->rows = 0;
    enum err e = rename_open(&r, url);
    if (e == OK)
        e = rename_all(&r, schemas);
    PQfinish(r.pg);
    sqlite3_close(r.lite); /* rolls back what was not committed */
    return e;
}
