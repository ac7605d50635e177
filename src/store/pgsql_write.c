#include "base/alarm.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/store_pgsql.h"
#include <stdio.h>

#define POSITION                                                                                   \
    "INSERT INTO reader(name, position) VALUES($1, (SELECT lastval()))"                            \
    " ON CONFLICT(name) DO UPDATE SET position = excluded.position"

enum pg_fault pg_lock(struct pg_conn *c)
{
    enum pg_fault fault = PG_LOST;
    PGresult *res = pg_ask(c, "SELECT pg_try_advisory_lock(" PG_LOCK_KEY ")", NULL);
    if (res != NULL)
        fault = PQntuples(res) == 1 && strcmp(PQgetvalue(res, 0, 0), "t") == 0 ? PG_OK : PG_BUSY;
    PQclear(res);
    if (fault == PG_BUSY)
        pg_fail(c, PG_BUSY, "another process uses this database");
    return fault;
}

enum pg_fault pg_ask_opened(struct pg_conn *c, const char *sql, int64_t *out)
{
    PGresult *res = pg_ask(c, sql, NULL);
    if (res == NULL)
        return PG_LOST;
    bool found = PQntuples(res) == 1 && slice_int(slice_of(PQgetvalue(res, 0, 0)), out);
    PQclear(res);
    return found ? PG_OK : pg_fail(c, PG_BROKEN, "its table opened has not one row");
}

/* Another process may have had the lock in between: what this one has in memory would be old. */
static enum pg_fault check_opened(struct pg_conn *c)
{
    int64_t times = 0;
    enum pg_fault fault = pg_ask_opened(c, "SELECT times FROM opened", &times);
    if (fault == PG_OK && times != c->db->opened)
        fault = pg_fail(c, PG_BUSY, "another process has used this database: restart musterd");
    return fault;
}

static bool is_active(const struct alarm *alarm)
{
    return atomic_load_explicit(&alarm->active, memory_order_relaxed) != 0;
}

static bool is_write(const struct store_batch *b) { return b->kind == BATCH_WRITE; }

static void pgsql_write_raise(struct alarm *alarm, const struct pg_conn *c)
{
    char detail[sizeof c->db->name + sizeof c->text + 4]; /* the alarm cuts it */
    snprintf(detail, sizeof detail, "%s: %s", c->db->name, c->text);
    if (alarm == &store_full_alarm)
        store_full_raise(slice_of(detail));
    else
        alarm_raise(alarm, slice_of(detail));
}

enum store_result pg_result(struct pg_conn *c, enum pg_fault fault)
{
    switch (fault) {
    case PG_OK:
        return STORE_OK;
    case PG_REFUSED:
        if (strncmp(c->state, "23", 2) != 0 && c->state[0] != '\0')
            log_warn(&log_store, LOG_EV("store.refused"), LOG_C("code", c->state),
                     LOG_C("text", c->text),
                     LOG_C("hint", "two changes met, and the database refused one of them"));
        return STORE_CONFLICT; /* often expected: the feature knows */
    case PG_DENIED:
        log_warn(&log_store, LOG_EV("store.refused"), LOG_C("code", c->state),
                 LOG_C("text", c->text), LOG_C("hint", "see the alarm store.refused"));
        pgsql_write_raise(&store_refused_alarm, c);
        return STORE_DOWN;
    case PG_FULL:
        pgsql_write_raise(&store_full_alarm, c);
        return STORE_FULL;
    case PG_SKIPPED:
    case PG_AGAIN:
    case PG_LATE:
        log_warn(&log_store, LOG_EV("store.given-up"), LOG_C("code", c->state),
                 LOG_C("text", c->text),
                 LOG_C("hint", "the database could not store this; look at its log"));
        return STORE_DOWN;
    case PG_BUSY:
    case PG_BROKEN:
    case PG_LOST:
        break;
    }
    pgsql_write_raise(&store_down_alarm, c);
    return STORE_DOWN;
}

