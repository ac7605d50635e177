/* offline: delivery of what waits in the mailbox (RFC 6121 §8.5.2.2, XEP-0160, XEP-0203): pages
 * read from the archive in order. While it goes on, live messages to the session are not delivered
 * but found by a later page, so the order is that of the archive; those that are not stored wait
 * (session/behind.h). */
#pragma once
#include <stdint.h>

struct session;
struct stanza;

/* Its client asks for its offline messages itself (XEP-0013): no session is sent them. */
void offline_collect(struct session *s);
void offline_again(struct session *s);
void offline_flush(struct session *s);    /* delivers what is unsettled */
void offline_continue(struct session *s); /* the client took some of it */
/* A message was stored for the session while `flushing`: a page brings it. */
void offline_owes(struct session *s, const struct stanza *st, uint64_t archive_id);
/* Messages were replaced in the archive: a page that is being read may have the old ones. */
void offline_reread(struct session *s);
/* It may take messages that it did not take before. */
void offline_priority_changed(struct session *s);
void offline_cancel(struct session *s);

/* What a planned restart saves of a delivery that is under way. The restored delivery goes on when
 * the session is resumed, and looks at all entries once more: some may be open again. */
struct offline_saved {
    uint64_t read_to, began, owed; /* archive ids; all 0: none is under way */
};
struct offline_saved offline_save(const struct session *s);
void offline_restore(struct session *s, struct offline_saved saved);
