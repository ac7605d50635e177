#include "muc/state/create.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/rand.h"
#include "muc/archive/archive.h"
#include "muc/archive/history.h"
#include "muc/people/affiliation.h"
#include "muc/room/config.h"
#include "muc/room/makers.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "muc/state/lock.h"
#include "muc/state/store.h"
#include "xmpp/muc.h"

enum err room_create(struct room *r, slice creator, struct why *why)
{
    ensure(room_here(r) && r->state == ACTOR_ABSENT && !r->stored);
    if (!rooms_reserve(creator, why))
        return E_LIMIT;
    r->id = room_new_id();
    actor_become(&r->actor, ACTOR_READY);
    room_lock(r);
    r->created_us = loop_wall_us(room_loop(r));
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