static void worked(void)
{
    if (is_active(&store_full_alarm))
        store_full_worked();
    if (is_active(&store_down_alarm))
        alarm_clear(&store_down_alarm);
}

/* --- what is refused --- */

/* Planning does not see damaged pages. */
static void note_denied(struct pg_writer *w, const struct store_stmt *stmt)
{
    bool is_damage = strncmp(w->conn.state, "XX", 2) == 0;
    w->denied = stmt;
    w->look_us = is_damage ? UINT64_MAX : clock_mono_us() + PG_LOOK_MS * UINT64_C(1000);
}

static bool has_stmt(const struct pg_writer *w, const struct store_batch *b,
                     const struct store_stmt *stmt)
{
    for (uint32_t i = 0; i < b->part_count; i++)
        if (b->parts[i].stmt == stmt || (b->parts[i].late_count > 0 && w->late->insert == stmt))
            return true;
    return false;
}

/* These were committed. What the database accepts beside the refused statement proves nothing. */
static void pgsql_write_note_accepted(struct pg_writer *w, const struct store_batch *first)
{
    bool accepted = w->denied == NULL;
    if (!is_active(&store_refused_alarm))
        return;
    for (const struct store_batch *b = first; !accepted && b != NULL; b = b->next)
        accepted = is_write(b) && b->result == STORE_OK && has_stmt(w, b, w->denied);
    if (accepted)
        alarm_clear(&store_refused_alarm);
}

/* Perhaps nobody asks for the like again soon. */
static void pgsql_write_look_again(struct pg_writer *w)
{
    uint64_t now_us;
    if (w->denied == NULL || !is_active(&store_refused_alarm) ||
        (now_us = clock_mono_us()) < w->look_us)
        return;
    w->look_us = now_us + PG_LOOK_MS * UINT64_C(1000);
    w->conn.until_us = now_us + PG_PATIENCE_US;
    if (pg_explain(&w->conn, w->denied) == PG_OK)
        alarm_clear(&store_refused_alarm);
}

/* When that is due; 0: never. */
static uint64_t next_look_us(const struct pg_writer *w)
{
    bool looks = w->denied != NULL && w->look_us != UINT64_MAX && is_active(&store_refused_alarm);
    return looks ? w->look_us : 0;
}

/* --- one batch --- */

static bool has_late(const struct store_batch *b)
{
    for (uint32_t i = 0; i < b->part_count; i++)
        if (b->parts[i].late_count > 0)
            return true;
    return false;
}

/* SV_LAST in a batch that gave no id itself must not be that of another one. */
static bool needs_reset(const struct store_batch *b)
{
    for (uint32_t i = 0; i < b->part_count; i++)
        if (pg_uses_last(b, &b->parts[i]))
            return true;
    return false;
}

/* `position`: the batch with the highest id of the log so far; its place is noted. */
static void send_batch(struct pg_writer *w, const struct store_batch *b,
                       const struct store_batch *position)
{
    struct pg_conn *c = &w->conn;
    if (needs_reset(b))
        pg_send(c, "DISCARD SEQUENCES");
    for (uint32_t i = 0; i < b->part_count; i++) {
        pg_send_part(c, b, &b->parts[i]);
        if (b->parts[i].late_count == 0)
            continue;
        pg_send_late(c, b, &b->parts[i]);
        if (b == position && c->pq != NULL)
            PQsendQueryParams(c->pq, POSITION, 1, NULL, &w->late->name, NULL, NULL, 0);
    }
}

static enum pg_fault worse(enum pg_fault a, enum pg_fault b) { return a != PG_OK ? a : b; }

