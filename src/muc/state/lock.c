#include "muc/state/lock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/setting.h"
#include "io/timer.h"
#include "muc/room/config.h"
#include "muc/room/room.h"
#include "muc/room/settings.h"
#include "muc/state/change.h"
#include "xmpp/muc.h"

static void lock_opened(struct room *r, enum err e, void *arg)
{
    (void)arg;
    if (e == E_NOTFOUND)
        return;
    r->opening = false;
    if (e == OK) {
        log_info(&log_muc, LOG_EV("room.opened"), LOG_S("room", r->jid));
        return;
    }
    /* it could not be stored: there are too many, or the database is away */
    log_warn(&log_muc, LOG_EV("room.not_stored"), LOG_S("room", r->jid), LOG_C("why", err_text(e)),
             LOG_C("hint", "the room is not persistent now; its owner can configure it again"));
    struct room_delta d = { .config = mem_new(struct room_config), .unlock = true };
    room_config_keep(d.config, &r->config);
    d.config->persistent = false;
    room_commit(r, &d, NULL, NULL);
}

static void open_now(struct room *r, enum err e, void *arg)
{
    struct room_delta d = { .unlock = true };
    (void)arg;
    if (e != OK)
        return;
    r->opening = false;
    if (!r->locked)
        return;
    if (r->config.persistent) {
        d.config = mem_new(struct room_config);
        room_config_keep(d.config, &r->config);
    }
    r->opening = true;
    room_commit(r, &d, lock_opened, NULL);
}

void room_open(struct room *r)
{
    if (r->state != ACTOR_READY || !r->locked || r->opening)
        return;
    r->opening = true;
    room_turn(r, open_now, NULL);
}

static bool has_owner(const struct room *r)
{
    LIST_EACH (it, &r->occupants)
        if (CONTAINER_OF(it, struct occupant, node)->affiliation == AFF_OWNER)
            return true;
    return false;
}

static void end_unwanted(struct room *r, enum err e, void *arg)
{
    static const struct room_delta gone = { .destroy = true,
                                            .by = SLICE_INIT("server"),
                                            .reason = SLICE_INIT("Nobody configured the room.") };
    (void)arg;
    if (e == OK && r->locked && !has_owner(r))
        room_commit(r, &gone, NULL, NULL);
}

static void waited(struct timer *t, struct loop *loop)
{
    struct room *r = CONTAINER_OF(t, struct room, lock);
    (void)loop;
    ensure(room_here(r));
    if (has_owner(r))
        room_open(r);
    else
        room_turn(r, end_unwanted, NULL);
}

void room_lock(struct room *r)
{
    ensure(r->state == ACTOR_READY && !r->stored);
    r->locked = true;
    r->lock.fn = waited;
    if (setting_int(&muc_lock_timeout) > 0)
        timer_set(room_loop(r), &r->lock, (uint64_t)setting_int(&muc_lock_timeout));
}
