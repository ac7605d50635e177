/* portion: a change that concerns many occupants is shown in portions. If each of 1,000 occupants
 * is shown to all, that is a million presences. Sent at once, they would hold up all others on the
 * worker, and a component with many occupants would be disconnected: none of its output is written
 * before they are all sent.
 *
 * The change itself is made at once. The first portion is shown at once, too: all of it, in rooms
 * of up to 128. The rest waits in room.due, in order, and the room is paused until it is shown
 * (home/actor.h): all that comes for it waits, so nothing overtakes what is due. Occupants are
 * shown as they are by then. Those who have to leave are removed at once; after the first portion,
 * they are not told about each other.
 *
 * A portion is 16,384 presences, each 100 ms: of 1,000 occupants each is shown to each in 6 s. In
 * rooms of more than 1,280 portions are larger, so that 100 are enough: the room is paused for 10
 * s, or for as long as making the presences takes. When the server stops, all that is due is shown.
 */
#pragma once
#include "muc/room/rooms.h"

struct occupant;
struct room;
struct show;

/* As room_show() and room_leave(). `codes` are static; of the rest of `how`, only the actor and the
 * reason may be set. */
void room_show_in_turn(struct room *r, struct occupant *o, const struct show *how);
void room_leave_in_turn(struct room *r, struct occupant *o, const struct show *how);
/* Somebody who is not in the room, for those who do not see real JIDs and those who do. */
void room_send_in_turn(struct room *r, struct stanza *const st[2]);
/* The server stops. */
void portions_end(struct worker *w);
/* Runs fn when nothing is due: now, or after what waits for the room already. */
void room_when_shown(struct room *r, room_fn *fn, void *arg);