static enum pg_fault end_part(struct pg_writer *w, struct store_batch *b, struct store_part *part,
                              const struct store_batch *position)
{
    struct pg_conn *c = &w->conn;
    enum pg_fault fault = pg_end_part(c, b, part);
    if (fault == PG_DENIED)
        note_denied(w, part->stmt);
    if (fault == PG_OK && part->rows != STORE_ANY_ROWS && part->changed != part->rows)
        fault = pg_fail(c, PG_REFUSED, "a row count was not met");
    for (uint32_t n = 0; n < part->late_count; n++) {
        enum pg_fault found = pg_end(c);
        if (found == PG_DENIED)
            note_denied(w, w->late->insert);
        fault = worse(fault, found);
    }
    if (part->late_count > 0 && b == position) {
        enum pg_fault found = pg_end(c);
        if (found == PG_DENIED) { /* each message needs it */
            note_denied(w, w->late->insert);
            w->look_us = UINT64_MAX;
        }
        fault = worse(fault, found);
    }
    return fault;
}

/* Keeps the text of the first failure; later ones only follow from it. */
static enum pg_fault end_batch(struct pg_writer *w, struct store_batch *b,
                               const struct store_batch *position)
{
    enum pg_fault fault = needs_reset(b) ? pg_end(&w->conn) : PG_OK;
    for (uint32_t i = 0; i < b->part_count; i++)
        fault = worse(fault, end_part(w, b, &b->parts[i], position));
    return fault;
}

/* --- a group --- */

static enum pg_fault pgsql_write_command(struct pg_writer *w, const char *sql)
{
    pg_send(&w->conn, sql);
    pg_sync(&w->conn);
    enum pg_fault fault = pg_end(&w->conn); /* before the sync behind it */
    return worse(fault, pg_synced(&w->conn));
}

static void note_late(struct pg_writer *w, const struct store_batch *first)
{
    int64_t rows = 0;
    for (const struct store_batch *b = first; w->late != NULL && b != NULL; b = b->next)
        for (uint32_t i = 0; b->result == STORE_OK && i < b->part_count; i++)
            rows += b->parts[i].late_count;
    metric_add(&store_late_rows, rows);
}

/* Whether COMMIT was reached or not. */
static enum pg_fault end_failed(struct pg_writer *w)
{
    return pgsql_write_command(w, "ROLLBACK") == PG_OK ? PG_OK : PG_LOST;
}

/* So that another connection can tell whether it was kept. */
static void send_number(struct pg_writer *w)
{
    static const Oid int8 = OID_INT8;
    char number[24];
    const char *value = number;
    snprintf(number, sizeof number, "%lld", (long long)++w->commits);
    if (w->conn.pq != NULL)
        PQsendQueryParams(w->conn.pq, "UPDATE opened SET commits = $1", 1, &int8, &value, NULL,
                          NULL, 0);
}

/* A transaction that has failed answers COMMIT with ROLLBACK, and no error. */
static enum pg_fault pgsql_write_commit(struct pg_writer *w, const struct store_batch *first)
{
    enum pg_fault fault;
    bool committed = false;
    uint64_t began_us = clock_mono_us();
    PGresult *res;
    w->committing = true;
    send_number(w);
    pg_send(&w->conn, "COMMIT");
    pg_sync(&w->conn);
    fault = pg_end(&w->conn);
    if (fault == PG_DENIED)
        note_denied(w, NULL);
    while ((res = pg_next(&w->conn)) != NULL) {
        fault = worse(fault, pg_judge(&w->conn, res));
        committed = committed || strcmp(PQcmdStatus(res), "COMMIT") == 0;
        PQclear(res);
    }
    metric_add(&store_commits, 1);
    metric_add(&store_commit_us, (int64_t)(clock_mono_us() - began_us));
    if (committed) /* whatever comes then */
        pg_synced(&w->conn);
    else
        fault = worse(fault, pg_synced(&w->conn));
    if (committed) {
        note_late(w, first);
        worked();
        pgsql_write_note_accepted(w, first);
        return PG_OK;
    }
    if (fault == PG_OK)
        fault = pg_fail(&w->conn, PG_AGAIN, "the transaction was undone");
    return fault != PG_LOST ? worse(end_failed(w), fault) : fault;
}

