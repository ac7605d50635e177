#include "muc/people/find.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "muc/room/settings.h"
#include "xmpp/nickname.h"

void alike_add(struct map *all, struct alike *l)
{
    l->next = map_del(all, l->text);
    map_put(all, l);
}

void alike_remove(struct map *all, struct alike *l)
{
    struct alike *first = map_del(all, l->text), **at = &first;
    while (*at != NULL && *at != l)
        at = &(*at)->next;
    if (*at == l)
        *at = l->next;
    if (first != NULL)
        map_put(all, first);
}

slice room_address(const struct room *r, slice nick, struct arena *tmp)
{
    char *text = arena_alloc_raw(tmp, r->jid.len + 1 + nick.len), *at = text;
    slice_lay(&at, r->jid);
    slice_lay(&at, SLICE("/"));
    slice_lay(&at, nick);
    return (slice){ text, (size_t)(at - text) };
}

struct seat *room_seat(const struct room *r, slice full) { return map_get(&r->seats, full); }

struct occupant *room_occupant(const struct room *r, slice nick, struct arena *tmp)
{
    slice name;
    if (nickname_enforce(nick, tmp, &name) != OK)
        return NULL;
    return map_get(&r->nicks, nickname_key(name, tmp));
}

static struct occupant *occupant_by(struct alike *user)
{
    return user == NULL ? NULL : CONTAINER_OF(user, struct occupant, user);
}

struct occupant *room_occupant_of(const struct room *r, slice bare)
{
    return occupant_by(map_get(&r->users, bare));
}

struct occupant *occupant_before(const struct occupant *o) { return occupant_by(o->user.next); }

uint32_t room_seats_of(const struct room *r, slice bare)
{
    uint32_t n = 0;
    for (const struct occupant *o = room_occupant_of(r, bare); o != NULL; o = occupant_before(o))
        LIST_EACH (it, &o->seats)
            n++;
    return n;
}

/* Hidden occupants give way. */
static bool is_others(const struct occupant *o, slice bare)
{
    return !o->hidden && !slice_eq(seat_bare(occupant_seat(o)), bare);
}

bool room_nick_used(const struct room *r, slice nick, slice bare)
{
    struct arena *tmp = room_scratch(r);
    const struct occupant *o = map_get(&r->nicks, nickname_key(nick, tmp));
    if (o != NULL && is_others(o, bare))
        return true;
    if (!setting_bool(&muc_look_alike))
        return false;
    const struct alike *l = map_get(&r->looks, nickname_skeleton(nick, tmp));
    while (l != NULL && !is_others(CONTAINER_OF(l, struct occupant, look), bare))
        l = l->next;
    return l != NULL;
}

struct seat *occupant_seat(const struct occupant *o)
{
    ensure(!list_empty(&o->seats)); /* the last one takes the occupant with it */
    return CONTAINER_OF(o->seats.prev, struct seat, node);
}

struct seat_ref *seat_ref_new(const struct room *r, const struct seat *s)
{
    struct seat_ref *ref = mem_alloc(sizeof *ref + r->jid.len + s->jid.len);
    char *at = ref->text;
    ensure(s->number > 0);
    ref->worker = r->worker;
    ref->number = s->number;
    ref->room_len = slice_lay(&at, r->jid).len;
    ref->jid_len = slice_lay(&at, s->jid).len;
    return ref;
}

struct seat *seat_ref_find(const struct seat_ref *ref, struct room **r)
{
    ensure(worker_is_here(ref->worker));
    *r = room_find(ref->worker, (slice){ ref->text, ref->room_len });
    if (*r == NULL)
        return NULL;
    struct seat *s = room_seat(*r, (slice){ ref->text + ref->room_len, ref->jid_len });
    return s != NULL && s->number == ref->number ? s : NULL;
}
