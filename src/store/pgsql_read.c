#include "base/clock.h"
#include "base/log.h"
#include "store/store_pgsql.h"
#include <stdio.h>

/* The time that is left, as one of few values: the session is told only when it changes. */
static uint32_t timeout_of(uint64_t due_us, uint64_t now_us)
{
    static const uint32_t steps_ms[] = { 250, 1000, 2000, 5000, 10000, 30000, 60000, 300000 };
    uint64_t left_ms = (due_us - now_us) / 1000;
    for (size_t i = 0; i < sizeof steps_ms / sizeof steps_ms[0]; i++)
        if (left_ms <= steps_ms[i])
            return steps_ms[i];
    return 0; /* none */
}

/* One transaction, and one round trip. A failure takes back what was set. */
static enum pg_fault pgsql_read_run_parts(struct pg_reader *r, struct store_batch *b)
{
    struct pg_conn *c = &r->conn;
    uint64_t now_us = clock_mono_us(), deadline_us = batch_due_us(b, now_us);
    uint32_t timeout_ms = timeout_of(deadline_us, now_us);
    bool sets = timeout_ms != r->timeout_ms;
    c->until_us = deadline_us == UINT64_MAX ? UINT64_MAX : deadline_us + PG_GRACE_US;
    if (pg_prepare(c, b) != PG_OK)
        return PG_LOST;
    if (sets) {
        char sql[64];
        snprintf(sql, sizeof sql, "SET statement_timeout = %u", timeout_ms);
        pg_send(c, sql);
    }
    for (uint32_t i = 0; i < b->part_count; i++)
        pg_send_part(c, b, &b->parts[i]);
    pg_sync(c);
    enum pg_fault fault = sets ? pg_end(c) : PG_OK;
    for (uint32_t i = 0; i < b->part_count; i++) {
        enum pg_fault found = pg_end_part(c, b, &b->parts[i]);
        fault = fault == PG_OK ? found : fault;
    }
    if (pg_synced(c) != PG_OK)
        return PG_LOST;
    if (sets)
        r->timeout_ms = fault == PG_OK ? timeout_ms : UINT32_MAX;
    return fault;
}

/* A connection that is lost costs a second try, if the writer has not found out as well. Where the
 * writer went, readers follow: what is left of a server that was replaced may still answer. */
static enum pg_fault run_twice(struct pg_reader *r, struct store_batch *b)
{
    enum pg_fault fault = PG_LOST;
    for (int tries = 0; tries < 2 && (fault == PG_LOST || fault == PG_AGAIN); tries++) {
        if (atomic_load(&b->given_up))
            return pg_fail(&r->conn, PG_LATE, "past its deadline");
        if (atomic_load(&r->conn.db->down))
            return pg_fail(&r->conn, PG_LATE, "the database is away");
        unsigned session = atomic_load(&r->conn.db->session);
        if (r->conn.pq == NULL || r->session != session) {
            if (atomic_load(&r->conn.db->writer.in.stop)) /* it may take seconds */
                return pg_fail(&r->conn, PG_LATE, "the store is being closed");
            r->timeout_ms = 0;
            r->session = session;
            if (!pg_connect(&r->conn))
                return PG_LOST;
        }
        batch_clear_results(b);
        fault = pgsql_read_run_parts(r, b);
    }
    return fault;
}

static enum store_result result_of(const struct pg_conn *c, enum pg_fault fault)
{
    if (fault == PG_OK)
        return STORE_OK;
    log_warn(
        &log_store, LOG_EV("store.read-failed"), LOG_C("code", c->state), LOG_C("text", c->text),
        LOG_C("hint", "a request was refused; if this repeats, look at the log of PostgreSQL"));
    return fault == PG_REFUSED ? STORE_CONFLICT : STORE_DOWN;
}

static void pgsql_read_run_read(struct pg_reader *r, struct store_batch *b)
{
    uint64_t began_us = clock_mono_us();
    b->result = result_of(&r->conn, run_twice(r, b));
    uint64_t took_ms = (clock_mono_us() - began_us) / 1000;
    if (took_ms > PG_SLOW_READ_MS)
        log_warn(&log_store, LOG_EV("store.slow-read"), LOG_C("stmt", b->parts[0].stmt->name),
                 LOG_I("ms", took_ms),
                 LOG_C("hint", "the database is slow; look at the load of its disk"));
}

void *pg_reader_main(void *reader)
{
    struct pg_reader *r = reader;
    struct pg_db *db = r->conn.db;
    struct store_batch *b;
    /* the last one is for long reads as well: all others are always there for short ones */
    unsigned takes = r == &db->readers[db->reader_count - 1] ? READ_SHORT | READ_LONG : READ_SHORT;
    while ((b = read_queue_take(&db->reads, takes)) != NULL) {
        pgsql_read_run_read(r, b);
        store_finish(db->store, b);
    }
    return NULL;
}
