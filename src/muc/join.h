/* join: presence to a room (XEP-0045 §7.1-§7.2, §7.6-§7.7, §7.14): entering, another nickname,
 * another availability, leaving. */
#pragma once
#include "base/slice.h"
#include "home/router.h"

struct audience_member;
struct room;
struct worker;

/* Presence to a READY room. Takes over st. */
enum routed room_presence(struct room *r, struct stanza *st);
/* Presence to an address without a room: makes one, or is refused. Takes over st. */
enum routed room_found(struct room *r, struct stanza *st);
/* After a planned restart a session takes its seat again, after a move it keeps it. Nobody is told.
 */
void room_restore(struct worker *w, slice room, const struct audience_member *m);
/* Tells a session that it is no longer in a room, because the server was stopped (status 332);
 * occupant: the address that it had there. */
void room_tell_shutdown(struct worker *w, slice occupant, slice to);
