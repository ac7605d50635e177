/* The integrity check after an unclean end: at once for a small file, else in the background, table
 * by table, until all of it has been read. A running statement prevents the WAL from starting over.
 * So it is canceled when too much is written meanwhile, and its table is checked again later. */
#include "base/alarm.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/store_sqlite.h"
#include <unistd.h>

enum {
    LOOK_READS = 512,         /* between two looks at the clock */
    REPORT_US = 10 * 1000000, /* between two lines in the log */
    WAL_PAGES_MAX = 65536,    /* 512 MiB: then a table waits for quieter times */
    TRIES_MAX = 20,           /* of one table */
    RETRY_US = 30 * 1000000,
    NAP_MS = 100
};

static bool sqlite_check_is_over(const struct sqlite_checker *c) { return atomic_load(&c->stop); }

/* With each page that the check has read, on its thread. */
static void sqlite_check_on_read(void *arg)
{
    struct sqlite_checker *c = arg;
    c->reads++;
    if (c->reads % LOOK_READS != 0)
        return;
    uint64_t now_us = clock_mono_us(), percent = c->reads * 100 / (c->pages + 1);
    atomic_store(&c->percent, percent > 99 ? 99 : (int)percent);
    if (sqlite_check_is_over(c) || atomic_load(&c->conn.owner->writer.wal_pages) > WAL_PAGES_MAX)
        sqlite3_interrupt(c->conn.db);
    if (now_us < c->report_us)
        return;
    c->report_us = now_us + REPORT_US;
    log_info(&log_store, LOG_EV("store.checking"), LOG_I("percent", atomic_load(&c->percent)));
}

static enum err sqlite_check_damaged(const struct sqlite_conn *c, const char *found,
                                     struct why *why)
{
    why_set(why,
            "database %s is damaged: %s; restore a backup, or recover what can be read: sqlite3 %s "
            ".recover",
            c->owner->path, found, c->owner->path);
    return E_CORRUPT;
}

/* E_AGAIN: interrupted. */
static enum err sqlite_check_run_check(struct sqlite_conn *c, const char *sql, struct why *why)
{
    sqlite3_stmt *st = NULL;
    enum err e = OK;
    int rc = sqlite_prepare(c, sql, &st);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    const char *found = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : NULL;
    if ((rc & 0xff) == SQLITE_INTERRUPT)
        e = E_AGAIN;
    else if (found == NULL)
        e = sqlite_check_damaged(c, sqlite3_errmsg(c->db), why);
    else if (strcmp(found, "ok") != 0)
        e = sqlite_check_damaged(c, found, why);
    sqlite3_finalize(st);
    return e;
}

enum err sqlite_check(struct sqlite_conn *c, struct why *why)
{
    enum err e = sqlite_check_run_check(c, "PRAGMA quick_check(1)", why);
    log_info(&log_store, LOG_EV("store.checked"), LOG_C("result", e == OK ? "ok" : "damaged"));
    return e;
}

static void nap(const struct sqlite_checker *c, uint64_t us)
{
    uint64_t until_us = clock_mono_us() + us;
    while (!sqlite_check_is_over(c) && clock_mono_us() < until_us)
        usleep(NAP_MS * 1000);
}

static enum err check_table(struct sqlite_checker *c, const char *table, struct why *why)
{
    enum err e = E_AGAIN;
    char *sql = sqlite3_mprintf("PRAGMA quick_check(%Q)", table);
    uint64_t reads = c->reads;
    for (int i = 0; e == E_AGAIN && i < TRIES_MAX && !sqlite_check_is_over(c); i++) {
        if (i > 0) {
            log_info(&log_store, LOG_EV("store.check-waits"), LOG_C("table", table));
            nap(c, RETRY_US);
        }
        c->reads = reads;
        e = sqlite_check_run_check(&c->conn, sql, why);
    }
    sqlite3_free(sql);
    return e;
}

/* E_AGAIN: not all of it was checked. */
static enum err check_tables(struct sqlite_checker *c, struct why *why)
{
    char **tables = NULL;
    int rows = 0;
    enum err e = OK;
    int rc = sqlite3_get_table(c->conn.db,
                               "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > "
                               "0 UNION ALL SELECT 'sqlite_schema'",
                               &tables, &rows, NULL, NULL);
    if (rc != SQLITE_OK)
        e = sqlite_check_damaged(&c->conn, sqlite3_errmsg(c->conn.db), why);
    for (int i = 1; (e == OK || e == E_AGAIN) && i <= rows && !sqlite_check_is_over(c); i++) {
        enum err one = check_table(c, tables[i], why);
        e = one != OK ? one : e;
    }
    sqlite3_free_table(tables);
    return sqlite_check_is_over(c) && e == OK ? E_AGAIN : e;
}

static void count_pages(struct sqlite_checker *c)
{
    sqlite3_stmt *st = NULL;
    if (sqlite_prepare(&c->conn, "PRAGMA page_count", &st) == SQLITE_OK &&
        sqlite3_step(st) == SQLITE_ROW)
        c->pages = (uint64_t)sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
}

void *sqlite_checker_main(void *db)
{
    struct sqlite_checker *c = &((struct sqlite_db *)db)->checker;
    struct why why;
    c->report_us = clock_mono_us() + REPORT_US;
    count_pages(c);
    sqlite_vfs_watch(sqlite_check_on_read, c);
    enum err e = check_tables(c, &why);
    sqlite_vfs_watch(NULL, NULL);
    if (e == E_CORRUPT) {
        atomic_store(&c->conn.owner->corrupt, true);
        alarm_raise(&store_down_alarm, slice_of(why.text));
    }
    atomic_store(&c->whole, e == OK);
    atomic_store(&c->percent, -1);
    log_info(&log_store, LOG_EV("store.checked"),
             LOG_C("result", e == OK        ? "ok"
                             : e == E_AGAIN ? "not all: the next start goes on"
                                            : "damaged"));
    return NULL;
}

bool sqlite_checker_stop(struct sqlite_checker *c)
{
    if (!c->wanted)
        return true;
    atomic_store(&c->stop, true);
    pthread_join(c->thread, NULL);
    return atomic_load(&c->whole);
}
