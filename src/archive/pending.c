#include "archive/pending.h"
#include "archive/archive.h"
#include "base/ensure.h"

#define SQLITE_DOMAIN PENDING_DOMAIN("instr")
#define PGSQL_DOMAIN  PENDING_DOMAIN("strpos")

/* As the index has it, so that the databases find it. */
#define ONE(domain)                                                                                \
    " WHERE " domain " = $1 AND sender = $2 AND pending_out = $3 AND pending_out <> 0"

#define BEHIND(domain, order)                                                                      \
    "SELECT m.sender, m.pending_out, m.at_us, m.flags, m.sender_entry, m.stanza, a.jid"            \
    " FROM message m LEFT JOIN account a ON a.id = m.sender WHERE m.id IN (SELECT id FROM message" \
    " WHERE " domain " = $1 AND (sender, pending_out) > ($2, $3) AND pending_out <> 0" order       \
    " ORDER BY sender, pending_out LIMIT $4) ORDER BY m.sender, m.pending_out"
struct store_stmt pending_page_stmt = {
    .name = "pending.page",
    .sqlite = BEHIND(SQLITE_DOMAIN, ""),
    .pgsql = BEHIND(PGSQL_DOMAIN, ""),
    .params = "tiii",
    .cols = "iiiiitT",
};
struct store_stmt pending_old_stmt = {
    .name = "pending.old",
    .sqlite = BEHIND(SQLITE_DOMAIN, " AND at_us < $5"),
    .pgsql = BEHIND(PGSQL_DOMAIN, " AND at_us < $5"),
    .params = "tiiii",
    .cols = "iiiiitT",
};
/* A sender that is no account has its address in its messages. */
#define PAIRS(domain)                                                                              \
    "SELECT p.domain, p.sender, a.jid, CASE WHEN a.jid IS NULL THEN"                               \
    " (SELECT m.stanza FROM message m WHERE m.pending_out <> 0 AND m.sender = p.sender AND"        \
    " " domain " = p.domain LIMIT 1) END FROM (SELECT DISTINCT " domain " AS domain, sender"       \
    " FROM message WHERE pending_out <> 0 AND (" domain ", sender) > ($1, $2)"                     \
    " ORDER BY 1, 2 LIMIT $3) p LEFT JOIN account a ON a.id = p.sender ORDER BY 1, 2"
struct store_stmt pending_pairs_stmt = {
    .name = "pending.pairs",
    .sqlite = PAIRS(SQLITE_DOMAIN),
    .pgsql = PAIRS(PGSQL_DOMAIN),
    .params = "tii",
    .cols = "tiTT",
};
#define COUNTED(domain)                                                                            \
    "SELECT count(*) FROM (SELECT 1 FROM message WHERE " domain " = $1 AND pending_out <> 0"       \
    " LIMIT $2) counted"
struct store_stmt pending_total_stmt = {
    .name = "pending.total",
    .sqlite = COUNTED(SQLITE_DOMAIN),
    .pgsql = COUNTED(PGSQL_DOMAIN),
    .params = "ti",
    .cols = "i",
};
#define TOTALS(domain)                                                                             \
    "SELECT d, count(*) FROM (SELECT " domain " AS d FROM message WHERE pending_out <> 0"          \
    " LIMIT $1) counted GROUP BY d ORDER BY d"
