#include "base/ensure.h"
#include "base/log.h"
#include "store/store_pgsql.h"
#include <endian.h>
#include <stdio.h>

enum { SQL_BYTES_MAX = 64 << 10, NAME_BYTES = 32 };

struct args {
    const char *values[STORE_PARAMS_MAX];
    int lengths[STORE_PARAMS_MAX], formats[STORE_PARAMS_MAX];
    uint64_t ints[STORE_PARAMS_MAX];
    int count;
    uint32_t last;
};

static const char *pgsql_stmt_text_of(const struct store_stmt *stmt)
{
    return stmt->sql != NULL ? stmt->sql : stmt->pgsql;
}

static int pgsql_stmt_type_of(char letter)
{
    switch (letter) {
    case 'i':
    case 'I':
        return OID_INT8;
    case 'b':
    case 'B':
        return OID_BYTEA;
    default:
        return OID_TEXT;
    }
}

/* The id that the last INSERT gave is not known here while the batch is being sent, but the server
 * knows it. As a subquery it is looked at once, and an index can be used. */
static void put_last(struct buf *out, const char *sql, uint32_t last)
{
    const char *begin, *end;
    unsigned number;
    while ((end = store_param_next(sql, &begin, &number)) != NULL) {
        if (number <= STORE_PARAMS_MAX && (last & UINT32_C(1) << (number - 1)) != 0) {
            buf_append(out, sql, (size_t)(begin - sql));
            buf_lit(out, "(SELECT lastval())");
        } else {
            buf_append(out, sql, (size_t)(end - sql));
        }
        sql = end;
    }
    buf_append(out, sql, strlen(sql) + 1);
}

static void plan_name(char out[NAME_BYTES], struct pg_plan plan)
{
    snprintf(out, NAME_BYTES, "s%u_%x", plan.id, plan.last);
}

static int types_of(Oid types[STORE_PARAMS_MAX], const struct store_stmt *stmt)
{
    int count = (int)strlen(stmt->params);
    for (int i = 0; i < count; i++)
        types[i] = (Oid)pgsql_stmt_type_of(stmt->params[i]);
    return count;
}

static void ask_plan(struct pg_conn *c, const char *name, const struct store_stmt *stmt,
                     uint32_t last)
{
    struct buf sql;
    Oid types[STORE_PARAMS_MAX];
    int count = types_of(types, stmt);
    buf_init(&sql, SQL_BYTES_MAX);
    put_last(&sql, pgsql_stmt_text_of(stmt), last);
    if (c->pq != NULL && !sql.overflow)
        PQsendPrepare(c->pq, name, sql.ptr, count, types);
    buf_fini(&sql);
}

/* Where the plan is among the sorted ones, or would be. */
static size_t pgsql_stmt_place_of(const struct buf *plans, struct pg_plan plan)
{
    size_t low = 0, high = plans->len / sizeof plan;
    while (low < high) {
        size_t mid = (low + high) / 2;
        struct pg_plan at;
        memcpy(&at, plans->ptr + mid * sizeof at, sizeof at);
        if (at.id < plan.id || (at.id == plan.id && at.last < plan.last))
            low = mid + 1;
        else
            high = mid;
    }
    return low * sizeof plan;
}

static bool has_plan(const struct buf *plans, struct pg_plan plan)
{
    size_t at = pgsql_stmt_place_of(plans, plan);
    return at < plans->len && memcmp(plans->ptr + at, &plan, sizeof plan) == 0;
}

static void add_plan(struct buf *plans, struct pg_plan plan)
{
    size_t at = pgsql_stmt_place_of(plans, plan);
    if (buf_reserve(plans, sizeof plan) == NULL)
        return;
    memmove(plans->ptr + at + sizeof plan, plans->ptr + at, plans->len - at);
    memcpy(plans->ptr + at, &plan, sizeof plan);
    plans->len += sizeof plan;
}

static const char *skip_values(const char *at, uint32_t count)
{
    struct store_val v;
    while (count-- > 0)
        at = batch_unpack(at, &v);
    return at;
}

/* Which of the next values are SV_LAST. */
static uint32_t pgsql_stmt_last_of(const char *at, uint32_t count)
{
    uint32_t last = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct store_val v;
        at = batch_unpack(at, &v);
        if (v.type == STORE_LAST)
            last |= UINT32_C(1) << i;
    }
    return last;
}

