#include "base/alarm.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/store_sqlite.h"

enum {
    PASSES_MAX = 4,    /* of copying, until little is left for the writer */
    REST_PAGES = 256,  /* which is little */
    OPS_A_LOOK = 10000 /* of SQLite's machine, between two looks at the clock */
};

void sqlite_keeper_ask(struct sqlite_keeper *k)
{
    pthread_mutex_lock(&k->lock);
    k->wanted = true;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->lock);
}

static bool wait_for_work(struct sqlite_keeper *k)
{
    pthread_mutex_lock(&k->lock);
    while (!k->wanted && !atomic_load(&k->stop))
        pthread_cond_wait(&k->wake, &k->lock);
    k->wanted = false;
    pthread_mutex_unlock(&k->lock);
    return !atomic_load(&k->stop);
}

static void checkpoint(struct sqlite_keeper *k)
{
    int copied_before = 0;
    for (int pass = 0; pass < PASSES_MAX; pass++) {
        int pages = 0, copied = 0;
        int rc =
            sqlite3_wal_checkpoint_v2(k->conn.db, NULL, SQLITE_CHECKPOINT_PASSIVE, &pages, &copied);
        if (rc != SQLITE_OK && rc != SQLITE_BUSY) {
            atomic_store(&k->failed,
                         true); /* before the alarm: commits that work do not clear it */
            sqlite_failed(&k->conn, sqlite_note_fault(&k->conn, rc));
            return;
        }
        if (copied - copied_before < REST_PAGES)
            break;
        copied_before = copied;
    }
    metric_add(&store_checkpoints, 1);
    atomic_store(&k->failed, false);
    atomic_store(&k->done, true);
}

struct check_limit {
    const atomic_bool *stop;
    uint64_t until_us;
};

static int is_over(void *arg)
{
    const struct check_limit *limit = arg;
    return atomic_load(limit->stop) || clock_mono_us() > limit->until_us;
}

enum err sqlite_check(struct sqlite_conn *c, const atomic_bool *stop, uint32_t limit_ms,
                      struct why *why)
{
    struct check_limit limit = { stop, clock_mono_us() + limit_ms * UINT64_C(1000) };
    enum err e = OK;
    sqlite3_stmt *st = NULL;
    sqlite3_progress_handler(c->db, OPS_A_LOOK, is_over, &limit);
    int rc = sqlite_prepare(c, "PRAGMA quick_check(1)", &st);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    const char *found = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : NULL;
    if (found != NULL && strcmp(found, "ok") != 0)
        e = E_CORRUPT;
    else if (found == NULL && rc != SQLITE_INTERRUPT)
        e = E_CORRUPT;
    if (e != OK)
        why_set(why,
                "database %s is damaged: %s; restore a backup, or recover what can be read: "
                "sqlite3 %s .recover",
                c->owner->path, found != NULL ? found : sqlite3_errmsg(c->db), c->owner->path);
    sqlite3_finalize(st);
    sqlite3_progress_handler(c->db, 0, NULL, NULL);
    log_info(&log_store, LOG_EV("store.checked"),
             LOG_C("result", rc == SQLITE_INTERRUPT ? "given up"
                             : e == OK              ? "ok"
                                                    : "damaged"));
    return e;
}

static void check(struct sqlite_keeper *k)
{
    struct why why;
    if (sqlite_check(&k->conn, &k->stop, SQLITE_CHECK_MS_MAX, &why) == OK)
        return;
    atomic_store(&k->conn.owner->corrupt, true);
    alarm_raise(&store_down_alarm, slice_of(why.text));
}

void *sqlite_keeper_main(void *db)
{
    struct sqlite_keeper *k = &((struct sqlite_db *)db)->keeper;
    if (k->check)
        check(k);
    while (wait_for_work(k))
        checkpoint(k);
    return NULL;
}

void sqlite_keeper_stop(struct sqlite_keeper *k)
{
    pthread_mutex_lock(&k->lock);
    atomic_store(&k->stop, true);
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->lock);
    pthread_join(k->thread, NULL);
}
