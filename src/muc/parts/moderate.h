/* moderate: messages are retracted, by their author (XEP-0424 §5) or by a moderator (XEP-0425).
 * History and archive get a tombstone instead, and occupants are notified. There are two forms of
 * moderation requests and notices in use; both are supported. */
#pragma once
#include "home/router.h"

struct room;
struct seat;

/* Handles a message of this seat that retracts an earlier one; other messages have no effect. */
enum routed room_retracted(struct room *r, const struct seat *s, const struct stanza *st,
                           struct origin origin);