bool pg_uses_last(const struct store_batch *b, const struct store_part *part)
{
    return pgsql_stmt_last_of(b->data + part->at, part->value_count) != 0;
}

static bool pgsql_stmt_is_asked(const struct buf *asked, struct pg_plan plan)
{
    for (size_t at = 0; at < asked->len; at += sizeof plan)
        if (memcmp(asked->ptr + at, &plan, sizeof plan) == 0)
            return true;
    return false;
}

/* Each with a sync of its own: one that fails is no trouble for the others. */
static void want_plan(struct pg_conn *c, const struct store_stmt *stmt, uint32_t last)
{
    struct pg_plan plan = { stmt->id, last };
    char name[NAME_BYTES];
    if (has_plan(&c->prepared, plan) || pgsql_stmt_is_asked(&c->asked, plan))
        return;
    plan_name(name, plan);
    ask_plan(c, name, stmt, last);
    pg_sync(c);
    buf_append(&c->asked, &plan, sizeof plan);
}

static void want_plans_of(struct pg_conn *c, const struct store_batch *b)
{
    const struct store_late *late = c->db->store->late;
    for (uint32_t i = 0; i < b->part_count; i++) {
        const struct store_part *part = &b->parts[i];
        const char *at = b->data + part->at;
        want_plan(c, part->stmt, pgsql_stmt_last_of(at, part->value_count));
        at = skip_values(at, part->value_count);
        for (uint32_t n = 0; n < part->late_count; n++) {
            uint32_t width = (uint32_t)strlen(late->insert->params);
            want_plan(c, late->insert, pgsql_stmt_last_of(at, width));
            at = skip_values(at, width);
        }
    }
}

static void note_plan_fault(struct pg_conn *c, enum pg_fault fault)
{
    c->plan_fault = fault;
    memcpy(c->plan_state, c->state, sizeof c->plan_state);
    memcpy(c->plan_text, c->text, sizeof c->plan_text);
}

/* A statement that does not prepare (a table is locked, or was dropped by hand) fails its batch
 * when it runs, and is tried again by the next. */
static enum pg_fault end_plans(struct pg_conn *c)
{
    enum pg_fault lost = PG_OK;
    c->plan_fault = PG_OK;
    for (size_t at = 0; lost == PG_OK && at < c->asked.len; at += sizeof(struct pg_plan)) {
        struct pg_plan plan;
        memcpy(&plan, c->asked.ptr + at, sizeof plan);
        enum pg_fault fault = pg_end(c);
        if (fault == PG_OK)
            add_plan(&c->prepared, plan);
        else
            note_plan_fault(c, fault);
        if (fault != PG_OK)
            log_warn(&log_store, LOG_EV("store.not-prepared"), LOG_C("code", c->state),
                     LOG_C("text", c->text),
                     LOG_C("hint", "PostgreSQL refuses a statement; look at its log"));
        lost = pg_synced(c);
    }
    buf_clear(&c->asked);
    return lost;
}

enum pg_fault pg_prepare(struct pg_conn *c, const struct store_batch *first)
{
    enum store_kind kind = c->role == PG_WRITES ? BATCH_WRITE : BATCH_READ;
    for (const struct store_batch *b = first; b != NULL; b = b->next)
        if (b->kind == kind)
            want_plans_of(c, b);
    return end_plans(c);
}

enum pg_fault pg_prepare_plain(struct pg_conn *c, const struct store_stmt *stmt)
{
    want_plan(c, stmt, 0);
    return end_plans(c);
}

enum pg_fault pg_explain(struct pg_conn *c, const struct store_stmt *stmt)
{
    static const char *const none[STORE_PARAMS_MAX];
    Oid types[STORE_PARAMS_MAX];
    struct buf sql;
    int count = types_of(types, stmt);
    buf_init(&sql, SQL_BYTES_MAX);
    buf_lit(&sql, "EXPLAIN ");
    put_last(&sql, pgsql_stmt_text_of(stmt), 0);
    if (c->pq != NULL && !sql.overflow)
        PQsendQueryParams(c->pq, sql.ptr, count, types, none, NULL, NULL, 0);
    buf_fini(&sql);
    pg_sync(c);
    enum pg_fault fault = pg_end(c), lost = pg_synced(c);
    return lost != PG_OK ? lost : fault;
}

