#include "convert/prosody_sql.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_read.h"
#include "convert/prosody_value.h"
#include <limits.h>
#include <sqlite3.h>

enum { COLUMNS_MAX = 8, PARAMS_MAX = 3, BUSY_MS = 2000 };

struct prosody_sql {
    sqlite3 *db;
    struct xml_work *xml;
};

struct sql_query {
    slice sql;
    slice param[PARAMS_MAX];
    prosody_sql_fn *fn;
    void *arg;
};

static const char *const questions[PROSODY_QUESTIONS] = {
    [PROSODY_HOSTS] = "SELECT host FROM prosody UNION SELECT host FROM prosodyarchive",
    [PROSODY_USERS] = "SELECT DISTINCT user FROM prosody WHERE host = ?1 AND store = ?2",
    [PROSODY_STORES] = "SELECT store FROM prosody WHERE host = ?1 UNION "
                       "SELECT store FROM prosodyarchive WHERE host = ?1",
    [PROSODY_COUNTS] =
        "SELECT store, user, 0, count(*) FROM prosody WHERE host = ?1 GROUP BY store, user "
        "UNION ALL SELECT store, user, 1, count(*) FROM prosodyarchive WHERE host = ?1 "
        "GROUP BY store, user",
    [PROSODY_TABLES] =
        "SELECT name, printf('SELECT count(*) FROM \"%w\"', name) FROM sqlite_schema "
        "WHERE type = 'table' AND name NOT IN ('prosody', 'prosodyarchive') AND "
        "name NOT LIKE 'sqlite_%'",
};

static int sql_step(sqlite3_stmt *st, const struct sql_query *q)
{
    slice column[COLUMNS_MAX];
    int rc, count = sqlite3_column_count(st);
    ensure(count <= COLUMNS_MAX);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        for (int i = 0; i < count; i++) {
            const unsigned char *text = sqlite3_column_text(st, i);
            column[i] = (slice){ text == NULL ? "" : (const char *)text,
                                 (size_t)sqlite3_column_bytes(st, i) };
        }
        if (!q->fn(q->arg, column))
            return SQLITE_DONE;
    }
    return rc;
}

/* Parameters that the query has not are left out. */
static enum err sql_run(struct prosody_sql *sql, const struct sql_query *q, struct why *why)
{
    sqlite3_stmt *st = NULL;
    ensure(q->sql.len < INT_MAX);
    int rc = sqlite3_prepare_v2(sql->db, q->sql.ptr, (int)q->sql.len, &st, NULL);
    int count = rc == SQLITE_OK ? sqlite3_bind_parameter_count(st) : 0;
    for (int i = 0; rc == SQLITE_OK && i < count; i++) {
        slice text = q->param[i];
        ensure(text.len < INT_MAX);
        rc = sqlite3_bind_text(st, i + 1, text.len == 0 ? "" : text.ptr, (int)text.len,
                               SQLITE_STATIC);
    }
    if (rc == SQLITE_OK)
        rc = sql_step(st, q);
    if (rc != SQLITE_DONE)
        why_set(why, "%s", sqlite3_errmsg(sql->db));
    sqlite3_finalize(st);
    return rc == SQLITE_DONE ? OK : E_CORRUPT;
}

void prosody_sql_close(struct prosody_sql **sql)
{
    if (*sql == NULL)
        return;
    sqlite3_close((*sql)->db);
    xml_work_destroy(&(*sql)->xml);
    mem_free(sql);
}

static bool sql_no_row(void *arg, const slice *column)
{
    (void)arg, (void)column;
    return false;
}

