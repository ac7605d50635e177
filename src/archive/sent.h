/* sent: the entry that a sender has of a message whose receiver has no entry in the same row: one
 * on a node with another database, in a room, of a component, or on another server. */
#pragma once
#include "home/origin.h"
#include "home/router.h"

struct stanza;
struct worker;

/* Stores `st` with the sender's `entry`, and calls ticket_done(origin) when that is committed or
 * has failed, however long that takes: the message goes out meanwhile, and after a crash there
 * would be nothing to send again. Borrows st. */
void archive_keep_sent(struct worker *w, struct stanza *st, struct origin origin, uint64_t entry,
                       int64_t sender_id, enum sent_how how);
