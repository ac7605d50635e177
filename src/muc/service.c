#include "muc/service.h"
#include "base/ensure.h"
#include "base/log.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "home/router.h"
#include "home/ticket.h"
#include "muc/info.h"
#include "muc/join.h"
#include "muc/muc.h"
#include "muc/parts.h"
#include "muc/people/find.h"
#include "muc/people/occupant.h"
#include "muc/people/portion.h"
#include "muc/people/show.h"
#include "muc/room/metrics.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "muc/room/settings.h"
#include "muc/state/change.h"
#include "muc/state/check.h"
#include "muc/state/life.h"
#include "muc/state/store.h"
#include "muc/talk/answer.h"
#include "muc/talk/relay.h"
#include "muc/talk/say.h"
#include "talk/iq.h"
#include "talk/messaging.h"
#include "xmpp/ns.h"

struct log_area log_muc = { .name = "muc" };

struct gone {
    const struct worker *worker;
    uint32_t node;
};

/* They leave later in this tick: nothing is freed here. */
static void seats_are_gone(struct room *r, void *arg)
{
    const struct gone *g = arg;
    ensure(r->worker == g->worker && g->node != worker_node(g->worker)->id);
    LIST_EACH (it, &r->occupants) {
        struct occupant *o = CONTAINER_OF(it, struct occupant, node);
        LIST_EACH (at, &o->seats) {
            struct seat *s = CONTAINER_OF(at, struct seat, node);
            uint32_t node;
            (void)node_home(worker_node(g->worker), seat_bare(s), &node);
            if (node == g->node && !list_linked(&s->away)) /* others are of other servers */
                room_seat_gone(r, s);
        }
    }
}

static void service_node_gone(struct worker *w, uint32_t node)
{
    rooms_each(w, seats_are_gone, &(struct gone){ w, node });
}

/* What occupants send does not reach their room while group chat is off: they would stay in it as
 * ghosts, so they leave. */
static void put_out(struct room *r, void *arg)
{
    static const struct show gone = { .codes = "332" }; /* XEP-0045 §15.6.2 */
    (void)arg;
    room_leave_all(r, &gone);
}

static void service_switched(struct worker *w, const struct setting *s)
{
    if (!setting_bool(s))
        rooms_each(w, put_out, NULL);
}

static struct setting enabled = {
    .name = "muc.enabled",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .changed = service_switched,
    .doc = "Whether there is group chat (XEP-0045) at conference.<domain> of each domain. Off: all "
           "occupants leave their rooms, and persistent rooms wait until it is on again.",
};

/* No room: who asks is told, who speaks too; only presence may make one (§10.1). */
static enum routed nowhere(struct room *r, struct stanza *st)
{
    if (st->kind == STANZA_PRESENCE)
        return room_found(r, st);
    /* XEP-0410 §3.2: to a client that asks whether it is still there, item-not-found would say so
     */
    if (stanza_is_request(st) && !stanza_to_is_bare(st))
        return room_not_in(r, st);
    route_error(r->worker, st, SE_ITEM_NOT_FOUND, SLICE("there is no such room"));
    stanza_unref(&st);
    return ROUTED;
}

/* While there are no instant messages: what clients of ours send does not come this far. true:
 * takes over st. */
static bool service_is_silent(struct room *r, struct stanza *st)
{
    struct refusal why = { .error = SE_NOT_ALLOWED };
    enum verdict v = PASS;
    if (setting_bool(&messaging_enabled))
        return false;
    if (st->kind == STANZA_MESSAGE)
        v = messaging_takes(st, &why);
    else if (st->kind == STANZA_PRESENCE && st->type == TYPE_AVAILABLE &&
             (r->state != ACTOR_READY || room_seat(r, stanza_from(st)) == NULL))
        v = messaging_takes_entry(&why);
    if (v == REFUSE)
        stage_refuse(r->worker, st, &why);
    else if (v != PASS)
        stanza_unref(&st);
    return v != PASS;
}

/* A stanza to the room, or to an occupant of it, when the room is loaded. Takes over st. */
static enum routed room_receive(struct room *r, struct stanza *st, struct origin origin)
{
    if (st->kind == STANZA_PRESENCE && st->type == TYPE_ERROR &&
        (r->state != ACTOR_READY || room_seat(r, stanza_from(st)) == NULL))
        ROOM_EMIT(unseated, r, st);
    if (!room_is_served(r) && st->type != TYPE_UNAVAILABLE) { /* it was when this was sent */
        route_error(r->worker, st, SE_SERVICE_UNAVAILABLE, (slice){ 0 });
        stanza_unref(&st);
        return ROUTED;
    }
    if (service_is_silent(r, st))
        return ROUTED;
    if (r->state != ACTOR_READY)
        return nowhere(r, st);
    switch ((enum stanza_kind)st->kind) {
    case STANZA_PRESENCE:
        return room_presence(r, st);
    case STANZA_MESSAGE:
        return room_message(r, st, origin);
    default:
        return stanza_is_request(st) && stanza_to_is_bare(st)
                   ? iq_to_room(r->worker, r->host, st, origin)
                   : room_iq_relay(r, st);
    }
}