struct store_stmt pending_totals_stmt = {
    .name = "pending.totals",
    .sqlite = TOTALS(SQLITE_DOMAIN),
    .pgsql = TOTALS(PGSQL_DOMAIN),
    .params = "i",
    .cols = "ti",
};
struct store_stmt pending_all_stmt = {
    .name = "pending.all",
    .sql = "SELECT count(*) FROM (SELECT 1 FROM message WHERE pending_out <> 0 LIMIT $1) counted",
    .params = "i",
    .cols = "i",
};
struct store_stmt pending_has_stmt = {
    .name = "pending.has",
    .sqlite = "SELECT 1 FROM message" ONE(SQLITE_DOMAIN),
    .pgsql = "SELECT 1 FROM message" ONE(PGSQL_DOMAIN),
    .params = "tii",
    .cols = "i",
};
struct store_stmt pending_claim_stmt = {
    .name = "pending.claim",
    .sqlite = "UPDATE message SET at_us = at_us" ONE(SQLITE_DOMAIN),
    .pgsql = "UPDATE message SET at_us = at_us" ONE(PGSQL_DOMAIN),
    .params = "tii",
    .cols = "",
};
/* By its id: then SQLite knows that at most one row changes, and keeps no copy of the pages to undo
 * a statement that fails midway. These copies took as long as all else that a message costs. */
struct store_stmt pending_settle_stmt = {
    .name = "pending.settle",
    .sqlite = "UPDATE message SET pending_out = 0 WHERE id = (SELECT id FROM message" ONE(
        SQLITE_DOMAIN) ")",
    .pgsql = "UPDATE message SET pending_out = 0" ONE(PGSQL_DOMAIN),
    .params = "tii",
    .cols = "",
};
/* The newest row of the log stays, without its text: ids are not given twice. */
#define NOBODYS " AND sender_entry = 0 AND rcpt_entry = 0"
#define OLDER   NOBODYS " AND id < (SELECT max(id) FROM message)"
#define EMPTIED "UPDATE message SET pending_out = 0, stanza = '', remote = NULL"
struct store_stmt pending_delete_stmt = {
    .name = "pending.delete",
    .sqlite = "DELETE FROM message" ONE(SQLITE_DOMAIN) OLDER,
    .pgsql = "DELETE FROM message" ONE(PGSQL_DOMAIN) OLDER,
    .params = "tii",
    .cols = "",
};
struct store_stmt pending_empty_stmt = {
    .name = "pending.empty",
    .sqlite = EMPTIED ONE(SQLITE_DOMAIN) NOBODYS,
    .pgsql = EMPTIED ONE(PGSQL_DOMAIN) NOBODYS,
    .params = "tii",
    .cols = "",
};
struct store_stmt pending_forget_stmt = {
    .name = "pending.forget",
    .sql = "UPDATE message SET pending_out = 0, stanza = CASE WHEN sender_entry = 0 THEN ''"
           " ELSE stanza END WHERE pending_out <> 0 AND sender = $1",
    .params = "i",
    .cols = "",
};

struct store_stmt pending_count_stmt = {
    .name = "pending.count",
    .sqlite = "SELECT count(*) FROM (SELECT 1 FROM message WHERE " SQLITE_DOMAIN
              " = $1 AND sender = $2 AND pending_out <> 0 AND pending_out < $4 LIMIT $3) w",
    .pgsql = "SELECT count(*) FROM (SELECT 1 FROM message WHERE " PGSQL_DOMAIN
             " = $1 AND sender = $2 AND pending_out <> 0 AND pending_out < $4 LIMIT $3) w",
    .params = "tiii",
    .cols = "i",
};
/* By their index. Others may be deleting the same ones. */
#define SWEEP(skip)                                                                                \
    "DELETE FROM message WHERE id IN (SELECT id FROM message WHERE stanza = ''"                    \
    " AND pending_out = 0" OLDER " ORDER BY id LIMIT $1" skip ")"
struct store_stmt pending_sweep_stmt = {
    .name = "pending.sweep",
    .sqlite = SWEEP(""),
    .pgsql = SWEEP(" FOR UPDATE SKIP LOCKED"),
    .params = "i",
    .cols = "",
};

void archive_pending_read(struct store_batch *b, slice domain, int64_t sender, uint64_t id,
                          uint64_t before_us)
{
    if (before_us == UINT64_MAX)
        STORE_ADD(b, &pending_page_stmt, STORE_ANY_ROWS, SV_T(domain), SV_I(sender), SV_I(id),
                  SV_I(PENDING_PAGE));
    else
        STORE_ADD(b, &pending_old_stmt, STORE_ANY_ROWS, SV_T(domain), SV_I(sender), SV_I(id),
                  SV_I(PENDING_PAGE), SV_I(before_us));
}

