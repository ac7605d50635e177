#include "convert/prosody_sql.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_read.h"
#include "convert/prosody_value.h"
#include "convert/sqlite_file.h"

struct prosody_sql {
    struct sqlite_file *file;
    struct xml_work *xml;
};

void prosody_sql_close(struct prosody_sql **sql)
{
    if (*sql == NULL)
        return;
    sqlite_file_close(&(*sql)->file);
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
    static const struct sqlite_query query = { .sql =
                                                   "SELECT 1 FROM prosody, prosodyarchive LIMIT 1",
                                               .fn = sql_no_row };
    struct prosody_sql *sql = mem_zalloc(sizeof *sql);
    struct why found;
    sql->xml = xml_work_create();
    *out = sql;
    enum err e = sqlite_file_open(&sql->file, path, why);
    if (e == OK) {
        e = sqlite_file_rows(sql->file, &query, &found);
        if (e != OK)
            why_set(why, "%s: found %s, expected a database of Prosody with SQLite", path,
                    found.text);
    }
    if (e != OK)
        prosody_sql_close(out);
    return e;
}

/* Names. */

struct sql_names {
    prosody_sql_name_fn *fn;
    void *arg;
};

static bool sql_name_row(void *arg, const slice *column)
{
    const struct sql_names *n = arg;
    if (column[0].len > 0)
        n->fn(n->arg, column[0]);
    return true;
}

enum err prosody_sql_hosts(struct prosody_sql *sql, prosody_sql_name_fn *fn, void *arg,
                           struct why *why)
{
    return sqlite_file_rows(sql->file,
                            &(struct sqlite_query){ .sql = "SELECT host FROM prosody UNION "
                                                           "SELECT host FROM prosodyarchive",
                                                    .fn = sql_name_row,
                                                    .arg = &(struct sql_names){ fn, arg } },
                            why);
}

enum err prosody_sql_users(struct prosody_sql *sql, slice host, const char *store,
                           prosody_sql_name_fn *fn, void *arg, struct why *why)
{
    const slice param[] = { host, slice_of(store) };
    return sqlite_file_rows(
        sql->file,
        &(struct sqlite_query){ "SELECT DISTINCT user FROM prosody WHERE host = ?1 AND store = ?2",
                                param, 2, sql_name_row, &(struct sql_names){ fn, arg } },
        why);
}

enum err prosody_sql_stores(struct prosody_sql *sql, slice host, prosody_sql_name_fn *fn, void *arg,
                            struct why *why)
{
    return sqlite_file_rows(
        sql->file,
        &(struct sqlite_query){ "SELECT store FROM prosody WHERE host = ?1 UNION "
                                "SELECT store FROM prosodyarchive WHERE host = ?1",
                                &host, 1, sql_name_row, &(struct sql_names){ fn, arg } },
        why);
}

struct sql_counts {
    prosody_sql_count_fn *fn;
    void *arg;
};

static uint64_t sql_number(slice text)
{
    int64_t n;
    return slice_int(text, &n) && n > 0 ? (uint64_t)n : 0;
}

static bool sql_count_row(void *arg, const slice *column)
{
    const struct sql_counts *c = arg;
    c->fn(c->arg, column[0], column[1], slice_is(column[2], "1"), sql_number(column[3]));
    return true;
}

enum err prosody_sql_counts(struct prosody_sql *sql, slice host, prosody_sql_count_fn *fn,
                            void *arg, struct why *why)
{
    return sqlite_file_rows(
        sql->file,
        &(struct sqlite_query){
            "SELECT store, user, 0, count(*) FROM prosody WHERE host = ?1 GROUP BY store, user "
            "UNION ALL SELECT store, user, 1, count(*) FROM prosodyarchive WHERE host = ?1 "
            "GROUP BY store, user",
            &host, 1, sql_count_row, &(struct sql_counts){ fn, arg } },
        why);
}

struct sql_tables {
    struct prosody_sql *sql;
    prosody_sql_table_fn *fn;
    void *arg;
    struct why *why;
    slice name;
    enum err e;
};

static bool sql_table_count(void *arg, const slice *column)
{
    const struct sql_tables *t = arg;
    t->fn(t->arg, t->name, sql_number(column[0]));
    return true;
}

static bool sql_table_row(void *arg, const slice *column)
{
    struct sql_tables *t = arg;
    struct arena *tmp = arena_create(0);
    t->name = column[0];
    const char *query = arena_printf(tmp, "SELECT count(*) FROM %.*s", SLICE_ARG(column[1]));
    t->e = sqlite_file_rows(t->sql->file,
                            &(struct sqlite_query){ .sql = query, .fn = sql_table_count, .arg = t },
                            t->why);
    arena_destroy(&tmp);
    return t->e == OK;
}

enum err prosody_sql_tables(struct prosody_sql *sql, prosody_sql_table_fn *fn, void *arg,
                            struct why *why)
{
    struct sql_tables t = { .sql = sql, .fn = fn, .arg = arg, .why = why };
    enum err e = sqlite_file_rows(
        sql->file,
        &(struct sqlite_query){
            .sql =
                "SELECT name, printf('\"%w\"', name) FROM sqlite_schema WHERE type = 'table' AND "
                "name NOT IN ('prosody', 'prosodyarchive') AND name NOT LIKE 'sqlite_%'",
            .fn = sql_table_row,
            .arg = &t },
        why);
    return t.e != OK ? t.e : e;
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

static enum err sql_rows(struct sql_reading *r, const char *query, sqlite_file_row_fn *fn)
{
    const slice param[] = { r->store->host, r->store->user, r->store->store };
    enum err e =
        sqlite_file_rows(r->sql->file, &(struct sqlite_query){ query, param, 3, fn, r }, r->why);
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