/* All batches at once. If one fails, nothing of any is kept. */
static enum pg_fault run_fast(struct pg_writer *w, struct store_batch *first)
{
    const struct store_batch *position = NULL;
    for (struct store_batch *b = first; b != NULL; b = b->next) {
        b->result = STORE_OK;
        if (is_write(b) && has_late(b))
            position = b;
    }
    pg_send(&w->conn, "BEGIN");
    for (const struct store_batch *b = first; b != NULL; b = b->next)
        if (is_write(b))
            send_batch(w, b, position);
    pg_sync(&w->conn);
    enum pg_fault fault = pg_end(&w->conn);
    for (struct store_batch *b = first; b != NULL; b = b->next)
        if (is_write(b))
            fault = worse(fault, end_batch(w, b, position));
    enum pg_fault lost = pg_synced(&w->conn);
    if (lost != PG_OK)
        return lost;
    if (fault == PG_OK)
        return pgsql_write_commit(w, first);
    lost = pgsql_write_command(w, "ROLLBACK");
    return lost != PG_OK ? PG_LOST : fault;
}

static bool any_is_fine(const struct store_batch *first)
{
    for (const struct store_batch *b = first; b != NULL; b = b->next)
        if (is_write(b) && b->result == STORE_OK)
            return true;
    return false;
}

/* A batch behind a savepoint, which the next one releases. What is returned is the group's. */
static enum pg_fault run_apart(struct pg_writer *w, struct store_batch *b)
{
    const struct store_batch *position = has_late(b) ? b : NULL;
    enum pg_fault fault = PG_OK;
    batch_clear_results(b);
    if (w->has_savepoint)
        pg_send(&w->conn, "RELEASE batch");
    pg_send(&w->conn, "SAVEPOINT batch");
    send_batch(w, b, position);
    pg_sync(&w->conn);
    if (w->has_savepoint)
        fault = pg_end(&w->conn);
    w->has_savepoint = true;
    fault = worse(fault, pg_end(&w->conn));
    fault = worse(fault, end_batch(w, b, position));
    enum pg_fault lost = pg_synced(&w->conn);
    if (lost != PG_OK || fault == PG_AGAIN || fault == PG_BUSY)
        return worse(lost, fault);
    b->result = pg_result(&w->conn, fault);
    return fault == PG_OK ? PG_OK : pgsql_write_command(w, "ROLLBACK TO batch");
}

/* Batch by batch, each with an answer of its own, in one transaction. */
static enum pg_fault run_each(struct pg_writer *w, struct store_batch *first)
{
    w->has_savepoint = false;
    enum pg_fault fault = pgsql_write_command(w, "BEGIN");
    for (struct store_batch *b = first; fault == PG_OK && b != NULL; b = b->next)
        if (is_write(b))
            fault = run_apart(w, b);
    if (fault == PG_OK && any_is_fine(first))
        return pgsql_write_commit(w, first);
    enum pg_fault lost = fault == PG_LOST ? PG_LOST : pgsql_write_command(w, "ROLLBACK");
    return worse(lost, fault);
}

static bool is_worth_another(enum pg_fault fault)
{
    return fault == PG_REFUSED || fault == PG_DENIED || fault == PG_FULL || fault == PG_BROKEN ||
           fault == PG_AGAIN;
}

/* The server may take as long as callers wait. But some callers wait for minutes, and nothing else
 * could be stored for that time. */
static uint64_t patience(const struct store_batch *first)
{
    uint64_t now_us = clock_mono_us(), until_us = now_us + PG_PATIENCE_US;
    for (const struct store_batch *b = first; b != NULL; b = b->next) {
        uint64_t deadline_us = b->op.deadline_us;
        if (deadline_us == UINT64_MAX)
            return UINT64_MAX; /* store_run(): for tools, and for the start */
        if (deadline_us + PG_GRACE_US > until_us)
            until_us = deadline_us + PG_GRACE_US;
    }
    return until_us < now_us + PG_PATIENCE_MAX_US ? until_us : now_us + PG_PATIENCE_MAX_US;
}

