#include "muc/room/rooms.h"
#include "archive/archive.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/setting.h"
#include "home/here.h"
#include "home/host.h"
#include "home/ticket.h"
#include "im/audience.h"
#include "im/iq.h"
#include "im/session_input.h"
#include "io/timer.h"
#include "muc/archive/archive.h"
#include "muc/archive/history.h"
#include "muc/parts/follow.h"
#include "muc/parts/hats.h"
#include "muc/parts/vcard.h"
#include "muc/people/affiliation.h"
#include "muc/people/guess.h"
#include "muc/people/occupant.h"
#include "muc/room/config.h"
#include "muc/room/makers.h"
#include "muc/room/metrics.h"
#include "muc/room/room.h"
#include "muc/room/settings.h"
#include "muc/service.h"
#include "muc/state/change.h"
#include "muc/state/check.h"
#include "muc/state/lock.h"
#include "muc/state/store.h"
#include "muc/talk/relay.h"
#include "muc/talk/subject.h"
#include "xmpp/muc.h"

enum { ABSENT_MAX = 1024 };

unsigned rooms_slot;

static slice rooms_affiliate_key(const void *item) { return ((const struct affiliate *)item)->jid; }
static slice reserved_key(const void *item) { return ((const struct affiliate *)item)->key; }
static slice occupant_key(const void *item) { return ((const struct occupant *)item)->key; }
static slice look_key(const void *item) { return ((const struct look *)item)->text; }
static slice seat_key(const void *item) { return ((const struct seat *)item)->jid; }

/* Unlikely to be used, and the same again if its row is written again. */
int64_t room_new_id(void)
{
    const uint64_t range = ((uint64_t)1 << 62) - (uint64_t)ROOM_ID_MIN;
    return ROOM_ID_MIN + (int64_t)(rand_u64() % range);
}

static struct room *room_alloc(struct actors *all, const struct host *h, slice jid)
{
    struct room *r = mem_zalloc(sizeof *r + jid.len);
    char *text = (char *)(r + 1);

    memcpy(text, jid.ptr, jid.len);
    r->host = h;
    map_init(&r->affiliates, rooms_affiliate_key);
    map_init(&r->reserved, reserved_key);
    map_init(&r->reserved_looks, look_key);
    map_init(&r->followers, rooms_affiliate_key);
    map_init(&r->nicks, occupant_key);
    map_init(&r->looks, look_key);
    map_init(&r->seats, seat_key);
    list_init(&r->occupants);
    list_init(&r->away);
    list_init(&r->relays);
    actor_init(&r->actor, all, (slice){ text, jid.len });
    audience_init(&r->audience, r->worker, r->jid);
    return r;
}

/* Everything but what it is known by. */
static void room_clear(struct room *r)
{
    occupants_free(r);
    room_relays_free(r);
    affiliates_free(r);
    room_makers_weigh(r);
    room_config_fini(&r->config);
    r->config = (struct room_config){ 0 };
    room_history_fini(&r->history);
    if (r->state == ACTOR_READY && !r->stored)
        rooms_release(r->creator);
    stanza_unref(&r->subject);
    room_subject_drop(r);
    mem_free(&r->debts);
    mem_free(&r->voices);
    mem_free(&r->applicants);
    mem_free(&r->guesses);
    timer_cancel(&r->late);
    timer_cancel(&r->lock);
    room_vcard_free(r);
    room_hats_free(r);
    slice_release(&r->creator);
    mem_wipe(r->secret, sizeof r->secret);
    r->stored = r->locked = r->opening = false;
    r->spoken_day = 0;
    r->said_us = 0;
}

/* The actor. */

static void room_unload(struct actor *a)
{
    struct room *r = room_of(a);
    room_clear(r);
    audience_fini(&r->audience);
    map_fini(&r->affiliates);
    map_fini(&r->reserved);
    map_fini(&r->reserved_looks);
    map_fini(&r->followers);
    map_fini(&r->nicks);
    map_fini(&r->looks);
    map_fini(&r->seats);
    mem_free(&r);
}

static bool room_may_unload(struct actor *a)
{
    struct room *r = room_of(a);
    if (r->state == ACTOR_READY && room_was_guessed(r)) /* else it would forget who tried */
        return false;
    followers_store(r);
    return true;
}

static bool room_in_use(const struct actor *a)
{
    return CONTAINER_OF(a, const struct room, actor)->seat_count > 0;
}

static void room_become_absent(struct room *r)
{
    room_clear(r);
    actor_become(&r->actor, ACTOR_ABSENT);
}

