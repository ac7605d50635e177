#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "store/store_pgsql.h"
#include <poll.h>
#include <stdio.h>

enum { PLAN_BYTES_MAX = 1 << 20 };

/* A node that died is noticed, and its lock freed, within seconds; tables of others are not waited
 * for longer than a batch is. JIT costs more than statements like ours can gain. */
#define SESSION                                                                                    \
    "SELECT set_config('tcp_keepalives_idle', '5', false),"                                        \
    " set_config('tcp_keepalives_interval', '2', false),"                                          \
    " set_config('tcp_keepalives_count', '3', false),"                                             \
    " set_config('tcp_user_timeout', '10000', false),"                                             \
    " set_config('idle_session_timeout', '0', false),"                                             \
    " set_config('idle_in_transaction_session_timeout', '60000', false),"                          \
    " set_config('statement_timeout', '0', false),"                                                \
    " set_config('lock_timeout', '4000', false),"                                                  \
    " set_config('jit', 'off', false),"

/* Acknowledged data must survive a crash, so `off` is changed. Other values are kept: they say what
 * standbys must have done. */
static const char *const sessions[] = {
    [PG_WRITES] = SESSION
    " set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off'"
    " THEN 'on' ELSE current_setting('synchronous_commit') END, false),"
    " set_config('default_transaction_isolation', 'read committed', false),"
    " set_config('default_transaction_read_only', 'off', false)",
    /* all that is sent up to a sync is one transaction, and so sees one snapshot */
    [PG_READS] = SESSION " set_config('default_transaction_isolation', 'repeatable read', false),"
                         " set_config('default_transaction_read_only', 'on', false)",
};

void pg_conn_init(struct pg_conn *c, struct pg_db *db, enum pg_role role)
{
    *c = (struct pg_conn){ .db = db, .role = role };
    buf_init(&c->prepared, PLAN_BYTES_MAX);
    buf_init(&c->asked, PLAN_BYTES_MAX);
}

void pg_conn_fini(struct pg_conn *c)
{
    pg_disconnect(c);
    buf_fini(&c->prepared);
    buf_fini(&c->asked);
}

void pg_disconnect(struct pg_conn *c)
{
    if (c->pq != NULL)
        PQfinish(c->pq);
    c->pq = NULL;
    buf_clear(&c->prepared);
    buf_clear(&c->asked);
}

/* libpq speaks in lines, one a host; those with a tab ask whether the server is running. */
static void note_text(struct pg_conn *c, const char *text)
{
    size_t at = 0;
    slice line, rest = slice_of(text);
    while (rest.len > 0 && at < sizeof c->text) {
        slice_cut(rest, '\n', &line, &rest);
        if (line.len > 0 && line.ptr[0] != '\t')
            at += (size_t)snprintf(c->text + at, sizeof c->text - at, "%s%.*s", at > 0 ? "; " : "",
                                   SLICE_ARG(line));
    }
    if (at == 0)
        c->text[0] = '\0';
}

enum pg_fault pg_fail(struct pg_conn *c, enum pg_fault fault, const char *text)
{
    c->state[0] = '\0';
    note_text(c, text);
    return fault;
}

static void on_notice(void *conn, const PGresult *res)
{
    (void)conn;
    log_debug(&log_store, LOG_EV("store.notice"), LOG_C("text", PQresultErrorMessage(res)));
}

/* What the URL says overrides what stands before it, and is overridden by what stands behind. */
static PGconn *dial(const char *url)
{
    char connect_s[8];
    snprintf(connect_s, sizeof connect_s, "%d", PG_CONNECT_S);
    const char *const pairs[][2] = {
        { "connect_timeout", connect_s },
        { "keepalives_idle", "5" },
        { "keepalives_interval", "2" },
        { "keepalives_count", "3" },
        { "tcp_user_timeout", "10000" },
        { "fallback_application_name", "muster" },
        { "dbname", url },
        { "client_encoding", "UTF8" },
        { "target_session_attrs", "read-write" }, /* finds the primary among the hosts */
    };
    enum { COUNT = sizeof pairs / sizeof pairs[0] };
    const char *keywords[COUNT + 1] = { NULL }, *values[COUNT + 1] = { NULL };
    for (size_t i = 0; i < COUNT; i++) {
        keywords[i] = pairs[i][0];
        values[i] = pairs[i][1];
    }
    return PQconnectdbParams(keywords, values, 1);
}