static void pgsql_stmt_add_value(struct args *a, const struct store_val *v)
{
    int i = a->count++;
    a->values[i] = NULL;
    a->lengths[i] = 0;
    a->formats[i] = 1;
    if (v->type == STORE_INT) {
        a->ints[i] = htobe64((uint64_t)v->num);
        a->values[i] = (const char *)&a->ints[i];
        a->lengths[i] = sizeof a->ints[i];
    } else if (v->type == STORE_TEXT || v->type == STORE_BLOB) {
        a->values[i] = v->bytes.ptr;
        a->lengths[i] = (int)v->bytes.len;
    } else if (v->type == STORE_LAST) {
        a->last |= UINT32_C(1) << i;
    }
}

/* Sends the statement with the next values; returns what is behind them. */
static const char *send_values(struct pg_conn *c, const struct store_stmt *stmt, const char *at,
                               uint32_t count)
{
    struct args a;
    char name[NAME_BYTES];
    a.count = 0;
    a.last = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct store_val v;
        at = batch_unpack(at, &v);
        pgsql_stmt_add_value(&a, &v);
    }
    plan_name(name, (struct pg_plan){ stmt->id, a.last });
    if (c->pq != NULL)
        PQsendQueryPrepared(c->pq, name, a.count, a.values, a.lengths, a.formats, 1);
    return at;
}

void pg_send_row(struct pg_conn *c, const struct store_stmt *stmt, const PGresult *res, int row)
{
    const char *values[STORE_PARAMS_MAX];
    char name[NAME_BYTES];
    int count = (int)strlen(stmt->params);
    for (int i = 0; i < count; i++)
        values[i] = PQgetisnull(res, row, i + 1) ? NULL : PQgetvalue(res, row, i + 1);
    plan_name(name, (struct pg_plan){ stmt->id, 0 });
    if (c->pq != NULL)
        PQsendQueryPrepared(c->pq, name, count, values, NULL, NULL, 0);
}

void pg_send_part(struct pg_conn *c, const struct store_batch *b, const struct store_part *part)
{
    send_values(c, part->stmt, b->data + part->at, part->value_count);
}

void pg_send_late(struct pg_conn *c, const struct store_batch *b, const struct store_part *part)
{
    const struct store_stmt *insert = c->db->store->late->insert;
    const char *at = skip_values(b->data + part->at, part->value_count);
    for (uint32_t n = 0; n < part->late_count; n++)
        at = send_values(c, insert, at, (uint32_t)strlen(insert->params));
}

static int64_t int_of(const char *bytes, int len)
{
    uint64_t n = 0;
    for (int i = 0; i < len && i < 8; i++)
        n = n << 8 | (unsigned char)bytes[i];
    if (len == 2)
        return (int16_t)n;
    return len == 4 ? (int32_t)n : (int64_t)n;
}

static void pgsql_stmt_add_row(struct store_batch *b, struct store_part *part, const PGresult *res,
                               int row)
{
    int cols = PQnfields(res);
    for (int i = 0; i < cols; i++) {
        const char *bytes = PQgetvalue(res, row, i);
        int len = PQgetlength(res, row, i);
        if (PQgetisnull(res, row, i))
            batch_add_null(b);
        else if (part->stmt->cols[i] == 'i' || part->stmt->cols[i] == 'I')
            batch_add_int(b, int_of(bytes, len));
        else
            batch_add_bytes(b, PQftype(res, i) == OID_BYTEA ? STORE_BLOB : STORE_TEXT, bytes,
                            (size_t)len);
    }
    part->row_count++;
}

static int64_t changed_by(PGresult *res)
{
    int64_t changed = 0;
    if (strncmp(PQcmdStatus(res), "SELECT", 6) == 0 ||
        !slice_int(slice_of(PQcmdTuples(res)), &changed))
        return 0;
    return changed;
}

/* Rows come one by one: a result that is too large is not gathered first. */
enum pg_fault pg_end_part(struct pg_conn *c, struct store_batch *b, struct store_part *part)
{
    enum pg_fault fault = PG_OK;
    PGresult *res;
    int cols = (int)strlen(part->stmt->cols);
    batch_begin_rows(b, part);
    part->changed = 0;
    if (cols > 0 && c->pq != NULL)
        PQsetSingleRowMode(c->pq);
    while ((res = pg_next(c)) != NULL) {
        enum pg_fault found = pg_judge(c, res);
        fault = fault == PG_OK ? found : fault;
        int rows = found == PG_OK && PQnfields(res) == cols ? PQntuples(res) : 0;
        for (int row = 0; row < rows && !batch_result_overflow(b); row++)
            pgsql_stmt_add_row(b, part, res, row);
        if (PQresultStatus(res) != PGRES_SINGLE_TUPLE && found == PG_OK)
            part->changed = changed_by(res);
        PQclear(res);
    }
    if (c->pq == NULL)
        return PG_LOST;
    if (fault == PG_OK && batch_result_overflow(b))
        return pg_fail(c, PG_REFUSED, "the result is too large");
    return fault;
}

