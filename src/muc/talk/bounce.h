/* bounce: errors that come back to a room: does their sender still exist? (XEP-0045 §18.1) */
#pragma once
#include "home/router.h"

struct room;
struct seat;

/* Whether this error says that its sender does not exist (any more). */
bool room_error_is_gone(const struct stanza *st);
/* An error from this seat (NULL: from nobody who is here) to what the room sent to it: the session
 * may be gone. */
void room_bounced(struct room *r, struct seat *s, const struct stanza *st);