bool pg_connect(struct pg_conn *c)
{
    pg_disconnect(c);
    c->pq = dial(c->db->url);
    c->until_us = clock_mono_us() + PG_PATIENCE_US;
    if (PQstatus(c->pq) == CONNECTION_OK && PQsetnonblocking(c->pq, 1) == 0 &&
        PQenterPipelineMode(c->pq) == 1) {
        PQsetNoticeReceiver(c->pq, on_notice, c);
        PGresult *res = pg_ask(c, sessions[c->role], NULL);
        PQclear(res);
        if (res != NULL) {
            /* also while it works: the lock of a node that died is freed; not on every system */
            PQclear(pg_ask(c, "SET client_connection_check_interval = 2000", NULL));
            return !pg_is_lost(c);
        }
    } else {
        pg_fail(c, PG_LOST, PQerrorMessage(c->pq));
    }
    pg_disconnect(c);
    return false;
}

bool pg_is_lost(const struct pg_conn *c)
{
    return c->pq == NULL || PQstatus(c->pq) != CONNECTION_OK;
}

static enum pg_fault pgsql_conn_lose(struct pg_conn *c, const char *text)
{
    pg_fail(c, PG_LOST, text);
    pg_disconnect(c);
    return PG_LOST;
}

/* false: neither until_us nor the end of the store waits any longer. */
static bool pgsql_conn_poll(struct pg_conn *c, struct pollfd *fd)
{
    enum { LOOK_US = 500 * 1000 };
    uint64_t began_us = clock_mono_us(), now_us = began_us, until_us = c->until_us;
    for (;;) {
        uint64_t left_us = until_us > now_us ? until_us - now_us : 0;
        if (poll(fd, 1, left_us < LOOK_US ? (int)(left_us / 1000 + 1) : LOOK_US / 1000) != 0)
            return true;
        now_us = clock_mono_us();
        if (atomic_load(&c->db->writer.in.stop) && until_us > began_us + PG_CLOSING_US)
            until_us = began_us + PG_CLOSING_US;
        if (now_us >= until_us)
            return false;
    }
}

/* Moves bytes; false: lost. */
static bool move(struct pg_conn *c)
{
    int unsent = PQflush(c->pq);
    if (unsent < 0) {
        pgsql_conn_lose(c, PQerrorMessage(c->pq));
        return false;
    }
    struct pollfd fd = { PQsocket(c->pq), (short)(POLLIN | (unsent > 0 ? POLLOUT : 0)), 0 };
    if (!pgsql_conn_poll(c, &fd)) {
        pgsql_conn_lose(c, "no answer for seconds");
        return false;
    }
    if ((fd.revents & ~POLLOUT) != 0 && PQconsumeInput(c->pq) == 0) {
        pgsql_conn_lose(c, PQerrorMessage(c->pq));
        return false;
    }
    return true;
}

PGresult *pg_next(struct pg_conn *c)
{
    if (c->pq == NULL)
        return NULL;
    while (PQisBusy(c->pq))
        if (!move(c))
            return NULL;
    return PQgetResult(c->pq);
}

void pg_send(struct pg_conn *c, const char *sql)
{
    if (c->pq != NULL)
        PQsendQueryParams(c->pq, sql, 0, NULL, NULL, NULL, NULL, 0);
}

void pg_sync(struct pg_conn *c)
{
    if (c->pq != NULL)
        PQpipelineSync(c->pq);
}

static bool in_class(const char *state, const char *class) { return strncmp(state, class, 2) == 0; }

static enum pg_fault fault_of(const struct pg_conn *c, const char *state)
{
    static const struct {
        const char *state;
        enum pg_fault fault;
    } known[] = {
        { "40001", PG_AGAIN },   { "40P01", PG_AGAIN },   { "53100", PG_FULL },
        { "55P03", PG_BUSY },    { "55000", PG_REFUSED }, /* lastval() without an INSERT in front */
        { "57P01", PG_LOST },    { "57P02", PG_LOST },    { "57P03", PG_LOST },
        { "57P05", PG_LOST },    { "25P03", PG_LOST }, /* idle in a transaction for too long */
        { "42601", PG_REFUSED }, /* of our texts none: of a value that is parsed, such as words */
        { "XX001", PG_DENIED },  { "XX002", PG_DENIED }, /* the table or an index is damaged */
    };
    static const char *const refused[] = { "21", "22", "23", "44", "54", "P0" };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(state, known[i].state) == 0)
            return known[i].fault;
    if (strcmp(state, "57014") == 0) /* by statement_timeout, or somebody cancelled it */
        return c->role == PG_READS ? PG_LATE : PG_AGAIN;
    if (strcmp(state, "25006") == 0) /* a standby; but a reader may not write anywhere */
        return c->role == PG_READS ? PG_REFUSED : PG_LOST;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (in_class(state, refused[i]))
            return PG_REFUSED;
    /* all statements were checked at open: since then somebody has changed tables or rights */
    if (in_class(state, "42") || in_class(state, "0A"))
        return PG_DENIED;
    return in_class(state, "08") || state[0] == '\0' ? PG_LOST : PG_BROKEN;
}

