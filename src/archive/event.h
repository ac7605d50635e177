/* archive_event: what became of earlier messages, as entries of the log (architecture §7) for its
 * readers. Users do not see them: no account and no room has an entry of such a row, and every
 * query of users goes by entries.
 *
 *   corrected (XEP-0308): the message that corrects is the event, and has MESSAGE_CORRECTS. What it
 *     corrects stays in the log.
 *   retracted, moderated (XEP-0424, XEP-0425): a row of its own with MESSAGE_EVENT, written before
 *     the tombstone and in the same transaction. It has the stanza that stood there, the time of
 *     the retraction and, as `remote`, the bare JID of the moderator. Table `archive_event` says
 *     which message it is about; that one has MESSAGE_RETRACTED. There is one for each tombstone.
 *
 * An event is removed with the message that it is about, and its words count as before in the
 * archives that have the tombstone (archive/size.h). A message that nobody has in an archive leaves
 * no event: it goes when its addressee has it. */
#pragma once
#include "archive/archive.h"

struct stanza;

enum archive_event_kind { EVENT_RETRACTED = 1, EVENT_MODERATED = 2 };

struct archive_event {
    enum archive_event_kind kind;
    uint64_t at_us; /* wall clock */
    slice by;       /* bare JID of the moderator; empty: the author */
};

/* MESSAGE_CORRECTS if it corrects another, else 0. Walks over elements only where there are some
 * that are not known. */
unsigned archive_kind(const struct stanza *st);

/* Adds the event of a message whose tombstone has `len` bytes: in front of that, with the log id
 * `about` of the message; or, about 0, right behind a tombstone that the same batch puts into the
 * log. `was` is the stanza that stood there. */
void archive_event_add(struct store_batch *b, int64_t about, const struct archive_event *e,
                       slice was, size_t len);
/* Puts a tombstone in the place of a message, behind its event. The message must still be as it was
 * read; otherwise the batch is a conflict, because its words could not be removed from the full
 * text correctly. The caller calls archive_edit() once for each batch. */
void archive_retract(struct store_batch *b, const struct archive_line *m, slice tombstone,
                     const struct archive_event *e, struct arena *tmp);

extern struct store_stmt archive_event_put, archive_event_change; /* of archive_schema */
