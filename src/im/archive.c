#include "im/archive.h"
#include "im/archive_words.h"

/* The newest row is never deleted, so that ids are not given twice and the log's reader stays
 * right. */
static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE message(id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, sender INTEGER NOT "
      "NULL,"
      " rcpt INTEGER NOT NULL, sender_entry INTEGER NOT NULL, rcpt_entry INTEGER NOT NULL,"
      " flags INTEGER NOT NULL, origin INTEGER NOT NULL, remote TEXT, pending_out INTEGER NOT NULL,"
      " stanza TEXT NOT NULL);"
      "CREATE TABLE entry(owner INTEGER NOT NULL, id INTEGER NOT NULL, peer INTEGER NOT NULL,"
      " msg INTEGER NOT NULL, flags INTEGER NOT NULL, PRIMARY KEY(owner, id)) WITHOUT ROWID;"
      "CREATE INDEX entry_peer ON entry(owner, peer, id);"
      "CREATE TABLE mailbox(owner INTEGER PRIMARY KEY, cursor INTEGER NOT NULL);"
      "CREATE TABLE reserved(name TEXT PRIMARY KEY, value INTEGER NOT NULL);",
      NULL },
    { 2,
      "CREATE TABLE former(jid TEXT NOT NULL, id INTEGER NOT NULL, PRIMARY KEY(jid, id))"
      " WITHOUT ROWID",
      "CREATE TABLE former(jid TEXT NOT NULL, id BIGINT NOT NULL, PRIMARY KEY(jid, id))" },
    { 3, "ALTER TABLE mailbox ADD COLUMN settled BLOB", NULL },
    { 0 }
};

struct store_stmt archive_put = {
    .name = "archive.put",
    .sql =
        "INSERT INTO message(at_us, sender, rcpt, sender_entry, rcpt_entry, flags, origin, remote,"
        " pending_out, stanza) VALUES($1, $2, $3, $4, $5, $6, $7, $8, 0, $9)",
    .params = "iiiiiiiTt",
    .cols = "",
};
static struct store_stmt entry_put = {
    .name = "archive.entry",
    .sql = "INSERT INTO entry(owner, id, peer, msg, flags) VALUES($1, $2, $3, $4, $5)"
           " ON CONFLICT DO NOTHING",
    .params = "iiiii",
    .cols = "",
};
struct store_stmt archive_cursor_put = {
    .name = "archive.cursor",
    .sql = "INSERT INTO mailbox(owner, cursor, settled) VALUES($1, $2, $3) ON CONFLICT(owner)"
           " DO UPDATE SET cursor = excluded.cursor, settled = excluded.settled",
    .params = "iiB",
    .cols = "",
};
struct store_stmt archive_load = {
    .name = "archive.load",
    .sql = "SELECT coalesce((SELECT cursor FROM mailbox WHERE owner = $1), 0),"
           " coalesce((SELECT max(id) FROM entry WHERE owner = $1), 0),"
           " (SELECT settled FROM mailbox WHERE owner = $1)",
    .params = "i",
    .cols = "iiB",
};
struct store_stmt archive_open = {
    .name = "archive.open",
    .sql =
        "SELECT id, flags FROM entry WHERE owner = $1 AND id >"
        " coalesce((SELECT cursor FROM mailbox WHERE owner = $1), 0) AND flags % 2 = 1 ORDER BY id",
    .params = "i",
    .cols = "ii",
};
/* Origins of what came, and of what was sent with the address it was sent to. Bounded by the
 * entries looked at, not only by the hits: a busy account has thousands in ten minutes. */
