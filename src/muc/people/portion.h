/* portion: a change that concerns many occupants is shown in portions. Each is shown to each: of
 * 1,000 that is a million presences. Sent at once, they would hold up all others on the worker, and
 * a component with many occupants would be disconnected: none of its output is written before they
 * are all sent.
 *
 * The change itself is made at once. The first portion is shown at once, too: all of it, in rooms
 * of up to 128. The rest waits in room.due, in order, and the room is paused until it is shown
 * (home/actor.h): all that comes for it waits, so nothing overtakes what is due. Occupants are
 * shown as they are by then. Those who have to leave leave at once, so none of them is told of
 * those who leave with it.
 *
 * While the server stops, there is one portion. */
#pragma once
#include "muc/room/rooms.h"

struct occupant;
struct room;
struct show;

/* As room_show() and room_leave(). `codes` are static; of the rest of `how`, only the actor and the
 * reason may be set. */
void room_show_in_turn(struct room *r, struct occupant *o, const struct show *how);
void room_leave_in_turn(struct room *r, struct occupant *o, const struct show *how);
/* Runs fn when nothing is due: now, or after what waits for the room already. */
void room_when_shown(struct room *r, room_fn *fn, void *arg);
