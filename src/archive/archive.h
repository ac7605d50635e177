/* archive: the tables of messages (architecture §7): the body once in commit order, a
 * narrow entry per owner, the mailbox's cursor. What reads them: offline delivery (talk/offline.c),
 * copies (session/copies.h), archive queries (archive/query.h).
 *
 * An owner is an account or a room (ids from ROOM_ID_MIN on). What was said in a room has one
 * entry, the room's, as its receiver, with flags 0, `sender` 0 and the bare JID of who said it as
 * `remote`; the stanza has its full JID as `to`. A room has no mailbox: nothing of it is ever
 * unsettled. */
#pragma once
#include "base/err.h"
#include "home/origin.h"
#include "store/store.h"

struct arena;
struct worker;

enum {
    ENTRY_OFFLINE = 1,      /* must reach its owner: unsettled until it has */
    ENTRY_HIDDEN = 2,       /* not in the archive: removed when it is settled (architecture §7) */
    ENTRY_FLAGS = 3,        /* those of an entry; a message has more: */
    MESSAGE_QUIET = 4,      /* its receiver would not call it a message: a receipt, a retraction */
    MESSAGE_CORRECTS = 8,   /* archive/event.h */
    MESSAGE_EVENT = 16,     /* nobody's entry: it tells readers of the log of a retraction */
    MESSAGE_RETRACTED = 32, /* a tombstone, with an event */
    MESSAGE_IMPORTED = 64,  /* its time is not that of its place in the log */
};
#define ROOM_ID_MIN ((int64_t)1 << 40)  /* below are accounts */
#define ROOMS_SQL   " >= 1099511627776" /* the same, behind an id in SQL */

extern const struct store_schema archive_schema;
extern struct store_stmt archive_cursor_put, archive_load, archive_open, archive_recent,
    archive_has, archive_row, archive_page, archive_given, archive_reserve, archive_reserved,
    archive_slack, archive_slack_known, archive_key, archive_key_put, archive_owned, archive_sides,
    archive_drop_none, archive_drop_entry;

struct archive_message {
    uint64_t at_us;
    int64_t sender, rcpt;              /* account ids; 0: not one of ours */
    uint64_t sender_entry, rcpt_entry; /* archive ids; 0: no entry */
    unsigned flags;                    /* of the receiver's entry, and MESSAGE_QUIET */
    int64_t origin;                    /* keyed hash of sender and origin-id; 0: none */
    slice remote;                      /* bare JID of the side that is not ours; empty: none */
    uint64_t pending_out;              /* archive/pending.h; 0: its server need not confirm it */
    slice stanza;
};
void archive_add(struct store_batch *b, const struct archive_message *m);
/* Removes the hidden entries with from < id <= to, and messages that nobody has an entry of then.
 */
void archive_remove_hidden(struct store_batch *b, int64_t owner, uint64_t from, uint64_t to);
/* Adds: the account is deleted in this transaction. Its address (`jid`) is remembered: others, who
 * have some of its messages, ask for them by it, and archive_clear() removes what it owns, now or
 * after the next start (ext/mam/mam_expire). */
void archive_disown(struct store_batch *b, int64_t owner, slice jid);
/* Adds: all that an account still owns here goes; what others own of the same messages stays. The
 * last step of archive_clear(), which takes the words out of the full text and most of the work out
 * of this transaction. */
void archive_remove(struct store_batch *b, int64_t owner);

/* A row of the log. It is as it was read while its flags and entries are: a tombstone brings
 * MESSAGE_QUIET with it. So a change of it need not say the stanza again. */
struct archive_line {
    int64_t id, sender, sender_entry, rcpt, rcpt_entry, flags;
    slice stanza;
};
#define ARCHIVE_LINE_COLUMNS                                                                       \
    "m.id, m.sender, m.sender_entry, m.rcpt, m.rcpt_entry, m.flags, m.stanza"
static inline struct archive_line archive_line_of(const struct store_batch *b, unsigned stmt,
                                                  uint32_t row)
{
    return (struct archive_line){
        .id = store_int(b, stmt, row, 0),
        .sender = store_int(b, stmt, row, 1),
        .sender_entry = store_int(b, stmt, row, 2),
        .rcpt = store_int(b, stmt, row, 3),
        .rcpt_entry = store_int(b, stmt, row, 4),
        .flags = store_int(b, stmt, row, 5),
        .stanza = store_text(b, stmt, row, 6),
    };
}
/* Counts a batch that changes or removes messages. */
void archive_edit(struct store_batch *b);
/* For a reader of the log that has read messages: the batch is a conflict if one was changed or
 * removed since, that is, if ARCHIVE_EDITS was not `edits` any more. */
#define ARCHIVE_EDITS "(SELECT position FROM reader WHERE name = 'archive-edits')"
void archive_unedited(struct store_batch *b, int64_t edits);
/* The event of a message (archive/event.h) goes with it: the same batch leaves nobody who has the
 * message in an archive. Behind archive_size_drop(). */
void archive_event_remove(struct store_batch *b, const struct archive_line *m);
/* Deletes a message, with its event. `newest`: the last row of the log, which stays without
 * anything in it. The message must still be as it was read; otherwise the batch is a conflict,
 * because its words could not be removed from the full text correctly. The caller calls
 * archive_edit() once for each batch. */
void archive_drop(struct store_batch *b, const struct archive_line *m, bool newest,
                  struct arena *tmp);
