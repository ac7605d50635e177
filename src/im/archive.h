/* archive: the tables of messages (design §7): the body once per node in commit order, a narrow
 * entry per owner, the mailbox's cursor. What reads them: offline delivery here; archive queries
 * later. */
#pragma once
#include "im/origin.h"
#include "store/store.h"

enum {
    ENTRY_OFFLINE = 1, /* must reach its owner: unsettled until it has */
    ENTRY_HIDDEN = 2,  /* not in the archive: removed when it is settled (design §7) */
};

extern const struct store_schema archive_schema;
extern struct store_stmt archive_put, archive_cursor_put, archive_load, archive_open,
    archive_recent, archive_has, archive_row, archive_page, archive_reserve, archive_reserved;

struct archive_message {
    uint64_t at_us;
    int64_t sender, rcpt;              /* account ids; 0: not one of ours */
    uint64_t sender_entry, rcpt_entry; /* archive ids; 0: no entry */
    unsigned flags;                    /* of the receiver's entry */
    int64_t origin;                    /* keyed hash of sender and origin-id; 0: none */
    slice remote;                      /* bare JID of the side that is not ours; empty: none */
    slice stanza;
};
void archive_add(struct store_batch *b, const struct archive_message *m);
/* Removes the hidden entries with from < id <= to, and messages that nobody has an entry of then.
 */
void archive_remove_hidden(struct store_batch *b, int64_t owner, uint64_t from, uint64_t to);
/* Statements that remove all that an account owns here; what others own of the same messages stays,
 * and its address (`jid`) is remembered, by which they ask for them. */
void archive_remove(struct store_batch *b, int64_t owner, slice jid);