static bool pgsql_stmt_fits(Oid type, char letter)
{
    switch (letter) {
    case 'i':
    case 'I':
        return type == OID_INT8 || type == OID_INT4 || type == OID_INT2 || type == OID_BOOL;
    case 'b':
    case 'B':
        return type == OID_BYTEA;
    default:
        return type == OID_TEXT || type == OID_VARCHAR || type == OID_BPCHAR || type == OID_NAME;
    }
}

static enum err check_params(const struct store_stmt *stmt, struct why *why)
{
    const char *begin, *at = pgsql_stmt_text_of(stmt);
    uint32_t seen = 0;
    unsigned number;
    if (at == NULL) {
        why_set(why, "statement %s does not prepare: no text for PostgreSQL", stmt->name);
        return E_SYNTAX;
    }
    while ((at = store_param_next(at, &begin, &number)) != NULL) {
        if (number > strlen(stmt->params)) {
            why_set(why, "statement %s: parameter $%u is used but not declared", stmt->name,
                    number);
            return E_SYNTAX;
        }
        seen |= UINT32_C(1) << (number - 1);
    }
    for (size_t i = 0; stmt->params[i] != '\0'; i++) {
        if ((seen & UINT32_C(1) << i) != 0)
            continue;
        why_set(why, "statement %s: parameter $%zu is declared but not used", stmt->name, i + 1);
        return E_SYNTAX;
    }
    return OK;
}

static enum err check_columns(const struct store_stmt *stmt, const PGresult *res, struct why *why)
{
    int cols = (int)strlen(stmt->cols);
    if (PQnfields(res) != cols) {
        why_set(why, "statement %s: %d columns are declared, PostgreSQL sees %d", stmt->name, cols,
                PQnfields(res));
        return E_SYNTAX;
    }
    for (int i = 0; i < cols; i++) {
        if (pgsql_stmt_fits(PQftype(res, i), stmt->cols[i]))
            continue;
        why_set(why, "statement %s: column %d is declared as %c, PostgreSQL sees type %u (%s)",
                stmt->name, i + 1, stmt->cols[i], PQftype(res, i), PQfname(res, i));
        return E_SYNTAX;
    }
    return OK;
}

static enum err check_one(struct pg_conn *c, const struct store_stmt *stmt, struct why *why)
{
    enum err e = OK;
    PGresult *res;
    enum pg_fault fault = pg_end(c);
    if (fault == PG_REFUSED || fault == PG_DENIED || fault == PG_BROKEN) {
        why_set(why, "statement %s does not prepare: %s", stmt->name, c->text);
        e = E_SYNTAX;
    }
    while ((res = pg_next(c)) != NULL) {
        if (e == OK && fault == PG_OK && PQresultStatus(res) == PGRES_COMMAND_OK)
            e = check_columns(stmt, res, why);
        PQclear(res);
    }
    return e;
}

/* In one go, so that hundreds of statements cost one round trip. */
enum err pg_check_all(struct pg_conn *c, struct why *why)
{
    const struct store *store = c->db->store;
    enum err e = OK;
    for (uint32_t i = 0; e == OK && i < store->stmt_count; i++)
        e = check_params(store->stmts[i], why);
    if (e != OK)
        return e;
    for (uint32_t i = 0; i < store->stmt_count && c->pq != NULL; i++) {
        ask_plan(c, "", store->stmts[i], 0);
        PQsendDescribePrepared(c->pq, "");
    }
    pg_sync(c);
    for (uint32_t i = 0; i < store->stmt_count; i++) {
        struct why mine = { "" };
        enum err found = check_one(c, store->stmts[i], &mine);
        if (e == OK && found != OK) {
            e = found;
            *why = mine;
        }
    }
    if (pg_synced(c) == PG_OK)
        return e;
    why_set(why, "database %s: the connection is lost: %s", c->db->name, c->text);
    return E_IO;
}