struct archive_pending archive_pending_of(const struct store_batch *b, uint32_t row)
{
    return (struct archive_pending){
        .sender = store_int(b, 0, row, 0),
        .id = (uint64_t)store_int(b, 0, row, 1),
        .at_us = (uint64_t)store_int(b, 0, row, 2),
        .taken_back = (store_int(b, 0, row, 3) & MESSAGE_RETRACTED) != 0,
        .unshown = store_int(b, 0, row, 4) == 0,
        .stanza = store_text(b, 0, row, 5),
        .from = store_text(b, 0, row, 6),
    };
}

void archive_pending_pairs(struct store_batch *b, slice domain, int64_t sender)
{
    STORE_ADD(b, &pending_pairs_stmt, STORE_ANY_ROWS, SV_T(domain), SV_I(sender),
              SV_I(PENDING_PAGE));
}

struct archive_pending_pair archive_pending_pair_of(const struct store_batch *b, uint32_t row)
{
    return (struct archive_pending_pair){ .domain = store_text(b, 0, row, 0),
                                          .sender = store_int(b, 0, row, 1),
                                          .from = store_text(b, 0, row, 2),
                                          .stanza = store_text(b, 0, row, 3) };
}

void archive_pending_total(struct store_batch *b, slice domain, int64_t max)
{
    STORE_ADD(b, &pending_total_stmt, 1, SV_T(domain), SV_I(max));
}

void archive_pending_all(struct store_batch *b, int64_t max)
{
    ensure(max > 0);
    STORE_ADD(b, &pending_all_stmt, 1, SV_I(max));
}

void archive_pending_totals(struct store_batch *b, int64_t max)
{
    STORE_ADD(b, &pending_totals_stmt, STORE_ANY_ROWS, SV_I(max));
}

void archive_pending_has(struct store_batch *b, slice domain, int64_t sender, uint64_t id)
{
    STORE_ADD(b, &pending_has_stmt, STORE_ANY_ROWS, SV_T(domain), SV_I(sender), SV_I(id));
}

unsigned archive_pending_settle(struct store_batch *b, slice domain, int64_t sender, uint64_t id,
                                bool unshown, bool once)
{
    unsigned claims = once ? 1 : 0;
    if (once)
        STORE_ADD(b, &pending_claim_stmt, 1, SV_T(domain), SV_I(sender), SV_I(id));
    if (!unshown) {
        STORE_ADD(b, &pending_settle_stmt, STORE_ANY_ROWS, SV_T(domain), SV_I(sender), SV_I(id));
        return claims + 1;
    }
    STORE_ADD(b, &pending_delete_stmt, STORE_ANY_ROWS, SV_T(domain), SV_I(sender), SV_I(id));
    STORE_ADD(b, &pending_empty_stmt, STORE_ANY_ROWS, SV_T(domain), SV_I(sender), SV_I(id));
    return claims + 2;
}

void archive_pending_count(struct store_batch *b, slice domain, int64_t sender, uint64_t before,
                           uint32_t max)
{
    ensure(before <= INT64_MAX && sender > 0);
    STORE_ADD(b, &pending_count_stmt, STORE_ANY_ROWS, SV_T(domain), SV_I(sender), SV_I(max),
              SV_I(before));
}

int64_t archive_pending_count_of(const struct store_batch *b) { return store_int(b, 0, 0, 0); }

void archive_pending_sweep(struct store_batch *b)
{
    STORE_ADD(b, &pending_sweep_stmt, STORE_ANY_ROWS, SV_I(PENDING_SWEPT));
}

void archive_pending_forget(struct store_batch *b, int64_t sender)
{
    STORE_ADD(b, &pending_forget_stmt, STORE_ANY_ROWS, SV_I(sender));
}
