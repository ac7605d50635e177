/* occupant: who is in a room: occupants by nickname, their sessions (seats) by full JID. */
#pragma once
#include "base/slice.h"

struct arena;
struct look;
struct map;
struct occupant;
struct room;
struct seat;
struct show;
struct stanza;
struct worker;

/* Maps of struct look by its text. */
void look_add(struct map *looks, struct look *l);
void look_remove(struct map *looks, struct look *l);

struct seat *room_seat(const struct room *r, slice full); /* NULL: not in the room */
struct occupant *room_occupant(const struct room *r, slice nick, struct arena *tmp);
/* An occupant with this bare JID; NULL: none. */
struct occupant *room_occupant_of(const struct room *r, slice bare);
struct seat *occupant_seat(const struct occupant *o); /* that spoke last */
/* room@service/nick, as others address an occupant; in tmp. */
slice room_address(const struct room *r, slice nick, struct arena *tmp);
/* Whether another than `bare` is seen here by this nickname (enforced), or one that looks like it.
 */
bool room_nick_used(const struct room *r, slice nick, slice bare);

/* A new occupant, without seats; nick was enforced. */
struct occupant *occupant_create(struct room *r, slice nick, slice bare);
void occupant_rename(struct room *r, struct occupant *o, slice nick);
/* Gives a hidden occupant a random nickname: another user, who must not learn that it is here,
 * takes its present one. */
void room_give_way(struct room *r, struct occupant *o);
void occupant_changed(struct occupant *o);                  /* its presence is made anew */
void occupant_audience(struct room *r, struct occupant *o); /* its role has changed */
void occupants_free(struct room *r);
/* Adds a session to an occupant; changes the last presence of a session. Both keep a reference to
 * the presence. */
struct seat *seat_create(struct room *r, struct occupant *o, struct stanza *presence);
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

/* A seat to find again later, when the room may be gone, and another may have its place. */
struct seat_ref {
    struct worker *worker;
    uint64_t number;
    size_t room_len, jid_len;
    char text[];
};
struct seat_ref *seat_ref_new(const struct room *r, const struct seat *s); /* mem_free() ends it */
struct seat *seat_ref_find(const struct seat_ref *ref, struct room **r);   /* NULL: it is gone */
