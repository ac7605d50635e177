#include "muc/state/check.h"
#include "archive/archive.h"
#include "base/ensure.h"
#include "muc/people/affiliation.h"
#include "muc/people/find.h"
#include "muc/people/occupant.h"
#include "muc/room/room.h"
#include "xmpp/muc.h"

enum {
    LOOKED_AT_MAX = 64
}; /* with more, only counters are compared: a tick must not become slow */

static void occupant_check(const struct room *r, const struct occupant *o)
{
    slice bare = seat_bare(occupant_seat(o));
    ensure(!list_empty(&o->seats)); /* the last one takes the occupant with it */
    ensure(o->nick.len > 0 && o->key.len > 0 && map_get(&r->nicks, o->key) == o);
    ensure(o->role <= ROLE_MODERATOR && o->role != ROLE_NONE);
    ensure(slice_eq(o->user.text, bare) && room_occupant_of(r, bare) != NULL);
    ensure(o->number > 0 && o->number <= r->next_number);
    LIST_EACH (it, &o->seats) {
        const struct seat *s = CONTAINER_OF(it, const struct seat, node);
        ensure(s->occupant == o && room_seat(r, s->jid) == s);
        ensure(slice_eq(seat_bare(s), bare)); /* all of one user */
        ensure(s->presence != NULL && s->number <= r->next_seat);
    }
}

static void occupants_check(const struct room *r)
{
    uint32_t occupants = 0, hidden = 0, seats = 0;
    ensure(r->nicks.count == r->occupant_count && r->seats.count == r->seat_count);
    ensure(r->hidden_count <= r->occupant_count && r->occupant_count <= r->seat_count);
    ensure((r->occupant_count == 0) == list_empty(&r->occupants));
    if (r->seat_count > LOOKED_AT_MAX)
        return;
    LIST_EACH (it, &r->occupants) {
        const struct occupant *o = CONTAINER_OF(it, const struct occupant, node);
        occupant_check(r, o);
        occupants++;
        hidden += o->hidden;
        LIST_EACH (seat, &o->seats)
            seats++;
    }
    ensure(occupants == r->occupant_count && hidden == r->hidden_count && seats == r->seat_count);
}

/* One by one: room_seats_of() is checked by it, too. */
static uint32_t seats_of(const struct room *r, slice bare)
{
    const struct seat *s;
    uint32_t n = 0;
    for (uint32_t i = 0; (s = map_next(&r->seats, &i)) != NULL;)
        n += slice_eq(seat_bare(s), bare);
    return n;
}

static void affiliates_check(const struct room *r)
{
    const struct affiliate *a;
    uint32_t owners = 0, followers = 0, reserved = 0;
    ensure(r->owners <= r->affiliates.count && r->followers.count <= r->affiliates.count);
    if (r->affiliates.count > LOOKED_AT_MAX || r->seat_count > LOOKED_AT_MAX)
        return;
    for (uint32_t i = 0; (a = map_next(&r->affiliates, &i)) != NULL;) {
        ensure(a->affiliation != AFF_NONE && a->affiliation <= AFF_OWNER);
        ensure(a->here == seats_of(r, a->jid));
        ensure(!a->follows ||
               (a->affiliation >= AFF_MEMBER && map_get(&r->followers, a->jid) == a));
        ensure(a->key.len == 0 || map_get(&r->reserved, a->key) == a);
        owners += a->affiliation == AFF_OWNER;
        followers += a->follows;
        reserved += a->key.len > 0;
    }
    ensure(owners == r->owners && followers == r->followers.count);
    ensure(reserved == r->reserved.count);
}

void room_check(const struct actor *actor)
{
    const struct room *r = CONTAINER_OF(actor, const struct room, actor);
    ensure(memchr(r->jid.ptr, '@', r->jid.len) != NULL);
    ensure(r->changes_due <= actor->change_count);
    ensure(r->state == ACTOR_READY || (r->seat_count == 0 && r->affiliates.count == 0));
    ensure(r->state != ACTOR_READY || r->id >= ROOM_ID_MIN);
    ensure(r->state != ACTOR_READY || r->stored || r->seat_count > 0 || actor->pins > 0);
    ensure(r->stored || r->subject_due == NULL);
    ensure(r->is_showing ? actor->pauses > 0 : list_empty(&r->due));
    occupants_check(r);
    affiliates_check(r);
}
