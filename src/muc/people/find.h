/* find: who is in a room: occupants by nickname, their sessions (seats) by full JID. */
#pragma once
#include "base/slice.h"

struct arena;
struct alike;
struct map;
struct occupant;
struct room;
struct seat;
struct worker;

/* Maps of struct alike by their text. */
void alike_add(struct map *all, struct alike *l);
void alike_remove(struct map *all, struct alike *l);

struct seat *room_seat(const struct room *r, slice full); /* NULL: not in the room */
struct occupant *room_occupant(const struct room *r, slice nick, struct arena *tmp);
/* The occupant with this bare JID that entered last, and the one of the same user before it; NULL:
 * none. */
struct occupant *room_occupant_of(const struct room *r, slice bare);
struct occupant *occupant_before(const struct occupant *o);
uint32_t room_seats_of(const struct room *r, slice bare); /* how many seats a user has */
struct seat *occupant_seat(const struct occupant *o);     /* that spoke last */
/* room@service/nick, as others address an occupant; in tmp. */
slice room_address(const struct room *r, slice nick, struct arena *tmp);
/* Whether another than `bare` is seen here by this nickname (enforced), or one that looks like it.
 */
bool room_nick_used(const struct room *r, slice nick, slice bare);

/* A seat to find again later, when the room may be gone, and another may have its place. */
struct seat_ref {
    struct worker *worker;
    uint64_t number;
    size_t room_len, jid_len;
    char text[];
};
struct seat_ref *seat_ref_new(const struct room *r, const struct seat *s); /* mem_free() ends it */
struct seat *seat_ref_find(const struct seat_ref *ref, struct room **r);   /* NULL: it is gone */