/* An ad hoc room lives as long as somebody is in it. */
static bool room_ends_unused(struct actor *a)
{
    struct room *r = room_of(a);
    if (r->stored)
        return false;
    room_become_absent(r);
    return true;
}

void room_end(struct room *r)
{
    room_become_absent(r);
    actor_touch(&r->actor);
}

/* Who leaves must be heard: nobody else says that a session of ours is gone. */
static bool is_leave(const struct stanza *st)
{
    return st->kind == STANZA_PRESENCE && st->type == TYPE_UNAVAILABLE;
}

static void room_handle(struct actor *a, const struct actor_item *it)
{
    if (room_receive(room_of(a), it->st, it->origin) == ROUTED && it->origin.session != 0)
        ticket_done(a->worker, it->origin);
}

static void room_refuse(struct actor *a, const struct actor_item *it, enum err e)
{
    struct stanza *st = it->st;
    (void)e;
    route_error(a->worker, st, SE_RESOURCE_CONSTRAINT, SLICE("the room could not be read now"));
    stanza_unref(&st);
    if (it->origin.session != 0)
        ticket_done(a->worker, it->origin);
}

static void room_call(struct actor *a, actor_any_fn *fn, enum err e, void *arg)
{
    ((room_fn *)fn)(room_of(a), e, arg);
}

static void room_begin(struct actor *a) { room_load(room_of(a)); }
static void room_drop(struct actor *a) { changes_drop(room_of(a)); }
static uint64_t room_idle_ms(void) { return (uint64_t)setting_int(&muc_unload_after); }

/* Functions that wait have no limit: they are of operators, or as many as the sessions that were in
 * it before a planned restart, which no stanza may take the place of. */
static const struct actor_kind room_kind = {
    .loaded = &rooms_loaded_metric,
    .idle_max = UINT32_MAX,
    .absent_max = ABSENT_MAX,
    .calls_max = UINT32_MAX,
    .idle_ms = room_idle_ms,
    .load = room_begin,
    .handle = room_handle,
    .refuse = room_refuse,
    .call = room_call,
    .urgent = is_leave,
    .in_use = room_in_use,
    .ends_unused = room_ends_unused,
    .may_unload = room_may_unload,
    .unload = room_unload,
    .check = room_check,
    .drop = room_drop,
};

static struct actors *rooms_of(struct worker *w)
{
    struct actors *rooms = *worker_state(w, rooms_slot);
    if (rooms == NULL) {
        rooms = *worker_state(w, rooms_slot) = mem_new(struct actors);
        actors_init(rooms, &room_kind, w, worker_loop(w));
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

void room_with(struct worker *w, slice jid, room_fn *fn, void *arg)
{
    slice domain = jid_split(jid).domain, parent;
    struct room *r = room_get(w, host_find(worker_node(w), domain, &parent), jid);
    if (actor_waits(&r->actor)) {
        bool waits =
            actor_wait(&r->actor, &(struct actor_item){ .fn = (actor_any_fn *)fn, .arg = arg });
        ensure(waits);
        return;
    }
    room_pin(r);
    fn(r, OK, arg);
    room_unpin(r);
}

static void rooms_in(struct worker *w, enum actor_state state, room_each_fn *fn, void *arg)
{
    const struct actors *rooms = *worker_state(w, rooms_slot);
    struct actor *a;
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

enum err room_create(struct room *r, slice creator, struct why *why)
{
    if (!rooms_reserve(creator, why))
        return E_LIMIT;
    r->id = room_new_id();
    actor_become(&r->actor, ACTOR_READY);
    room_lock(r);
    r->created_us = loop_wall_us(worker_loop(r->worker));
    rand_bytes(r->secret, sizeof r->secret);
    room_config_default(&r->config);
    r->creator = slice_keep(creator);
    affiliate_put(r, &(struct affiliation_edit){ .jid = creator, .affiliation = AFF_OWNER });
    room_makers_weigh(r);
    room_archive_init(&r->archive, r->worker, r->id, r->jid);
    room_history_init(&r->history);
    log_info(&log_muc, LOG_EV("room.created"), LOG_S("room", r->jid), LOG_S("by", creator));
    return OK;
}

void rooms_stop(struct worker *w)
{
    struct actors *rooms = *worker_state(w, rooms_slot);
    if (worker_index(w) == 0)
        room_makers_forget();
    if (rooms == NULL)
        return;
    actors_stop(rooms);
    mem_free(&rooms);
    *worker_state(w, rooms_slot) = NULL;
}
