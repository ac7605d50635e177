#include "store/store_sqlite.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/migrate.h"
#include "store/sqlite_index.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { SHM_BYTES = 32 * 1024 }; /* SQLite's step of the file of shared memory */

static const struct store_migration own_migrations[] = {
    { 1,
      "CREATE TABLE reader(name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;"
      "CREATE TABLE store_state(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
      "INSERT INTO store_state VALUES('clean', 1), ('checked', 0)",
      NULL },
    { 0 },
};
static const struct store_schema own_schema = { .feature = "store", .migrations = own_migrations };

static void configure_once(void)
{
    sqlite3_config(SQLITE_CONFIG_MULTITHREAD);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); /* one lock less for each allocation */
    sqlite3_initialize();
    sqlite_vfs_register();
}

void sqlite_configure(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, configure_once);
}

/* SQLite reports an I/O error if there is no space for the file of shared memory. */
static bool store_sqlite_is_full(const struct sqlite_db *db, int rc)
{
    struct statvfs fs;
    return (rc & 0xff) == SQLITE_IOERR && statvfs(db->path, &fs) == 0 &&
           fs.f_bavail * fs.f_frsize < SHM_BYTES;
}

enum err store_sqlite_explain(const struct sqlite_db *db, int rc, struct why *why)
{
    const struct sqlite_conn *c = &db->writer.conn;
    const char *found = c->db == NULL                         ? sqlite3_errstr(rc)
                        : sqlite3_errcode(c->db) == SQLITE_OK ? c->fault_text /* rolled back */
                                                              : sqlite3_errmsg(c->db);
    switch (store_sqlite_is_full(db, rc) ? SQLITE_FULL : rc & 0xff) {
    case SQLITE_NOTADB:
        why_set(why,
                "%s is not a database (its header is another): give the right path, or move "
                "the file away to begin with an empty database",
                db->path);
        return E_CORRUPT;
    case SQLITE_CORRUPT:
        why_set(why, "database %s is damaged: %s; restore a backup", db->path, found);
        return E_CORRUPT;
    case SQLITE_FULL:
        why_set(why, "database %s: %s; free space on its file system", db->path, found);
        return E_FULL;
    case SQLITE_BUSY:
        why_set(why, "database %s is locked by another program: end it", db->path);
        return E_EXISTS;
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
        why_set(why,
                "database %s cannot be written: %s; musterd needs to write to the file and to "
                "its directory",
                db->path, found);
        return E_IO;
    default:
        why_set(why, "database %s: %s (%d)", db->path, found, rc);
        return E_IO;
    }
}