struct store_stmt archive_recent = {
    .name = "archive.recent",
    .sql = "SELECT m.origin, e.id, CASE WHEN m.rcpt = $1 THEN NULL ELSE"
           " coalesce((SELECT jid FROM account WHERE id = m.rcpt), m.remote) END FROM (SELECT id,"
           " msg FROM entry WHERE owner = $1 AND id > $2 ORDER BY id DESC LIMIT 256) e"
           " JOIN message m ON m.id = e.msg WHERE m.origin <> 0 ORDER BY m.id DESC",
    .params = "ii",
    .cols = "iiT",
};
struct store_stmt archive_has = {
    .name = "archive.has",
    .sql = "SELECT 1 FROM entry WHERE owner = $1 AND id = $2",
    .params = "ii",
    .cols = "i",
};
struct store_stmt archive_row = {
    .name = "archive.row",
    .sql = "SELECT e.id, m.at_us, m.stanza FROM entry e JOIN message m ON m.id = e.msg"
           " WHERE e.owner = $1 AND e.id = $2",
    .params = "ii",
    .cols = "iit",
};
struct store_stmt archive_page = {
    .name = "archive.page",
    .sql = "SELECT e.id, m.at_us, m.stanza FROM entry e JOIN message m ON m.id = e.msg"
           " WHERE e.owner = $1 AND e.id > $2 AND e.flags % 2 = 1 ORDER BY e.id LIMIT $3",
    .params = "iii",
    .cols = "iit",
};
struct store_stmt archive_reserve = {
    .name = "archive.reserve",
    .sql = "INSERT INTO reserved(name, value) VALUES('ids', $1)"
           " ON CONFLICT(name) DO UPDATE SET value = excluded.value",
    .params = "i",
    .cols = "",
};
struct store_stmt archive_reserved = {
    .name = "archive.reserved",
    .sql = "SELECT value FROM reserved WHERE name = 'ids'",
    .params = "",
    .cols = "i",
};
/* The secret of archive ids (xmpp/archive_id.h), drawn once. */
struct store_stmt archive_key = {
    .name = "archive.key",
    .sql = "SELECT value FROM reserved WHERE name IN ('id-key-0', 'id-key-1') ORDER BY name",
    .params = "",
    .cols = "i",
};
struct store_stmt archive_key_put = {
    .name = "archive.key-put",
    .sql = "INSERT INTO reserved(name, value) VALUES('id-key-0', $1), ('id-key-1', $2)"
           " ON CONFLICT(name) DO NOTHING",
    .params = "ii",
    .cols = "",
};

/* Removal, in this order: messages nobody else has an entry of (which they say themselves: rows of
 * the index may be late); our side of the others; our
 * entries. */
static struct store_stmt remove_messages = {
    .name = "archive.remove-messages",
    .sql = "DELETE FROM message WHERE id IN (SELECT msg FROM entry WHERE owner = $1)"
           " AND id < (SELECT max(id) FROM message) AND (sender = $1 OR sender_entry = 0)"
           " AND (rcpt = $1 OR rcpt_entry = 0)",
    .params = "i",
    .cols = "",
};
static struct store_stmt remove_sent = {
    .name = "archive.remove-sent",
    .sql = "UPDATE message SET sender = 0, sender_entry = 0 WHERE sender = $1"
           " AND id IN (SELECT msg FROM entry WHERE owner = $1)",
    .params = "i",
    .cols = "",
};
static struct store_stmt remove_received = {
    .name = "archive.remove-received",
    .sql = "UPDATE message SET rcpt = 0, rcpt_entry = 0 WHERE rcpt = $1"
           " AND id IN (SELECT msg FROM entry WHERE owner = $1)",
    .params = "i",
    .cols = "",
};
static struct store_stmt remove_last = {
    .name = "archive.remove-last",
    .sql = "UPDATE message SET stanza = '' WHERE id = (SELECT max(id) FROM message)"
           " AND sender_entry = 0 AND rcpt_entry = 0",
    .params = "",
    .cols = "",
};
static struct store_stmt remove_entries = {
    .name = "archive.remove-entries",
    .sql = "DELETE FROM entry WHERE owner = $1",
    .params = "i",
    .cols = "",
};
static struct store_stmt remove_mailbox = {
    .name = "archive.remove-mailbox",
    .sql = "DELETE FROM mailbox WHERE owner = $1",
    .params = "i",
    .cols = "",
};

