/* store_fixture: what the tests and the bench of store share: a small schema with a log, late rows
 * and a table of notes, and files under a directory of their own. */
#pragma once
#include "base/ensure.h"
#include "base/log.h"
#include "store/store.h"
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct store_migration fix_migrations[] = {
    { 1,
      "CREATE TABLE note(owner INTEGER, name TEXT, value TEXT, PRIMARY KEY(owner, name))"
      " WITHOUT ROWID;"
      "CREATE TABLE message(id INTEGER PRIMARY KEY AUTOINCREMENT, sender INTEGER NOT NULL,"
      " rcpt INTEGER NOT NULL, stamp INTEGER NOT NULL, body TEXT NOT NULL)",
      NULL },
    { 2,
      "CREATE TABLE entry(owner INTEGER NOT NULL, id INTEGER NOT NULL, peer INTEGER NOT NULL,"
      " msg INTEGER NOT NULL, flags INTEGER NOT NULL, PRIMARY KEY(owner, id)) WITHOUT ROWID;"
      "CREATE INDEX entry_peer ON entry(owner, peer, id)",
      NULL },
    { 0 },
};

static struct store_stmt note_put = {
    .name = "note.put",
    .sql = "INSERT INTO note(owner, name, value) VALUES($1, $2, $3)"
           " ON CONFLICT(owner, name) DO UPDATE SET value = excluded.value",
    .params = "itT",
    .cols = "",
};
static struct store_stmt note_new = {
    .name = "note.new",
    .sql = "INSERT INTO note(name, owner, value) VALUES($2, $1, $3)",
    .params = "itT",
    .cols = "",
};
static struct store_stmt note_append = {
    .name = "note.append",
    .sql = "UPDATE note SET value = value || $2 WHERE owner = $1",
    .params = "it",
    .cols = "",
};
static struct store_stmt note_take = {
    .name = "note.take",
    .sql = "DELETE FROM note WHERE owner = $1 RETURNING name, value",
    .params = "i",
    .cols = "tT",
};
static struct store_stmt note_list = {
    .name = "note.list",
    .sql = "SELECT name, value, length(value) FROM note WHERE owner = $1 ORDER BY name",
    .params = "i",
    .cols = "tTI",
};
static struct store_stmt note_slow = {
    .name = "note.slow",
    .sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < $1)"
           " SELECT count(*) FROM n",
    .params = "i",
    .cols = "i",
};
static struct store_stmt message_put = {
    .name = "message.put",
    .sql = "INSERT INTO message(sender, rcpt, stamp, body) VALUES($1, $2, $3, $4)",
    .params = "iiit",
    .cols = "",
};
static struct store_stmt message_count = {
    .name = "message.count",
    .sql = "SELECT count(*), max(id) FROM message",
    .params = "",
    .cols = "iI",
};
static struct store_stmt entry_put = {
    .name = "entry.put",
    .sql = "INSERT INTO entry(owner, id, peer, msg, flags) VALUES($1, $2, $3, $4, $5)"
           " ON CONFLICT DO NOTHING",
    .params = "iiiii",
    .cols = "",
};
static struct store_stmt entry_list = {
    .name = "entry.list",
    .sql = "SELECT e.id, m.id, m.body FROM entry e JOIN message m ON m.id = e.msg"
           " WHERE e.owner = $1 ORDER BY e.id LIMIT 50",
    .params = "i",
    .cols = "iit",
};
static struct store_stmt entry_delete = {
    .name = "entry.delete",
    .sql = "DELETE FROM entry WHERE owner = $1",
    .params = "i",
    .cols = "",
};
static struct store_stmt entry_count = {
    .name = "entry.count",
    .sql = "SELECT count(*), (SELECT position FROM reader WHERE name = 'entry') FROM entry",
    .params = "",
    .cols = "iI",
};
static struct store_stmt *const fix_stmts[] = {
    &note_put,      &note_new,  &note_append, &note_take,   &note_list,    &note_slow, &message_put,
    &message_count, &entry_put, &entry_list,  &entry_count, &entry_delete, NULL,
};

/* The id of both entries is the message's stamp. */
static struct store_late fix_late = {
    .name = "entry",
    .insert = &entry_put,
    .rebuild = "SELECT id, sender, stamp, rcpt, id, 1 FROM message WHERE id > $1 UNION ALL"
               " SELECT id, rcpt, stamp, sender, id, 0 FROM message WHERE id > $1 ORDER BY 1",
    .run_rows = 64,
};
static const struct store_schema fix_schema = { "fix", fix_migrations, fix_stmts, &fix_late };
static const struct store_schema *const fix_schemas[] = { &fix_schema, NULL };

static char fix_dir[64], fix_path[96], fix_url[128];

static inline void fix_begin(void)
{
    snprintf(fix_dir, sizeof fix_dir, "/tmp/muster-store-XXXXXX");
    ensure(mkdtemp(fix_dir) != NULL);
    log_set_level(&log_store, LOG_ERROR);
    snprintf(fix_path, sizeof fix_path, "%s/t.db", fix_dir);
    snprintf(fix_url, sizeof fix_url, "sqlite:%s", fix_path);
}

static inline void fix_end(void)
{
    static const char *const suffixes[] = { "", "-wal", "-shm" };
    char path[128];
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", fix_path, suffixes[i]);
        unlink(path);
    }
    ensure(rmdir(fix_dir) == 0);
}

static inline enum err fix_open(struct store **out, struct why *why)
{
    struct store_conf conf = { .url = fix_url, .schemas = fix_schemas };
    return store_open(out, &conf, why);
}

static inline struct store *fix_store(void)
{
    struct store *store;
    struct why why = { "" };
    if (fix_open(&store, &why) != OK) {
        fprintf(stderr, "%s\n", why.text);
        abort();
    }
    return store;
}

/* A message of 2 late rows. */
/* The first value that a query gives, asked beside the store. */
static inline int64_t fix_int(const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *st;
    ensure(sqlite3_open(fix_path, &db) == SQLITE_OK);
    ensure(sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK);
    ensure(sqlite3_step(st) == SQLITE_ROW);
    int64_t num = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return num;
}

static inline struct store_batch *fix_message(struct store *store, int64_t sender, int64_t rcpt,
                                              int64_t stamp, slice body)
{
    struct store_batch *b = store_write(store, (uint64_t)rcpt);
    STORE_ADD(b, &message_put, 1, SV_I(sender), SV_I(rcpt), SV_I(stamp), SV_T(body));
    STORE_ADD_LATE(b, SV_I(sender), SV_I(stamp), SV_I(rcpt), SV_LAST, SV_I(1));
    STORE_ADD_LATE(b, SV_I(rcpt), SV_I(stamp), SV_I(sender), SV_LAST, SV_I(0));
    return b;
}