static enum routed service_receive(struct worker *w, const struct host *h, struct stanza *st,
                                   struct origin origin)
{
    slice bare = stanza_to_bare(st);
    if (memchr(bare.ptr, '@', bare.len) == NULL) { /* the service, or a resource of it */
        if (stanza_is_request(st) || (st->kind == STANZA_MESSAGE && stanza_has(st, KNOWN(BODY))))
            route_error(w, st, SE_SERVICE_UNAVAILABLE, (slice){ 0 });
        stanza_unref(&st);
        return ROUTED;
    }
    struct room *r = room_get(w, h, bare);
    if (!actor_waits(&r->actor)) {
        room_pin(r);
        enum routed routed = room_receive(r, st, origin);
        room_unpin(r);
        return routed;
    }
    if (actor_wait(&r->actor, &(struct actor_item){ .st = st, .origin = origin }))
        return origin.session != 0 ? ROUTE_PENDING : ROUTED;
    route_error(w, st, SE_RESOURCE_CONSTRAINT, SLICE("too many stanzas wait for this room"));
    stanza_unref(&st);
    return ROUTED;
}

/* A session is back after a planned restart: it takes its seat again, and nobody is told. */
static void back(struct worker *w, slice room, const struct audience_member *m)
{
    room_restore(w, room, m);
}

/* The actor. */

/* Departures must be heard: nobody else says that a session of ours is gone. */
static bool is_leave(const struct stanza *st)
{
    return st->kind == STANZA_PRESENCE && st->type == TYPE_UNAVAILABLE;
}

static void room_handle(struct actor *a, const struct actor_item *it)
{
    if (room_receive(room_of(a), it->st, it->origin) == ROUTED && it->origin.session != 0)
        ticket_done(a->worker, it->origin);
}

static void service_refuse(struct actor *a, const struct actor_item *it, enum err e)
{
    struct stanza *st = it->st;
    (void)e;
    ensure(st != NULL && e != OK);
    route_error(a->worker, st, SE_RESOURCE_CONSTRAINT, SLICE("the room could not be read now"));
    stanza_unref(&st);
    if (it->origin.session != 0)
        ticket_done(a->worker, it->origin);
}

static void room_call(struct actor *a, actor_any_fn *fn, enum err e, void *arg)
{
    ensure(fn != NULL);
    ((room_fn *)fn)(room_of(a), e, arg);
}

static void room_begin(struct actor *a) { room_load(room_of(a)); }

static void room_drop(struct actor *a) { changes_drop(room_of(a)); }

static uint64_t room_idle_ms(void) { return (uint64_t)setting_int(&muc_unload_after); }

enum { ABSENT_MAX = 1024 };

static const struct actor_kind room_kind = {
    .loaded = &rooms_loaded_metric,
    .idle_max = UINT32_MAX,
    .absent_max = ABSENT_MAX,
    .calls_max = ROOM_CALLS_MAX,
    .idle_ms = room_idle_ms,
    .load = room_begin,
    .handle = room_handle,
    .refuse = service_refuse,
    .call = room_call,
    .urgent = is_leave,
    .in_use = room_in_use,
    .ends_unused = room_ends_unused,
    .may_unload = room_may_unload,
    .unload = room_unload,
    .check = room_check,
    .drop = room_drop,
};

static const char *const features_of_service[] = {
    NS_MUC,
    "http://jabber.org/protocol/muc#unique",
    "http://jabber.org/protocol/muc#stable_id",
    NS_MUC_DIRECT,
    NS_OCCUPANT_ID,
    NS_RSM,
    NS_VCARD, /* of rooms (XEP-0486 §3.1) */
    NS_HATS,
    NULL,
};

const struct host muc_hosts[] = {
    { .label = MUC_LABEL,
      .category = "conference",
      .type = "text",
      .name = "Group chat",
      .disco = features_of_service,
      .enabled = &enabled,
      .iq = muc_service_rules,
      .receive = service_receive },
    { 0 },
};

static void muc_start(void)
{
    room_parts_set(room_parts);
    rooms_start(&room_kind);
}

static void service_worker_start(struct worker *w)
{
    if (duty_is_here(w, DUTY_ROOMS))
        rooms_count_stored(w);
}

const struct feature muc_service_feature = {
    .name = "muc_service",
    .parts = PART_ROOM,
    .disco = (const char *const[]){ NS_MUC_DIRECT, NULL },
    .hosts = muc_hosts,
    .settings = (struct setting *const[]){ &enabled, NULL },
    .disco_get = room_disco_get,
};

const struct feature muc_feature = {
    .name = "muc",
    .iq = room_info_rules,
    .xeps =
        (const struct xep[]){ { "0045", "1.35.5", "Multi-User Chat", "0.1.0", "rooms/test_occupant",
                                "nicknames are not locked down; no public logs: 170 means that the "
                                "room is archived; inviting an address does not reveal whether it "
                                "exists; 332 is sent at the start after a stop, not to those who "
                                "have kept their seats" },
                              { "0249", "0.2", "Direct MUC Invitations", "0.1.0",
                                "rooms/test_occupant",
                                "attributes of later versions pass through" },
                              { "0410", "1.0.1", "MUC Self-Ping (Schrödinger's Chat)", "0.1.0",
                                "rooms/test_modern", NULL },
                              { "0421", "1.0.0", "Occupant identifiers for semi-anonymous MUCs",
                                "0.1.0", "rooms/test_modern", NULL },
                              { 0 } },
    .schema = &room_schema,
    .settings = muc_settings,
    .metrics = room_say_metrics,
    .logs = (struct log_area *const[]){ &log_muc, NULL },
    .start = muc_start,
    .worker.slot = &rooms_slot,
    .worker.start = service_worker_start,
    .worker.ended = rooms_stop,
    .worker.node_gone = service_node_gone,
    .messages = room_info_messages,
    .one.rooms = &(const struct audience_owner){ .back = back, .stopping = portions_end },
};
