/* occupant: those who are in a room come, change and go: occupants, and their sessions (seats).
 * They are found by muc/people/find.h. */
#pragma once
#include "base/slice.h"

struct occupant;
struct room;
struct seat;
struct show;
struct stanza;

/* A new occupant, without seats; nick was enforced. */
struct occupant *occupant_create(struct room *r, slice nick, slice bare);
void occupant_rename(struct room *r, struct occupant *o, slice nick);
/* Gives a hidden occupant a random nickname: another user, who must not learn that it is here,
 * takes its present one. */
void room_give_way(struct room *r, struct occupant *o);
void occupant_changed(struct occupant *o);                  /* its presence is made anew */
void occupant_audience(struct room *r, struct occupant *o); /* its role has changed */
/* What the home of the session knows of its seat has changed, or the session has a new home. */
void seat_audience(struct room *r, const struct seat *s);
void occupants_free(struct room *r);
/* Adds a session to an occupant; changes the last presence of a session. Both keep a reference to
 * the presence. back: the session had a seat before a planned restart. */
struct seat *seat_create(struct room *r, struct occupant *o, struct stanza *presence, bool back);
void seat_presence(struct room *r, struct seat *s, struct stanza *presence);

/* Shows that it left (or must leave) and forgets it. */
void room_leave(struct room *r, struct occupant *o, const struct show *how);
/* The same for all who are there: the room is not to be reached any more. */
void room_leave_all(struct room *r, const struct show *how);
/* One of its seats left; the last one takes the occupant with it. */
void room_seat_leave(struct room *r, struct seat *s, const struct show *how);
/* The session does not exist any more (§18.1), as an error said: it leaves soon, with 333, unless
 * it enters again before. Errors come back while a message is sent to all, so not at once. */
void room_seat_gone(struct room *r, struct seat *s);
/* A rule separates it from the room: the same, and it hears so. */
void room_seat_parts(struct room *r, const struct seat *s);
