#include "store/store_sqlite.h"
#include <time.h>

enum {
    PASSES_MAX = 4,  /* of copying, until little is left for the writer */
    REST_PAGES = 256 /* which is little */
};

void sqlite_keeper_ask(struct sqlite_keeper *k)
{
    pthread_mutex_lock(&k->lock);
    k->wanted = true;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->lock);
}

static bool sqlite_keep_wait_for_work(struct sqlite_keeper *k)
{
    pthread_mutex_lock(&k->lock);
    while (!k->wanted && !atomic_load(&k->stop) && !atomic_load(&k->failed))
        pthread_cond_wait(&k->wake, &k->lock);
    if (!k->wanted && !atomic_load(&k->stop)) { /* the last one failed: it is tried again */
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += SQLITE_RETRY_MS / 1000;
        pthread_cond_timedwait(&k->wake, &k->lock, &until);
    }
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
    atomic_store(&k->done, true);
    if (atomic_exchange(&k->failed, false))
        sqlite_worked(k->conn.owner);
}

void *sqlite_keeper_main(void *db)
{
    struct sqlite_keeper *k = &((struct sqlite_db *)db)->keeper;
    while (sqlite_keep_wait_for_work(k))
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
