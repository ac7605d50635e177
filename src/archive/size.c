#include "archive/size.h"
#include "base/buf.h"

/* A message that is not counted yet is not subtracted: the reader will not see it any more. */
#define COUNTED "(SELECT position FROM reader WHERE name = 'archive-sizes')"
/* $4: the message, if it has an event */
#define LENGTH "($3 + coalesce((SELECT more FROM archive_event WHERE about = $4), 0))"

/* The conversation is that of the entry: in the message, the id of a deleted account is 0. */
struct store_stmt archive_size_drop_stmt = {
    .name = "archive-size.drop",
    .sql = "UPDATE archive_size SET bytes = CASE WHEN bytes > " LENGTH " THEN bytes - " LENGTH
           " ELSE 0 END WHERE owner = $1 AND peer = (SELECT peer FROM entry"
           " WHERE owner = $1 AND id = $2 AND (flags < 2 OR owner" ROOMS_SQL ")"
           " AND msg <= " COUNTED ")",
    .params = "iiii",
    .cols = "",
};
struct store_stmt archive_size_forget_stmt = {
    .name = "archive-size.forget",
    .sql = "DELETE FROM archive_size WHERE owner = $1",
    .params = "i",
    .cols = "",
};
void archive_size_drop(struct store_batch *b, const struct archive_line *m, int64_t owner,
                       int64_t entry)
{
    STORE_ADD(b, &archive_size_drop_stmt, STORE_ANY_ROWS, SV_I(owner), SV_I(entry),
              SV_I(m->stanza.len + ARCHIVE_ROW_BYTES),
              SV_I((m->flags & MESSAGE_RETRACTED) != 0 ? m->id : 0));
}

void archive_size_forget(struct store_batch *b, int64_t owner)
{
    STORE_ADD(b, &archive_size_forget_stmt, STORE_ANY_ROWS, SV_I(owner));
}

void archive_size_resize(struct buf *sql, const char *rows, int64_t bytes)
{
    buf_printf(sql,
               "WITH m AS MATERIALIZED (SELECT sender, sender_entry, rcpt, rcpt_entry FROM message"
               " WHERE id <= " COUNTED " AND %s)"
               " UPDATE archive_size SET bytes = archive_size.bytes + %lld * more.count FROM ("
               "SELECT e.owner, e.peer, count(*) AS count FROM (SELECT sender AS owner,"
               " sender_entry AS entry FROM m WHERE sender_entry <> 0 UNION ALL"
               " SELECT rcpt, rcpt_entry FROM m WHERE rcpt_entry <> 0) o"
               " JOIN entry e ON e.owner = o.owner AND e.id = o.entry WHERE (e.flags < 2"
               " OR e.owner" ROOMS_SQL ")"
               " GROUP BY e.owner, e.peer) AS more"
               " WHERE archive_size.owner = more.owner AND archive_size.peer = more.peer",
               rows, (long long)bytes);
}
