#include "muc/room/rooms.h"
#include "archive/archive.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/rand.h"
#include "core/audience.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/host.h"
#include "muc/room/makers.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "talk/iq.h"

unsigned rooms_slot;
static const struct actor_kind *kind;

void rooms_start(const struct actor_kind *k)
{
    ensure(k->load != NULL && k->handle != NULL);
    kind = k;
}

static slice rooms_affiliate_key(const void *item) { return ((const struct affiliate *)item)->jid; }
static slice reserved_key(const void *item) { return ((const struct affiliate *)item)->key; }
static slice occupant_key(const void *item) { return ((const struct occupant *)item)->key; }
static slice alike_key(const void *item) { return ((const struct alike *)item)->text; }
static slice seat_key(const void *item) { return ((const struct seat *)item)->jid; }

/* Unlikely to be used, and the same again if its row is written again. */
int64_t room_new_id(void)
{
    const uint64_t range = ((uint64_t)1 << 62) - (uint64_t)ROOM_ID_MIN;
    return ROOM_ID_MIN + (int64_t)(rand_u64() % range);
}

static struct room *room_alloc(struct actors *all, const struct host *h, slice jid)
{
    struct room *r = mem_zalloc(sizeof *r + room_slots() * sizeof *r->slots + jid.len);
    ensure(jid.len > 0);
    r->slots = (void **)(r + 1);
    char *text = (char *)(r->slots + room_slots());

    memcpy(text, jid.ptr, jid.len);
    r->host = h;
    map_init(&r->affiliates, rooms_affiliate_key);
    map_init(&r->reserved, reserved_key);
    map_init(&r->reserved_looks, alike_key);
    map_init(&r->followers, rooms_affiliate_key);
    map_init(&r->nicks, occupant_key);
    map_init(&r->looks, alike_key);
    map_init(&r->users, alike_key);
    map_init(&r->seats, seat_key);
    list_init(&r->occupants);
    list_init(&r->away);
    list_init(&r->due);
    list_init(&r->relays);
    actor_init(&r->actor, all, (slice){ text, jid.len });
    audience_init(&r->audience, r->worker, r->jid);
    return r;
}

static struct actors *rooms_of(struct worker *w)
{
    struct actors *rooms = *worker_state(w, rooms_slot);
    if (rooms == NULL) {
        rooms = *worker_state(w, rooms_slot) = mem_new(struct actors);
        actors_init(rooms, kind, w, worker_loop(w));
    }
    return rooms;
}

struct room *room_get(struct worker *w, const struct host *h, slice jid)
{
    struct actors *rooms = rooms_of(w);
    struct actor *a = actors_find(rooms, jid);
    if (a == NULL) {
        a = &room_alloc(rooms, h, jid)->actor;
        actor_load(a);
    } else {
        actor_renew(a); /* there may be one: nobody makes another */
    }
    return room_of(a);
}

struct room *room_find(const struct worker *w, slice jid)
{
    const struct actors *rooms = *worker_state(w, rooms_slot);
    struct actor *a = rooms == NULL ? NULL : actors_find(rooms, jid);
    return a != NULL && a->state == ACTOR_READY ? room_of(a) : NULL;
}

struct room *room_of_iq(const struct iq *iq)
{
    struct room *r = room_find(iq->worker, stanza_to(iq->st));
    ensure(r != NULL);
    return r;
}

bool room_is_served(const struct room *r)
{
    slice parent;
    return host_find(worker_node(r->worker), jid_split(r->jid).domain, &parent) != NULL;
}

bool rooms_serve(const struct node *n, slice jid)
{
    slice parent;
    const struct jid parts = jid_split(jid);
    const struct host *h = host_find(n, parts.domain, &parent);
    return parts.local.len > 0 && h != NULL && h == host_labelled(SLICE(MUC_LABEL));
}

void room_with(struct worker *w, slice jid, room_fn *fn, void *arg)
{
    slice domain = jid_split(jid).domain, parent;
    struct room *r = room_get(w, host_find(worker_node(w), domain, &parent), jid);
    ensure(worker_is_here(w) && fn != NULL);
    bool waits = actor_waits(&r->actor);
    if (waits &&
        actor_wait(&r->actor, &(struct actor_item){ .fn = (actor_any_fn *)fn, .arg = arg }))
        return;
    room_pin(r);
    fn(r, waits ? E_LIMIT : OK, arg);
    room_unpin(r);
}

void room_when_loaded(struct room *r, room_fn *fn, void *arg)
{
    ensure(room_here(r) && r->state == ACTOR_LOADING && fn != NULL);
    actor_wait_anyhow(&r->actor, &(struct actor_item){ .fn = (actor_any_fn *)fn, .arg = arg });
}

static void rooms_in(struct worker *w, enum actor_state state, room_each_fn *fn, void *arg)
{
    const struct actors *rooms = *worker_state(w, rooms_slot);
    struct actor *a;
    ensure(worker_is_here(w));
    for (uint32_t i = 0; rooms != NULL && (a = actors_next(rooms, &i)) != NULL;)
        if (a->state == state)
            fn(room_of(a), arg);
}

void rooms_each(struct worker *w, room_each_fn *fn, void *arg)
{
    rooms_in(w, ACTOR_READY, fn, arg);
}

void rooms_each_loading(struct worker *w, room_each_fn *fn, void *arg)
{
    rooms_in(w, ACTOR_LOADING, fn, arg);
}

void rooms_stop(struct worker *w)
{
    struct actors *rooms = *worker_state(w, rooms_slot);
    if (duty_is_here(w, DUTY_ROOMS))
        room_makers_forget();
    if (rooms == NULL)
        return;
    actors_stop(rooms);
    mem_free(&rooms);
    *worker_state(w, rooms_slot) = NULL;
}
