/* Copies the database while it is in use, and checks copies. The copy is made within one read
 * transaction: writers go on, and the WAL grows by what they write meanwhile. */
#include "base/durable.h"
#include "store/store_sqlite.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STEP_PAGES = 512, LOOK_READS = 512, LOOK_TRIES = 3 };

/* A step of a copy tells its error by `rc` alone. */
static enum err sqlite_backup_failed(sqlite3 *db, int rc, const char *path, struct why *why)
{
    bool told = db != NULL && sqlite3_errcode(db) == (rc & 0xff);
    why_set(why, "%s: %s", path, told ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return E_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return E_CORRUPT;
    case SQLITE_INTERRUPT:
        return E_CANCELED;
    default:
        return E_IO;
    }
}

/* The first value of a query, as text of the caller's; "" if there is none. */
static int sqlite_backup_get_text(sqlite3 *db, const char *sql, const char *arg, char *out,
                                  size_t cap)
{
    sqlite3_stmt *st = NULL;
    out[0] = '\0';
    int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
    if (rc == SQLITE_OK && arg != NULL)
        rc = sqlite3_bind_text(st, 1, arg, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        snprintf(out, cap, "%s", (const char *)sqlite3_column_text(st, 0));
    int end = sqlite3_finalize(st);
    return rc != SQLITE_OK ? rc : end;
}

/* Between two reads of a check: whether it may go on. */
struct look {
    sqlite3 *db;
    const struct store_watch *watch;
    uint32_t reads;
};

static void sqlite_backup_on_read(void *arg)
{
    struct look *l = arg;
    if (++l->reads % LOOK_READS == 0 && !l->watch->go_on(l->watch->arg, 100))
        sqlite3_interrupt(l->db);
}

static enum err sqlite_backup_check(sqlite3 *db, const char *path, const struct store_watch *watch,
                                    struct why *why)
{
    char found[160];
    struct look look = { db, watch, 0 };
    sqlite_vfs_watch(sqlite_backup_on_read, &look);
    int rc = sqlite_backup_get_text(db, "PRAGMA quick_check(1)", NULL, found, sizeof found);
    sqlite_vfs_watch(NULL, NULL);
    if (rc != SQLITE_OK)
        return sqlite_backup_failed(db, rc, path, why);
    if (strcmp(found, "ok") == 0)
        return OK;
    why_set(why, "%s is damaged: %s", path, found);
    return E_CORRUPT;
}

static enum err run_steps(sqlite3_backup *backup, const struct store_watch *watch, sqlite3 *to,
                          const char *path, struct why *why)
{
    int rc = SQLITE_OK;
    while (rc == SQLITE_OK) {
        int all = sqlite3_backup_pagecount(backup), left = sqlite3_backup_remaining(backup);
        if (!watch->go_on(watch->arg, all > 0 ? (int)((int64_t)(all - left) * 100 / all) : 0)) {
            why_set(why, "%s: given up", path);
            return E_CANCELED;
        }
        rc = sqlite3_backup_step(backup, STEP_PAGES);
    }
    return rc == SQLITE_DONE ? OK : sqlite_backup_failed(to, rc, path, why);
}

static enum err sqlite_backup_copy(sqlite3 *from, sqlite3 *to, const char *path,
                                   const struct store_watch *watch, struct why *why)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
    if (backup == NULL)
        return sqlite_backup_failed(to, SQLITE_ERROR, path, why);
    enum err e = run_steps(backup, watch, to, path, why);
    int rc = sqlite3_backup_finish(backup);
    if (e == OK && rc != SQLITE_OK)
        e = sqlite_backup_failed(to, rc, path, why);
    if (e == OK)
        e = sqlite_backup_check(to, path, watch, why);
    if (e != OK)
        return e;
    /* it is whole: a server that starts with it need not look again */
    rc =
        sqlite3_exec(to, "UPDATE store_state SET value = 1 WHERE name = 'clean'", NULL, NULL, NULL);
    return rc == SQLITE_OK ? OK : sqlite_backup_failed(to, rc, path, why);
}

