#include "muc/state/life.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "core/audience.h"
#include "io/timer.h"
#include "muc/archive/history.h"
#include "muc/people/affiliation.h"
#include "muc/people/guess.h"
#include "muc/people/occupant.h"
#include "muc/room/config.h"
#include "muc/room/makers.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/state/change.h"
#include "muc/state/store.h"
#include "muc/state/subject.h"

void room_clear(struct room *r)
{
    occupants_free(r);
    affiliates_free(r);
    room_config_fini(&r->config);
    r->config = (struct room_config){ 0 };
    room_history_fini(&r->history);
    recent_free(&r->recents);
    if (r->state == ACTOR_READY && !r->stored)
        rooms_release(r->creator);
    stanza_unref(&r->subject);
    room_subject_drop(r);
    mem_free(&r->debts);
    mem_free(&r->voices);
    mem_free(&r->guesses);
    mem_free(&r->privates);
    timer_cancel(&r->late); /* not r->portion, which ends the pause */
    timer_cancel(&r->lock);
    ROOM_EMIT(clear, r);
    ensure(r->part_bytes == 0 && r->affiliate_bytes == 0);
    room_makers_weigh(r);
    room_makers_weigh_history(r);
    slice_release(&r->creator);
    mem_wipe(r->secret, sizeof r->secret);
    r->stored = r->locked = r->opening = false;
    r->said_us = 0;
}

void room_unload(struct actor *a)
{
    struct room *r = room_of(a);
    room_clear(r);
    timer_cancel(&r->portion);
    audience_fini(&r->audience);
    map_fini(&r->affiliates);
    map_fini(&r->reserved);
    map_fini(&r->reserved_looks);
    map_fini(&r->followers);
    map_fini(&r->nicks);
    map_fini(&r->looks);
    map_fini(&r->users);
    map_fini(&r->seats);
    mem_free(&r);
}

bool room_may_unload(struct actor *a)
{
    struct room *r = room_of(a);
    if (r->state == ACTOR_READY && room_was_guessed(r)) /* else it would forget who tried */
        return false;
    if (r->state == ACTOR_READY)
        ROOM_EMIT(unloading, r);
    return true;
}

bool room_in_use(const struct actor *a)
{
    return CONTAINER_OF(a, const struct room, actor)->seat_count > 0;
}

static void room_become_absent(struct room *r)
{
    room_clear(r);
    actor_become(&r->actor, ACTOR_ABSENT);
}

bool room_ends_unused(struct actor *a)
{
    struct room *r = room_of(a);
    ensure(r->seat_count == 0);
    if (r->stored)
        return false;
    room_become_absent(r);
    return true;
}

void room_end(struct room *r)
{
    ensure(room_here(r) && r->state == ACTOR_READY);
    room_become_absent(r);
    actor_touch(&r->actor);
}