static struct store_stmt remember_former = {
    .name = "archive.former",
    .sql = "INSERT INTO former(jid, id) VALUES($2, $1) ON CONFLICT DO NOTHING",
    .params = "it",
    .cols = "",
};

/* Hidden entries, in the same order. */
#define HIDDEN "(SELECT msg FROM entry WHERE owner = $1 AND id > $2 AND id <= $3 AND flags >= 2)"
static struct store_stmt hidden_messages = {
    .name = "archive.hidden-messages",
    .sql = "DELETE FROM message WHERE id IN " HIDDEN
           " AND sender_entry = 0 AND id < (SELECT max(id) FROM message)",
    .params = "iii",
    .cols = "",
};
static struct store_stmt hidden_sides = {
    .name = "archive.hidden-sides",
    .sql = "UPDATE message SET rcpt_entry = 0, stanza = CASE WHEN sender_entry = 0 THEN ''"
           " ELSE stanza END WHERE id IN " HIDDEN,
    .params = "iii",
    .cols = "",
};
static struct store_stmt hidden_entries = {
    .name = "archive.hidden-entries",
    .sql = "DELETE FROM entry WHERE owner = $1 AND id > $2 AND id <= $3 AND flags >= 2",
    .params = "iii",
    .cols = "",
};

static struct store_stmt change_line = {
    .name = "archive.change",
    .sql = "UPDATE message SET stanza = $2 WHERE id = $1 AND stanza = $3 AND sender_entry = $4"
           " AND rcpt_entry = $5",
    .params = "ittii",
    .cols = "",
};
static struct store_stmt drop_line = {
    .name = "archive.drop",
    .sql = "DELETE FROM message WHERE id = $1 AND stanza = $2 AND sender_entry = $3"
           " AND rcpt_entry = $4",
    .params = "itii",
    .cols = "",
};
struct store_stmt archive_drop_entry = {
    .name = "archive.drop-entry",
    .sql = "DELETE FROM entry WHERE owner = $1 AND id = $2",
    .params = "ii",
    .cols = "",
};

/* im/archive_leave.c: what an owner has; who has it still, nothing is left of what nobody has. */
struct store_stmt archive_owned = {
    .name = "archive.owned",
    .sql = "SELECT " ARCHIVE_LINE_COLUMNS ", e.id FROM entry e JOIN message m ON m.id = e.msg"
           " WHERE e.owner = $1 AND e.id <= $2 ORDER BY e.id LIMIT $3",
    .params = "iii",
    .cols = "iiiiiiti",
};
struct store_stmt archive_sides = {
    .name = "archive.sides",
    .sql = "UPDATE message SET sender = $3, sender_entry = $4, rcpt = $5, rcpt_entry = $6,"
           " stanza = CASE WHEN $4 = 0 AND $6 = 0 THEN '' ELSE stanza END"
           " WHERE id = $1 AND stanza = $2 AND sender_entry = $7 AND rcpt_entry = $8",
    .params = "itiiiiii",
    .cols = "",
};
struct store_stmt archive_drop_none = {
    .name = "archive.drop-none",
    .sql = "DELETE FROM message WHERE id = $1 AND sender_entry = 0 AND rcpt_entry = 0"
           " AND id < (SELECT max(id) FROM message)",
    .params = "i",
    .cols = "",
};

static struct store_stmt *const stmts[] = {
    &archive_put,      &entry_put,       &archive_cursor_put, &archive_load,       &archive_open,
    &archive_recent,   &archive_has,     &archive_row,        &archive_page,       &archive_reserve,
    &archive_reserved, &remove_messages, &remove_sent,        &remove_received,    &remove_last,
    &remove_entries,   &remove_mailbox,  &remember_former,    &hidden_messages,    &hidden_sides,
    &hidden_entries,   &change_line,     &drop_line,          &archive_drop_entry, &archive_owned,
    &archive_key,      &archive_key_put, &archive_sides,      &archive_drop_none,  NULL
};