/* The snapshot is of now; it lasts as long as the connection. */
static enum err open_both(const struct sqlite_db *db, const char *path, sqlite3 **from,
                          sqlite3 **to, struct why *why)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        why_set(why, "%s: %s", path, strerrordesc_np(errno));
        return durable_err(errno);
    }
    close(fd);
    int rc = sqlite3_open_v2(db->path, from, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                             SQLITE_VFS_NAME);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(*from,
                          "PRAGMA busy_timeout=2000;PRAGMA query_only=ON;PRAGMA cache_size=-256;"
                          "BEGIN;SELECT count(*) FROM sqlite_schema",
                          NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        return sqlite_backup_failed(*from, rc, db->path, why);
    rc = sqlite3_open_v2(path, to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, SQLITE_VFS_NAME);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(*to, "PRAGMA journal_mode=OFF;PRAGMA synchronous=OFF", NULL, NULL, NULL);
    return rc == SQLITE_OK ? OK : sqlite_backup_failed(*to, rc, path, why);
}

enum err sqlite_backup(struct store *store, const char *path, const struct store_watch *watch,
                       struct why *why)
{
    sqlite3 *from = NULL, *to = NULL;
    enum err e = open_both(store->db, path, &from, &to, why);
    if (e == E_EXISTS)
        return e;
    if (e == OK)
        e = sqlite_backup_copy(from, to, path, watch, why);
    sqlite3_close(to);
    sqlite3_close(from);
    if (e != OK)
        unlink(path);
    return e;
}

static enum err check_version(sqlite3 *db, const char *path, const struct store_schema *schema,
                              struct why *why)
{
    char found[32];
    uint32_t known = 0;
    int64_t version = 0;
    for (const struct store_migration *m = schema->migrations; m != NULL && m->version != 0; m++)
        known = m->version;
    int rc = sqlite_backup_get_text(db, "SELECT version FROM schema WHERE feature = $1",
                                    schema->feature, found, sizeof found);
    if (rc != SQLITE_OK)
        return sqlite_backup_failed(db, rc, path, why);
    if (found[0] == '\0' || (slice_int(slice_of(found), &version) && version <= known))
        return OK;
    why_set(why, "%s: feature %s has schema %s, this musterd knows up to %u: use a newer musterd",
            path, schema->feature, found, known);
    return E_UNSUPPORTED;
}

/* Reads a file that nobody writes, and leaves no files beside it. An SQLite result code. */
static int open_unchanged(const char *path, sqlite3 **db)
{
    enum { URI_BYTES_MAX = 3 * DURABLE_PATH_MAX + 64 };
    struct buf uri;
    buf_init(&uri, URI_BYTES_MAX);
    buf_lit(&uri, "file:");
    for (const char *c = path; *c != '\0'; c++)
        if (strchr("%?#", *c) != NULL)
            buf_printf(&uri, "%%%02X", (unsigned)*c);
        else
            buf_add(&uri, (slice){ c, 1 });
    buf_lit(&uri, "?immutable=1");
    buf_add(&uri, (slice){ "", 1 });
    int rc = uri.overflow
                 ? SQLITE_CANTOPEN
                 : sqlite3_open_v2(uri.ptr, db,
                                   SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI,
                                   SQLITE_VFS_NAME);
    buf_fini(&uri);
    return rc;
}

enum err store_verify(const char *path, const struct store_schema *const *schemas,
                      const struct store_watch *watch, struct why *why)
{
    sqlite_configure();
    sqlite3 *db = NULL;
    char found[32], ours[32];
    int rc = open_unchanged(path, &db);
    if (rc == SQLITE_OK)
        rc = sqlite_backup_get_text(db, "PRAGMA application_id", NULL, found, sizeof found);
    enum err e = rc == SQLITE_OK ? OK : sqlite_backup_failed(db, rc, path, why);
    snprintf(ours, sizeof ours, "%d", SQLITE_APPLICATION_ID);
    if (e == OK && strcmp(found, ours) != 0) {
        why_set(why, "%s is no database of Muster", path);
        e = E_UNSUPPORTED;
    }
    if (e == OK)
        e = sqlite_backup_check(db, path, watch, why);
    for (size_t i = 0; e == OK && schemas[i] != NULL; i++)
        e = check_version(db, path, schemas[i], why);
    sqlite3_close(db);
    return e;
}