static void pgsql_write_answer_all(struct store_batch *first, enum store_result result)
{
    for (struct store_batch *b = first; b != NULL; b = b->next)
        b->result = result;
}

static void pgsql_write_run_group(struct pg_writer *w, struct store_batch *first)
{
    w->conn.until_us = patience(first);
    w->committing = false;
    enum pg_fault fault = pg_prepare(&w->conn, first);
    if (fault == PG_OK)
        fault = run_fast(w, first);
    for (int tries = 0; tries < PG_TRIES_MAX && is_worth_another(fault); tries++) {
        w->committing = false;
        fault = run_each(w, first);
    }
    if (fault == PG_OK)
        return;
    enum store_result result = pg_result(&w->conn, fault);
    if (fault != PG_LOST || !w->committing) {
        pgsql_write_answer_all(first, result);
        return;
    }
    pg_disconnect(&w->conn);
    w->doubt = first;
}

static bool has_writes(const struct store_batch *first)
{
    for (const struct store_batch *b = first; b != NULL; b = b->next)
        if (is_write(b))
            return true;
    return false;
}

/* Writes have ended; reads that waited for them go on to the readers. */
static void pgsql_write_deliver(struct pg_writer *w, struct store_batch *first)
{
    struct store_batch *done = NULL, **done_tail = &done, *reads = NULL, **reads_tail = &reads;
    for (struct store_batch *b = first; b != NULL; b = b->next) {
        bool goes_on = b->kind == BATCH_READ && b->result == STORE_OK;
        struct store_batch ***tail = goes_on ? &reads_tail : &done_tail;
        **tail = b;
        *tail = &b->next;
    }
    *done_tail = *reads_tail = NULL;
    store_finish(w->conn.db->store, done);
    store_finish(w->conn.db->store, read_queue_put(&w->conn.db->reads, reads));
}

static void pgsql_write_commit_group(struct pg_writer *w)
{
    uint32_t count;
    struct store_batch *first = group_cut(&w->in, &count);
    if (has_writes(first))
        pgsql_write_run_group(w, first);
    else
        pgsql_write_answer_all(first, STORE_OK);
    w->doubt_count = count;
    if (w->doubt != NULL)
        return; /* until somebody can tell */
    atomic_fetch_sub(&w->in.queued, count);
    pgsql_write_deliver(w, first);
}

static void end_doubt(struct pg_writer *w)
{
    struct store_batch *first = w->doubt;
    w->doubt = NULL;
    atomic_fetch_sub(&w->in.queued, w->doubt_count);
    pgsql_write_deliver(w, first);
}

/* The last transaction of the lost connection either was committed or never will be: its session
 * has ended, since this one has the lock. */
static enum pg_fault settle_doubt(struct pg_writer *w)
{
    int64_t commits = 0;
    enum pg_fault fault = PG_OK;
    if (w->doubt != NULL)
        fault = pg_ask_opened(&w->conn, "SELECT commits FROM opened", &commits);
    if (fault == PG_OK && w->doubt != NULL && commits == w->commits)
        note_late(w, w->doubt);
    else if (fault == PG_OK)
        pgsql_write_answer_all(w->doubt, STORE_DOWN);
    return fault;
}

/* --- the connection --- */

static void refuse_list(struct pg_db *db, struct store_batch *first)
{
    uint32_t count = 0;
    for (struct store_batch *b = first; b != NULL; b = b->next, count++)
        b->result = STORE_DOWN;
    atomic_fetch_sub(&db->writer.in.queued, count);
    store_finish(db->store, first);
}

void pg_refuse(struct pg_db *db) { refuse_list(db, group_steal(&db->writer.in)); }

static void refuse_taken(struct pg_writer *w)
{
    struct store_batch *first = w->in.first;
    w->in.first = NULL;
    w->in.tail = &w->in.first;
    w->in.taken = 0;
    refuse_list(w->conn.db, first);
}