static const struct store_late late = {
    .name = "entries",
    .insert = &entry_put,
    .rebuild = "SELECT id, rcpt, rcpt_entry, sender, id, flags FROM message WHERE id > $1"
               " AND rcpt_entry <> 0 UNION ALL SELECT id, sender, sender_entry, rcpt, id, 0"
               " FROM message WHERE id > $1 AND sender_entry <> 0 ORDER BY 1",
    .run_rows = 65536,
};

const struct store_schema archive_schema = { "archive", migrations, stmts, &late };

void archive_add(struct store_batch *b, const struct archive_message *m)
{
    STORE_ADD(b, &archive_put, 1, SV_I(m->at_us), SV_I(m->sender), SV_I(m->rcpt),
              SV_I(m->sender_entry), SV_I(m->rcpt_entry), SV_I(m->flags), SV_I(m->origin),
              m->remote.len == 0 ? SV_NULL : SV_T(m->remote), SV_T(m->stanza));
    if (m->rcpt_entry != 0)
        STORE_ADD_LATE(b, SV_I(m->rcpt), SV_I(m->rcpt_entry), SV_I(m->sender), SV_LAST,
                       SV_I(m->flags));
    if (m->sender_entry != 0)
        STORE_ADD_LATE(b, SV_I(m->sender), SV_I(m->sender_entry), SV_I(m->rcpt), SV_LAST, SV_I(0));
}

void archive_remove_hidden(struct store_batch *b, int64_t owner, uint64_t from, uint64_t to)
{
    store_read_late(b, owner);
    STORE_ADD(b, &hidden_messages, STORE_ANY_ROWS, SV_I(owner), SV_I(from), SV_I(to));
    STORE_ADD(b, &hidden_sides, STORE_ANY_ROWS, SV_I(owner), SV_I(from), SV_I(to));
    STORE_ADD(b, &hidden_entries, STORE_ANY_ROWS, SV_I(owner), SV_I(from), SV_I(to));
}

void archive_remove(struct store_batch *b, int64_t owner, slice jid)
{
    store_read_late(b, owner); /* they would come back later */
    STORE_ADD(b, &remember_former, STORE_ANY_ROWS, SV_I(owner), SV_T(jid));
    STORE_ADD(b, &remove_messages, STORE_ANY_ROWS, SV_I(owner));
    STORE_ADD(b, &remove_sent, STORE_ANY_ROWS, SV_I(owner));
    STORE_ADD(b, &remove_received, STORE_ANY_ROWS, SV_I(owner));
    store_add(b, &remove_last, STORE_ANY_ROWS, NULL, 0);
    STORE_ADD(b, &remove_entries, STORE_ANY_ROWS, SV_I(owner));
    STORE_ADD(b, &remove_mailbox, STORE_ANY_ROWS, SV_I(owner));
}

void archive_change(struct store_batch *b, const struct archive_line *m, slice stanza,
                    struct arena *tmp)
{
    STORE_ADD(b, &change_line, 1, SV_I(m->id), SV_T(stanza), SV_T(m->stanza), SV_I(m->sender_entry),
              SV_I(m->rcpt_entry));
    archive_words_forget(b, m, tmp);
}

void archive_drop(struct store_batch *b, const struct archive_line *m, struct arena *tmp)
{
    if (m->rcpt_entry != 0)
        STORE_ADD(b, &archive_drop_entry, STORE_ANY_ROWS, SV_I(m->rcpt), SV_I(m->rcpt_entry));
    if (m->sender_entry != 0)
        STORE_ADD(b, &archive_drop_entry, STORE_ANY_ROWS, SV_I(m->sender), SV_I(m->sender_entry));
    archive_words_forget(b, m, tmp);
    STORE_ADD(b, &drop_line, 1, SV_I(m->id), SV_T(m->stanza), SV_I(m->sender_entry),
              SV_I(m->rcpt_entry));
}
