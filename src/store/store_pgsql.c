#include "store/store_pgsql.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include <stdlib.h>
#include <unistd.h>

enum { LOCK_PAUSE_US = 50000 };

static enum err store_pgsql_unreachable(const struct pg_conn *c, struct why *why)
{
    why_set(why,
            "database %s cannot be used: %s; start it, or correct `database` in the node file "
            "(a password can be in ~/.pgpass)",
            c->db->name, c->text);
    return E_IO;
}

static bool is_one_of(const char *text, const char *const *list)
{
    for (; *list != NULL; list++)
        if (strcmp(text, *list) == 0)
            return true;
    return false;
}

/* Texts are UTF-8, and compared and sorted by bytes, as the code that pages through them does. This
 * also keeps indexes right when the system's locales change. */
static enum err check_texts(struct pg_conn *c, struct why *why)
{
    static const char *const bytewise[] = { "C", "POSIX", "C.UTF-8", "C.utf8", NULL };
    PGresult *res = pg_ask(c,
                           "SELECT pg_encoding_to_char(encoding),"
                           " CASE WHEN to_jsonb(d) ->> 'datlocprovider' = 'i' THEN 'of ICU'"
                           " ELSE datcollate END" /* the column is there from version 15 on */
                           " FROM pg_database d WHERE datname = current_database()",
                           NULL);
    if (res == NULL || PQntuples(res) != 1) {
        PQclear(res);
        return store_pgsql_unreachable(c, why);
    }
    enum err e = OK;
    if (strcmp(PQgetvalue(res, 0, 0), "UTF8") != 0 || !is_one_of(PQgetvalue(res, 0, 1), bytewise)) {
        why_set(why,
                "database %s has encoding %s and collation %s, it needs UTF8 and C: make another "
                "with createdb -E UTF8 --locale=C -T template0 NAME",
                c->db->name, PQgetvalue(res, 0, 0), PQgetvalue(res, 0, 1));
        e = E_UNSUPPORTED;
    }
    PQclear(res);
    return e;
}

static enum err check_server(struct pg_conn *c, struct why *why)
{
    int version = PQserverVersion(c->pq);
    if (version < PG_VERSION_MIN) {
        why_set(why, "database %s: PostgreSQL %d is too old, it has to be %d or newer", c->db->name,
                version / 10000, PG_VERSION_MIN / 10000);
        return E_UNSUPPORTED;
    }
    PGresult *res = pg_ask(c, "SELECT current_setting('fsync')", NULL);
    if (res != NULL && strcmp(PQgetvalue(res, 0, 0), "on") != 0)
        log_warn(&log_store, LOG_EV("store.unsafe"),
                 LOG_C("text", "fsync is off in postgresql.conf: a crash of the machine may lose "
                               "what was acknowledged, or the database"));
    PQclear(res);
    return check_texts(c, why);
}

/* Of a node that has just died the server may not know yet. */
static enum err lock(struct pg_conn *c, struct why *why)
{
    uint64_t until_us = clock_mono_us() + PG_LOCK_WAIT_MS * UINT64_C(1000);
    c->until_us = until_us + PG_PATIENCE_US;
    enum pg_fault fault = pg_lock(c);
    while (fault == PG_BUSY && clock_mono_us() < until_us) {
        usleep(LOCK_PAUSE_US);
        c->until_us = clock_mono_us() + PG_PATIENCE_US;
        fault = pg_lock(c);
    }
    if (fault == PG_OK)
        return OK;
    if (fault != PG_BUSY)
        return store_pgsql_unreachable(c, why);
    why_set(why,
            "database %s is used by another process: only one musterd can have it; stop it, or "
            "give this one a database of its own",
            c->db->name);
    return E_EXISTS;
}

static enum err open_readers(struct pg_db *db, unsigned count, struct why *why)
{
    count = count == 0 ? PG_READERS : count < PG_READERS_MAX ? count : PG_READERS_MAX;
    db->readers = mem_zalloc(count * sizeof *db->readers);
    while (db->reader_count < count) {
        struct pg_conn *c = &db->readers[db->reader_count++].conn;
        pg_conn_init(c, db, PG_READS);
        if (!pg_connect(c))
            return store_pgsql_unreachable(c, why);
    }
    return OK;
}