enum pg_fault pg_judge(struct pg_conn *c, const PGresult *res)
{
    switch (PQresultStatus(res)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_SINGLE_TUPLE:
    case PGRES_PIPELINE_SYNC:
        return PG_OK;
    case PGRES_PIPELINE_ABORTED:
        return PG_SKIPPED;
    default:
        break;
    }
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    note_text(c, text != NULL ? text : PQresultErrorMessage(res));
    snprintf(c->state, sizeof c->state, "%s", state != NULL ? state : "");
    enum pg_fault fault = fault_of(c, c->state);
    if (strcmp(c->state, "26000") == 0 && c->plan_fault != PG_OK) { /* not prepared: that is why */
        fault = c->plan_fault;
        memcpy(c->state, c->plan_state, sizeof c->state);
        memcpy(c->text, c->plan_text, sizeof c->text);
    }
    if (fault == PG_LOST)
        pg_disconnect(c);
    return fault;
}

enum pg_fault pg_end(struct pg_conn *c)
{
    enum pg_fault fault = PG_OK;
    PGresult *res;
    while ((res = pg_next(c)) != NULL) {
        enum pg_fault found = pg_judge(c, res);
        fault = fault == PG_OK ? found : fault;
        PQclear(res);
    }
    return c->pq == NULL ? PG_LOST : fault;
}

enum pg_fault pg_synced(struct pg_conn *c)
{
    PGresult *res = pg_next(c);
    bool is_sync = PQresultStatus(res) == PGRES_PIPELINE_SYNC;
    if (res != NULL && !is_sync)
        pg_judge(c, res); /* the server may say in its place why it goes */
    PQclear(res);
    if (c->pq != NULL && !is_sync)
        return pgsql_conn_lose(c, "the answers of the server are out of step");
    return c->pq == NULL ? PG_LOST : PG_OK;
}

static PGresult *pgsql_conn_ask(struct pg_conn *c, const char *sql, const Oid *type,
                                const char *param)
{
    PGresult *res = NULL, *more;
    enum pg_fault fault = PG_OK;
    if (c->pq == NULL)
        return NULL;
    PQsendQueryParams(c->pq, sql, param != NULL ? 1 : 0, type, &param, NULL, NULL, 0);
    pg_sync(c);
    while ((more = pg_next(c)) != NULL) {
        enum pg_fault found = pg_judge(c, more);
        fault = fault == PG_OK ? found : fault;
        PQclear(res);
        res = more;
    }
    if (pg_synced(c) == PG_OK && fault == PG_OK)
        return res;
    PQclear(res);
    return NULL;
}

PGresult *pg_ask(struct pg_conn *c, const char *sql, const char *param)
{
    const Oid text = OID_TEXT;
    return pgsql_conn_ask(c, sql, &text, param);
}

PGresult *pg_ask_int(struct pg_conn *c, const char *sql, const char *decimal)
{
    const Oid int8 = OID_INT8;
    return pgsql_conn_ask(c, sql, &int8, decimal);
}

enum pg_fault pg_script(struct pg_conn *c, const char *sql)
{
    if (c->pq == NULL || PQexitPipelineMode(c->pq) == 0 || PQsetnonblocking(c->pq, 0) != 0)
        return pgsql_conn_lose(c, "the answers of the server are out of step");
    PGresult *res = PQexec(c->pq, sql);
    enum pg_fault fault = pg_judge(c, res);
    PQclear(res);
    if (c->pq != NULL && (PQsetnonblocking(c->pq, 1) != 0 || PQenterPipelineMode(c->pq) == 0))
        return pgsql_conn_lose(c, "the answers of the server are out of step");
    return fault;
}