/* Of a file that a server uses, or has left without closing it, the WAL is a part; it stays as it
 * is. */
static int open_with_wal(const char *path, sqlite3 **db)
{
    int rc = sqlite3_open_v2(path, db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, SQLITE_VFS_NAME);
    if (rc == SQLITE_OK)
        rc = sqlite3_db_config(*db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    return rc == SQLITE_OK ? sqlite3_exec(*db, "PRAGMA busy_timeout=2000;PRAGMA cache_size=-256",
                                          NULL, NULL, NULL)
                           : rc;
}

static bool has_wal(const char *path)
{
    struct stat st;
    char wal[DURABLE_PATH_MAX];
    return snprintf(wal, sizeof wal, "%s-wal", path) < (int)sizeof wal && stat(wal, &st) == 0 &&
           st.st_size > 0;
}

/* An empty one becomes ours. */
static enum err check_owner(sqlite3 *db, const char *path, struct why *why)
{
    char id[32], tables[32] = "";
    int64_t number = 0;
    int rc = sqlite_backup_get_text(db, "PRAGMA application_id", NULL, id, sizeof id);
    if (rc == SQLITE_OK)
        rc = sqlite_backup_get_text(db, "SELECT count(*) FROM sqlite_schema", NULL, tables,
                                    sizeof tables);
    if (rc != SQLITE_OK)
        return sqlite_backup_failed(db, rc, path, why);
    if ((slice_int(slice_of(id), &number) && number == SQLITE_APPLICATION_ID) ||
        (number == 0 && strcmp(tables, "0") == 0))
        return OK;
    why_set(why, "%s is the database of another program", path);
    return E_UNSUPPORTED;
}

static enum err look_once(const char *path, bool with_wal, const struct store_watch *watch,
                          struct why *why)
{
    sqlite3 *db = NULL;
    int rc = with_wal ? open_with_wal(path, &db) : open_unchanged(path, &db);
    enum err e =
        rc == SQLITE_OK ? check_owner(db, path, why) : sqlite_backup_failed(db, rc, path, why);
    if (e == OK)
        e = sqlite_backup_check(db, path, watch, why);
    sqlite3_close(db);
    return e;
}

static bool has_changed(const char *path, const struct stat *before)
{
    struct stat now;
    return stat(path, &now) != 0 || now.st_size != before->st_size ||
           now.st_mtim.tv_sec != before->st_mtim.tv_sec ||
           now.st_mtim.tv_nsec != before->st_mtim.tv_nsec || has_wal(path);
}

enum err store_look(const char *path, enum store_use use, const struct store_watch *watch,
                    struct why *why)
{
    sqlite_configure();
    for (unsigned i = 0; i < LOOK_TRIES; i++) {
        struct stat before = { .st_size = -1 };
        (void)stat(path, &before);
        bool with_wal = use == STORE_IN_USE || has_wal(path);
        enum err e = look_once(path, with_wal, watch, why);
        /* old and new pages together look like damage */
        if (e == OK || e == E_CANCELED || with_wal || !has_changed(path, &before))
            return e;
    }
    why_set(why, "%s is changed while it is read", path);
    return E_IO;
}

enum err store_file_rows(const char *path, const char *table, int64_t *out)
{
    sqlite3 *db = NULL;
    char found[32];
    sqlite_configure();
    char *sql = sqlite3_mprintf("SELECT count(*) FROM \"%w\"", table);
    int rc =
        sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, SQLITE_VFS_NAME);
    if (rc == SQLITE_OK)
        rc = sqlite_backup_get_text(db, sql, NULL, found, sizeof found);
    sqlite3_free(sql);
    sqlite3_close(db);
    return rc == SQLITE_OK && slice_int(slice_of(found), out) ? OK : E_IO;
}