static enum err open_db(struct pg_db *db, const struct store_conf *conf, struct why *why)
{
    struct pg_conn *c = &db->writer.conn;
    enum err e = pg_url_name(db->url, db->name, sizeof db->name, why);
    if (e != OK)
        return e;
    if (!pg_connect(c))
        return store_pgsql_unreachable(c, why);
    e = check_server(c, why);
    if (e == OK)
        e = lock(c, why);
    c->until_us = UINT64_MAX; /* migrations take as long as they take */
    if (e == OK)
        e = pg_migrate(db, conf, why);
    if (e == OK && (pg_ask_opened(c, "UPDATE opened SET times = times + 1 RETURNING times",
                                  &db->opened) != PG_OK ||
                    pg_ask_opened(c, "SELECT commits FROM opened", &db->writer.commits) != PG_OK))
        e = store_pgsql_unreachable(c, why);
    if (e == OK)
        e = pg_check_all(c, why);
    if (e == OK)
        e = pg_rebuild(db, why);
    return e == OK ? open_readers(db, conf->readers, why) : e;
}

static void store_pgsql_start_threads(struct pg_db *db)
{
    group_init(&db->writer.in);
    read_queue_init(&db->reads);
    store_thread_start(&db->writer.thread, "store-write", PG_STACK_BYTES, pg_writer_main,
                       &db->writer);
    for (unsigned i = 0; i < db->reader_count; i++)
        store_thread_start(&db->readers[i].thread, "store-read", PG_STACK_BYTES, pg_reader_main,
                           &db->readers[i]);
    db->threads = true;
}

static void store_pgsql_stop_threads(struct pg_db *db)
{
    group_stop(&db->writer.in); /* first: it hands reads on */
    pthread_join(db->writer.thread, NULL);
    read_queue_stop(&db->reads);
    for (unsigned i = 0; i < db->reader_count; i++)
        pthread_join(db->readers[i].thread, NULL);
    group_fini(&db->writer.in);
    read_queue_fini(&db->reads);
}

static void pgsql_close(struct store *store)
{
    struct pg_db *db = store->db;
    if (db->threads)
        store_pgsql_stop_threads(db);
    for (unsigned i = 0; i < db->reader_count; i++)
        pg_conn_fini(&db->readers[i].conn);
    pg_conn_fini(&db->writer.conn);
    mem_free(&db->readers);
    mem_wipe(db->url, strlen(db->url));
    mem_free(&db->url);
    mem_free(&db);
    store->db = NULL;
}

static enum err pgsql_open(struct store *store, const struct store_conf *conf, struct why *why)
{
    struct pg_db *db = mem_new(struct pg_db);
    size_t len = strlen(conf->url);
    store->db = db;
    db->store = store;
    db->url = memcpy(mem_zalloc(len + 1), conf->url, len);
    db->writer.late = store->late;
    pg_conn_init(&db->writer.conn, db, PG_WRITES);
    enum err e = open_db(db, conf, why);
    if (e == OK)
        store_pgsql_start_threads(db);
    else
        pgsql_close(store);
    return e;
}

/* A read goes straight to the readers if nothing can be in front of it. Whoever finds the database
 * down behind a submit takes back what the writer may not look at any more. */
static void pgsql_submit(struct store *store, struct store_batch *b)
{
    struct pg_db *db = store->db;
    if (atomic_load(&db->down)) {
        b->result = STORE_DOWN;
        store_finish(store, b);
        return;
    }
    if (b->kind == BATCH_READ && (b->lane == 0 || atomic_load(&db->writer.in.queued) == 0)) {
        store_finish(store, read_queue_put(&db->reads, b));
        return;
    }
    group_submit(&db->writer.in, b);
    if (atomic_load(&db->down))
        pg_refuse(db);
}

static void pgsql_look(struct store *store)
{
    struct pg_db *db = store->db;
    group_look(&db->writer.in);
}

static void pgsql_info(const struct store *store, struct store_info *out)
{
    const struct pg_db *db = store->db;
    snprintf(out->database, sizeof out->database, "postgresql: %s", db->name);
    out->silent = atomic_load(&db->writer.in.look);
}

enum err store_reach(const char *url, char *name, size_t cap, struct why *why)
{
    enum err e = pg_url_name(url, name, cap, why);
    if (e != OK) {
        name[0] = '\0'; /* what is taken for a host may be a password */
        return e;
    }
    struct pg_db *db = mem_new(struct pg_db);
    struct pg_conn conn;
    db->url = memcpy(mem_zalloc(strlen(url) + 1), url, strlen(url));
    pg_conn_init(&conn, db, PG_READS);
    if (!pg_connect(&conn)) {
        why_set(why, "%s", conn.text);
        e = E_DOWN;
    }
    pg_conn_fini(&conn);
    mem_free(&db->url);
    mem_free(&db);
    return e;
}

const struct store_driver store_pgsql = {
    .scheme = "postgresql",
    .open = pgsql_open,
    .submit = pgsql_submit,
    .close = pgsql_close,
    .info = pgsql_info,
    .look = pgsql_look,
};
