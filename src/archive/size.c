#include "archive/size.h"

/* A message that is not counted yet is not subtracted: the reader will not see it any more. */
#define COUNTED "(SELECT position FROM reader WHERE name = 'archive-sizes')"
#define LESS    "bytes = CASE WHEN bytes > $3 THEN bytes - $3 ELSE 0 END"

/* The conversation is that of the entry: in the message, the id of a deleted account is 0. */
struct store_stmt archive_size_drop_stmt = {
    .name = "archive-size.drop",
    .sql = "UPDATE archive_size SET " LESS " WHERE owner = $1 AND peer = (SELECT peer FROM entry"
           " WHERE owner = $1 AND id = $2 AND flags < 2 AND msg <= " COUNTED ")",
    .params = "iii",
    .cols = "",
};
struct store_stmt archive_size_change_stmt = {
    .name = "archive-size.change",
    .sql = "UPDATE archive_size SET " LESS " WHERE owner = $1 AND peer = $2 AND $4 <= " COUNTED,
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
              SV_I(m->stanza.len + ARCHIVE_ROW_BYTES));
}

void archive_size_change(struct store_batch *b, const struct archive_line *m, size_t len)
{
    int64_t less = (int64_t)m->stanza.len - (int64_t)len;
    if (m->rcpt_entry != 0 && (m->flags & ENTRY_HIDDEN) == 0)
        STORE_ADD(b, &archive_size_change_stmt, STORE_ANY_ROWS, SV_I(m->rcpt), SV_I(m->sender),
                  SV_I(less), SV_I(m->id));
    if (m->sender_entry != 0)
        STORE_ADD(b, &archive_size_change_stmt, STORE_ANY_ROWS, SV_I(m->sender), SV_I(m->rcpt),
                  SV_I(less), SV_I(m->id));
}

void archive_size_forget(struct store_batch *b, int64_t owner)
{
    STORE_ADD(b, &archive_size_forget_stmt, STORE_ANY_ROWS, SV_I(owner));
}