/* From here on batches are refused at once; what was submitted a moment ago, too. */
static void go_down(struct pg_writer *w)
{
    atomic_store(&w->conn.db->down, true);
    pgsql_write_raise(&store_down_alarm, &w->conn);
    refuse_taken(w);
    pg_refuse(w->conn.db);
    w->retry_ms = PG_RETRY_FIRST_MS;
    w->retry_us = 0; /* at once: the server may just have ended the session */
}

static void come_up(struct pg_writer *w)
{
    struct pg_conn *c = &w->conn;
    if (pg_connect(c) && pg_lock(c) == PG_OK && check_opened(c) == PG_OK &&
        settle_doubt(w) == PG_OK) {
        log_info(&log_store, LOG_EV("store.connected"), LOG_C("host", PQhost(c->pq)),
                 LOG_C("port", PQport(c->pq)));
        atomic_fetch_add(&c->db->session, 1);
        atomic_store(&c->db->down, false);
        alarm_clear(&store_down_alarm);
        if (w->doubt != NULL)
            end_doubt(w);
        return;
    }
    pg_disconnect(c);
    pgsql_write_raise(&store_down_alarm, c);
    w->retry_us = clock_mono_us() + w->retry_ms * UINT64_C(1000);
    w->retry_ms = w->retry_ms * 2 < PG_RETRY_MAX_MS ? w->retry_ms * 2 : PG_RETRY_MAX_MS;
}

/* A read or a write had no answer in time. A server that is silent is found here also when nobody
 * writes. */
static void look_at_server(struct pg_writer *w)
{
    w->conn.until_us = clock_mono_us() + PG_PATIENCE_US;
    PQclear(pg_ask(&w->conn, "SELECT 1", NULL));
    if (w->conn.pq != NULL) /* any answer is one */
        atomic_store(&w->in.look, false);
}

/* Nobody asks anything, but the server may say that it goes. */
static void look_at_socket(struct pg_conn *c)
{
    bool is_there = PQconsumeInput(c->pq) == 1;
    if (is_there)
        PQisBusy(c->pq); /* reads what came */
    if (is_there && !pg_is_lost(c))
        return;
    pg_fail(c, PG_LOST, PQerrorMessage(c->pq));
    pg_disconnect(c);
}

static void pgsql_write_give_up(struct pg_writer *w)
{
    pg_refuse(w->conn.db);
    pgsql_write_answer_all(w->doubt, STORE_UNKNOWN);
    if (w->doubt != NULL)
        end_doubt(w);
}

static void wait_down(struct pg_writer *w)
{
    atomic_store(&w->in.look, false); /* there is an alarm by now, and it looks all the time */
    pg_refuse(w->conn.db);
    if (clock_mono_us() >= w->retry_us)
        come_up(w);
    else
        group_nap(&w->in, GROUP_IDLE, w->retry_us, -1);
}

/* False: asked to stop, and nothing is left. */
static bool pgsql_write_wait_for_work(struct pg_writer *w)
{
    for (;;) {
        bool stop = atomic_load(&w->in.stop);
        if (w->conn.pq == NULL && !atomic_load(&w->conn.db->down))
            go_down(w);
        if (w->conn.pq == NULL && stop) {
            pgsql_write_give_up(w);
            return false;
        }
        if (w->conn.pq == NULL) {
            wait_down(w);
            continue;
        }
        if (atomic_load(&w->in.look))
            look_at_server(w);
        if (w->conn.pq != NULL)
            pgsql_write_look_again(w);
        if (w->conn.pq == NULL)
            continue;
        group_take(&w->in);
        if (w->in.taken > 0)
            return true;
        if (stop)
            return false;
        if (group_nap(&w->in, GROUP_IDLE, next_look_us(w), PQsocket(w->conn.pq)) == GROUP_FD)
            look_at_socket(&w->conn);
    }
}

void *pg_writer_main(void *writer)
{
    struct pg_writer *w = writer;
    while (pgsql_write_wait_for_work(w)) {
        group_gather(&w->in);
        pgsql_write_commit_group(w);
    }
    return NULL;
}