/* Also keeps other servers away: two would give the same ids, and each has late rows of its own. */
static enum err store_sqlite_open_file(struct sqlite_db *db, struct why *why)
{
    db->file = open(db->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (db->file < 0) {
        why_set(why,
                "database %s cannot be opened for writing: %s; the directory must exist and "
                "belong to the user of musterd",
                db->path, strerror(errno));
        return E_IO;
    }
    if (flock(db->file, LOCK_EX | LOCK_NB) == 0)
        return OK;
    why_set(why, "database %s is used by another process: only one musterd can have it", db->path);
    return E_EXISTS;
}

int sqlite_get_int(struct sqlite_conn *c, const char *sql, const char *text, int64_t *out)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite_prepare(c, sql, &st);
    if (rc == SQLITE_OK && text != NULL)
        rc = sqlite3_bind_text(st, 1, text, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        *out = sqlite3_column_int64(st, 0);
    int end = sqlite3_finalize(st);
    return rc != SQLITE_OK ? rc : end;
}

static int set_clean(struct sqlite_conn *c, int clean)
{
    return sqlite3_exec(c->db,
                        clean ? "UPDATE store_state SET value = 1 WHERE name = 'clean'"
                              : "UPDATE store_state SET value = 0 WHERE name = 'clean'",
                        NULL, NULL, NULL);
}

static enum err store_sqlite_version(void *arg, const char *feature, uint32_t *out, struct why *why)
{
    struct sqlite_db *db = arg;
    int64_t found = 0;
    int rc = sqlite_get_int(&db->writer.conn, "SELECT version FROM schema WHERE feature = $1",
                            feature, &found);
    *out = (uint32_t)found;
    return rc == SQLITE_OK ? OK : store_sqlite_explain(db, rc, why);
}

static int store_sqlite_record(struct sqlite_conn *c, const char *feature, uint32_t number)
{
    sqlite3_stmt *st = NULL;
    int rc =
        sqlite_prepare(c,
                       "INSERT INTO schema(feature, version) VALUES($1, $2) ON CONFLICT(feature)"
                       " DO UPDATE SET version = excluded.version",
                       &st);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_bind_text(st, 1, feature, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 2, number);
    sqlite3_step(st);
    return sqlite3_finalize(st);
}

static enum err store_sqlite_apply(void *arg, const char *feature, const struct store_migration *m,
                                   struct why *why)
{
    struct sqlite_db *db = arg;
    struct sqlite_conn *c = &db->writer.conn;
    int rc = sqlite3_exec(c->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc == SQLITE_OK && m->sqlite != NULL)
        rc = sqlite3_exec(c->db, m->sqlite, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = store_sqlite_record(c, feature, m->version);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(c->db, "COMMIT", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        return OK;
    enum err e = store_sqlite_explain(db, rc, why);
    if ((rc & 0xff) == SQLITE_ERROR) {
        why_set(why, "database %s: migration %u of feature %s: %s; nothing of it was kept",
                db->path, m->version, feature, sqlite3_errmsg(c->db));
        e = E_SYNTAX;
    }
    if (!sqlite3_get_autocommit(c->db))
        sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
    return e;
}

/* Another program's database is left alone; an empty one becomes ours. */
static enum err store_sqlite_claim(struct sqlite_db *db, struct why *why)
{
    struct sqlite_conn *c = &db->writer.conn;
    int64_t id = 0, tables = 0;
    char sql[160];
    int rc = sqlite_get_int(c, "PRAGMA application_id", NULL, &id);
    if (rc == SQLITE_OK)
        rc = sqlite_get_int(c, "SELECT count(*) FROM sqlite_schema", NULL, &tables);
    if (rc == SQLITE_OK && id != SQLITE_APPLICATION_ID && (tables > 0 || id != 0)) {
        why_set(why, "%s is the database of another program: give the right path", db->path);
        return E_UNSUPPORTED;
    }
    snprintf(sql, sizeof sql,
             "PRAGMA application_id=%d;CREATE TABLE IF NOT EXISTS schema("
             "feature TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID",
             SQLITE_APPLICATION_ID);
    if (rc == SQLITE_OK && tables == 0)
        rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? OK : store_sqlite_explain(db, rc, why);
}

static enum err check_after_crash(struct sqlite_db *db, struct why *why)
{
    struct stat st;
    int64_t has_state = 0, clean = 1;
    struct sqlite_conn *c = &db->writer.conn;
    int rc = sqlite_get_int(c, "SELECT count(*) FROM sqlite_schema WHERE name = $1", "store_state",
                            &has_state);
    if (rc == SQLITE_OK && has_state)
        rc = sqlite_get_int(c, "SELECT value FROM store_state WHERE name = $1", "clean", &clean);
    if (rc != SQLITE_OK)
        return store_sqlite_explain(db, rc, why);
    if (clean)
        return OK;
    if (fstat(db->file, &st) == 0 && st.st_size <= SQLITE_CHECK_BYTES_MAX)
        return sqlite_check(c, why);
    db->checker.wanted = true;
    return OK;
}

static enum err migrate(struct sqlite_db *db, const struct store_conf *conf, struct why *why)
{
    static const struct migrate_ops ops = { store_sqlite_version, store_sqlite_apply };
    const struct store_schema *own[] = { &own_schema, NULL };
    enum err e = migrate_run(&ops, db, db->path, own, why);
    return e == OK ? migrate_run(&ops, db, db->path, conf->schemas, why) : e;
}

static int prepare_threads(struct sqlite_db *db, unsigned readers)
{
    int rc = sqlite_writer_open(&db->writer);
    if (rc == SQLITE_OK)
        rc = sqlite_late_open(db);
    if (rc == SQLITE_OK)
        rc = sqlite_late_rebuild(db);
    if (rc == SQLITE_OK)
        rc = sqlite_conn_open(&db->keeper.conn, db, SQLITE_KEEPS);
    if (rc == SQLITE_OK && db->checker.wanted)
        rc = sqlite_conn_open(&db->checker.conn, db, SQLITE_KEEPS);
    db->readers = mem_zalloc((readers + 1) * sizeof *db->readers);
    while (rc == SQLITE_OK && db->reader_count < readers) {
        struct sqlite_reader *r = &db->readers[db->reader_count++];
        r->takes = READ_SHORT;
        rc = sqlite_conn_open(&r->conn, db, SQLITE_READS);
    }
    /* opens when there is a long read: many servers never have one */
    db->readers[db->reader_count++] =
        (struct sqlite_reader){ .takes = READ_LONG, .conn.owner = db };
    return rc == SQLITE_OK ? set_clean(&db->writer.conn, 0) : rc;
}

static void store_sqlite_start_threads(struct sqlite_db *db)
{
    group_init(&db->writer.in);
    read_queue_init(&db->reads);
    pthread_mutex_init(&db->keeper.lock, NULL);
    pthread_cond_init(&db->keeper.wake, NULL);
    store_thread_start(&db->writer.thread, "store-write", SQLITE_STACK_BYTES, sqlite_writer_main,
                       db);
    store_thread_start(&db->keeper.thread, "store-keep", SQLITE_STACK_BYTES, sqlite_keeper_main,
                       db);
    for (unsigned i = 0; i < db->reader_count; i++)
        store_thread_start(&db->readers[i].thread, "store-read", SQLITE_STACK_BYTES,
                           sqlite_reader_main, &db->readers[i]);
    atomic_store(&db->checker.percent, db->checker.wanted ? 0 : -1);
    if (db->checker.wanted)
        store_thread_start(&db->checker.thread, "store-check", SQLITE_STACK_BYTES,
                           sqlite_checker_main, db);
    db->threads = true;
}

static void store_sqlite_stop_threads(struct sqlite_db *db)
{
    struct sqlite_writer *w = &db->writer;
    bool checked = sqlite_checker_stop(&db->checker);
    sqlite_writer_stop(w); /* first: it hands reads on */
    sqlite_writer_hurry(w);
    sqlite_reads_stop(db);
    sqlite_keeper_stop(&db->keeper);
    int rc = atomic_load(&db->corrupt) ? SQLITE_CORRUPT : sqlite_writer_flush(w);
    if (rc == SQLITE_OK && checked) /* else the next start checks it again */
        rc = set_clean(&w->conn, 1);
    if (rc != SQLITE_OK)
        log_error(&log_store, LOG_EV("store.unclean-end"), LOG_C("path", db->path),
                  LOG_C("text", sqlite3_errstr(rc)),
                  LOG_C("hint", "the database was not closed cleanly; the next start checks it"));
    group_fini(&w->in);
    read_queue_fini(&db->reads);
    pthread_cond_destroy(&db->keeper.wake);
    pthread_mutex_destroy(&db->keeper.lock);
}

static void sqlite_close(struct store *store)
{
    struct sqlite_db *db = store->db;
    if (db->threads)
        store_sqlite_stop_threads(db);
    for (unsigned i = 0; i < db->reader_count; i++)
        sqlite_conn_close(&db->readers[i].conn);
    sqlite_conn_close(&db->keeper.conn);
    sqlite_conn_close(&db->checker.conn);
    if (db->threads) /* the last connection: checkpoints and removes the WAL */
        sqlite3_wal_checkpoint_v2(db->writer.conn.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite_writer_close(&db->writer);
    if (db->file >= 0)
        close(db->file); /* after SQLite's own: closing would take its locks away */
    mem_free(&db->readers);
    mem_free(&db->info);
    mem_free(&db->path);
    mem_free(&db);
    store->db = NULL;
}

static enum err sqlite_open_db(struct sqlite_db *db, const struct store_conf *conf, struct why *why)
{
    unsigned readers = conf->readers > 0 ? conf->readers : 1;
    enum err e = store_sqlite_open_file(db, why);
    if (e != OK)
        return e;
    int rc = sqlite_conn_open(&db->writer.conn, db, SQLITE_WRITES);
    if (rc != SQLITE_OK)
        return store_sqlite_explain(db, rc, why);
    e = store_sqlite_claim(db, why);
    if (e == OK)
        e = check_after_crash(db, why);
    if (e == OK)
        e = migrate(db, conf, why);
    if (e == OK && (rc = sqlite_index_look(&db->writer.conn)) != SQLITE_OK)
        e = store_sqlite_explain(db, rc, why);
    if (e == OK)
        e = sqlite_learn(db, why);
    if (e != OK)
        return e;
    rc = prepare_threads(db, readers < SQLITE_READERS_MAX ? readers : SQLITE_READERS_MAX);
    return rc == SQLITE_OK ? OK : store_sqlite_explain(db, rc, why);
}

static enum err sqlite_open(struct store *store, const struct store_conf *conf, struct why *why)
{
    sqlite_configure();
    slice scheme, path;
    slice_cut(slice_of(conf->url), ':', &scheme, &path);
    struct sqlite_db *db = mem_new(struct sqlite_db);
    store->db = db;
    db->store = store;
    db->file = -1;
    db->path = memcpy(mem_zalloc(path.len + 1), path.ptr, path.len);
    db->info = mem_zalloc((store->stmt_count + 1) * sizeof *db->info);
    enum err e = sqlite_open_db(db, conf, why);
    if (e == OK)
        store_sqlite_start_threads(db);
    else
        sqlite_close(store);
    return e;
}

/* A read goes straight to the readers if nothing can be in front of it. */
static void sqlite_submit(struct store *store, struct store_batch *b)
{
    struct sqlite_db *db = store->db;
    if (b->kind == BATCH_READ && !b->reads_late &&
        (b->lane == 0 || atomic_load(&db->writer.in.queued) == 0))
        store_finish(store, read_queue_put(&db->reads, b));
    else
        group_submit(&db->writer.in, b);
}

static void sqlite_info(const struct store *store, struct store_info *out)
{
    const struct sqlite_db *db = store->db;
    snprintf(out->database, sizeof out->database, "sqlite:%s", db->path);
    out->check_percent = atomic_load(&db->checker.percent);
}

const struct store_driver store_sqlite = {
    .scheme = "sqlite",
    .open = sqlite_open,
    .submit = sqlite_submit,
    .close = sqlite_close,
    .info = sqlite_info,
    .backup = sqlite_backup,
};