enum err prosody_sql_open(struct prosody_sql **out, const char *path, struct why *why)
{
    struct prosody_sql *sql = mem_zalloc(sizeof *sql);
    struct why found;
    sql->xml = xml_work_create();
    *out = sql;
    enum err e = OK;
    if (sqlite3_open_v2(path, &sql->db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK) {
        why_set(why, "%s: %s", path, sqlite3_errmsg(sql->db));
        e = E_IO;
    }
    if (e == OK) {
        sqlite3_db_config(sql->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        sqlite3_busy_timeout(sql->db, BUSY_MS);
        e = sql_run(sql,
                    &(struct sql_query){ .sql = SLICE("SELECT 1 FROM prosody, prosodyarchive "
                                                      "LIMIT 1"),
                                         .fn = sql_no_row },
                    &found);
        if (e != OK)
            why_set(why, "%s: found %s, expected a database of Prosody with SQLite", path,
                    found.text);
    }
    if (e != OK)
        prosody_sql_close(out);
    return e;
}

enum err prosody_sql_ask(struct prosody_sql *sql, enum prosody_question question,
                         const slice param[2], prosody_sql_fn *fn, void *arg, struct why *why)
{
    return sql_run(
        sql, &(struct sql_query){ slice_of(questions[question]), { param[0], param[1] }, fn, arg },
        why);
}

static bool sql_number_row(void *arg, const slice *column)
{
    int64_t n;
    *(uint64_t *)arg = slice_int(column[0], &n) && n > 0 ? (uint64_t)n : 0;
    return false;
}

enum err prosody_sql_number(struct prosody_sql *sql, slice query, uint64_t *out, struct why *why)
{
    return sql_run(sql, &(struct sql_query){ .sql = query, .fn = sql_number_row, .arg = out }, why);
}

/* Values. */

struct sql_reading {
    struct prosody_sql *sql;
    const struct prosody_sql_store *store;
    struct why *why;
    enum err e;
    size_t bytes; /* of this store */
    struct lua_field **last;
    struct lua_value *out;
    lua_item_fn *fn;
    void *arg;
};

/* false: it is wrong, or all are too long. */
static bool sql_value(struct sql_reading *r, struct lua_value *out, slice type, slice text)
{
    struct arena *tmp = r->store->tmp;
    *r->store->bytes += text.len;
    r->bytes += text.len;
    if (r->bytes > r->store->max) {
        why_set(r->why, "it has more than %zu MiB", r->store->max >> 20);
        r->e = E_LIMIT;
        return false;
    }
    r->e = prosody_value(out, type, slice_dup(tmp, text), r->sql->xml, tmp, r->why);
    return r->e == OK;
}

static enum err sql_rows(struct sql_reading *r, const char *query, prosody_sql_fn *fn)
{
    const struct prosody_sql_store *s = r->store;
    enum err e = sql_run(
        r->sql, &(struct sql_query){ slice_of(query), { s->host, s->user, s->store }, fn, r },
        r->why);
    return r->e != OK ? r->e : e;
}

/* Keys that are no strings are in a table whose key is empty. */
static bool sql_key_row(void *arg, const slice *column)
{
    struct sql_reading *r = arg;
    struct arena *tmp = r->store->tmp;
    struct lua_value v;
    if (!sql_value(r, &v, column[1], column[2]))
        return false;
    r->out->type = LUA_TABLE;
    if (column[0].len == 0) {
        *r->last = v.first;
    } else {
        *r->last = arena_new(tmp, struct lua_field, 1);
        **r->last =
            (struct lua_field){ .key = { .type = LUA_STRING, .text = slice_dup(tmp, column[0]) },
                                .value = v };
    }
    while (*r->last != NULL)
        r->last = &(*r->last)->next;
    return true;
}

enum err prosody_sql_read(struct prosody_sql *sql, const struct prosody_sql_store *store,
                          struct lua_value *out, struct why *why)
{
    struct sql_reading r = {
        .sql = sql, .store = store, .why = why, .last = &out->first, .out = out
    };
    ensure(sql != NULL && store->user.len > 0);
    *out = (struct lua_value){ .type = LUA_NIL };
    return sql_rows(&r,
                    "SELECT \"key\", type, value FROM prosody "
                    "WHERE host = ?1 AND user = ?2 AND store = ?3 ORDER BY rowid",
                    sql_key_row);
}

/* As in a file, key and time of an item are beside what it is. */
static bool sql_item_row(void *arg, const slice *column)
{
    static const char *const names[] = { "key", "when" };
    struct sql_reading *r = arg;
    struct arena *tmp = r->store->tmp;
    struct lua_value v;
    arena_reset(tmp);
    if (!sql_value(r, &v, column[2], column[3]))
        return false;
    if (v.type != LUA_TABLE) {
        why_set(r->why, "found an item that is no table");
        r->e = E_SYNTAX;
        return false;
    }
    for (unsigned i = 0; i < 2; i++)
        prosody_value_put(
            &v, names[i],
            (struct lua_value){ .type = LUA_STRING, .text = slice_dup(tmp, column[i]) }, tmp);
    r->fn(r->arg, &v);
    return true;
}

enum err prosody_sql_each(struct prosody_sql *sql, const struct prosody_sql_store *store,
                          lua_item_fn *fn, void *arg, struct why *why)
{
    struct sql_reading r = { .sql = sql, .store = store, .why = why, .fn = fn, .arg = arg };
    ensure(sql != NULL && store->user.len > 0 && fn != NULL);
    return sql_rows(&r,
                    "SELECT \"key\", \"when\", type, value FROM prosodyarchive "
                    "WHERE host = ?1 AND user = ?2 AND store = ?3 ORDER BY sort_id",
                    sql_item_row);
}
