#include "muc/people/occupant.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "core/audience.h"
#include "muc/people/due.h"
#include "muc/people/find.h"
#include "muc/people/pace.h"
#include "muc/people/show.h"
#include "muc/people/voice.h"
#include "muc/room/metrics.h"
#include "muc/room/occupant_id.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "muc/room/settings.h"
#include "xmpp/muc.h"
#include "xmpp/nickname.h"

enum { GIVEN_BYTES = 4 };

static void occupant_free(struct occupant *o)
{
    ensure(o->due == NULL);
    stanza_unref(&o->shown[0]);
    stanza_unref(&o->shown[1]);
    slice_release(&o->nick);
    mem_free(&o);
}

static void seat_free(struct seat *s)
{
    list_remove(&s->away);
    list_remove(&s->node);
    stanza_unref(&s->presence);
    mem_free(&s);
}

static void unname(struct room *r, struct occupant *o)
{
    map_del(&r->nicks, o->key);
    alike_remove(&r->looks, &o->look);
}

/* Nobody finds it any more. */
static void occupant_unlist(struct room *r, struct occupant *o)
{
    unname(r, o);
    alike_remove(&r->users, &o->user);
    list_remove(&o->node);
}

void occupants_free(struct room *r)
{
    struct list *it, *at;
    dues_free(r);
    while ((it = list_pop(&r->occupants)) != NULL) {
        struct occupant *o = CONTAINER_OF(it, struct occupant, node);
        occupant_unlist(r, o);
        while ((at = list_pop(&o->seats)) != NULL) {
            struct seat *s = CONTAINER_OF(at, struct seat, node);
            map_del(&r->seats, s->jid);
            audience_remove(&r->audience, s->jid);
            seat_free(s);
        }
        occupant_free(o);
    }
    metric_add(&room_occupants_metric, -(int64_t)r->occupant_count);
    r->occupant_count = r->hidden_count = r->seat_count = 0;
}

/* Nickname, key, look and occupant id are one block, which begins with the nickname. */
static void occupant_name(struct room *r, struct occupant *o, slice nick, slice id)
{
    struct arena *tmp = room_scratch(r);
    slice key = nickname_key(nick, tmp), look = nickname_skeleton(nick, tmp);
    char *at = mem_alloc(nick.len + key.len + look.len + id.len);
    slice was = o->nick;
    ensure_debug(!r->is_showing); /* a departure under the old nickname may be due */
    o->nick = slice_lay(&at, nick);
    o->key = slice_lay(&at, key);
    o->look.text = slice_lay(&at, look);
    o->id = slice_lay(&at, id);
    slice_release(&was);
    map_put(&r->nicks, o);
    alike_add(&r->looks, &o->look);
}

struct occupant *occupant_create(struct room *r, slice nick, slice bare)
{
    ensure(room_here(r) && nick.len > 0);
    struct occupant *o = mem_zalloc(sizeof *o + bare.len);
    o->user.text = (slice){ memcpy(o + 1, bare.ptr, bare.len), bare.len };
    alike_add(&r->users, &o->user);
    list_init(&o->seats);
    char id[OCCUPANT_ID_LEN + 1];
    occupant_name(r, o, nick, occupant_id(id, r->secret, bare));
    room_debt_take(r, o);
    o->number = ++r->next_number;
    list_append(&r->occupants, &o->node);
    r->occupant_count++;
    metric_add(&room_occupants_metric, 1);
    return o;
}

void occupant_changed(struct occupant *o)
{
    stanza_unref(&o->shown[0]);
    stanza_unref(&o->shown[1]);
}

/* A planned restart: what is kept of an occupant, in scratch; see room_restore(). */
static slice seat_blob(const struct room *r, const struct occupant *o)
{
    char *blob = arena_new(room_scratch(r), char, 2);
    blob[0] = (char)o->role;
    blob[1] = (char)o->hidden;
    return (slice){ blob, 2 };
}

static struct audience_member member(const struct room *r, const struct seat *s)
{
    const struct occupant *o = s->occupant;
    return (struct audience_member){ .jid = s->jid,
                                     .seat = o->number,
                                     .bits = o->role == ROLE_MODERATOR ? TO_MODERATORS : TO_OTHERS,
                                     .blob = seat_blob(r, o),
                                     .presence = s->presence };
}

void seat_audience(struct room *r, const struct seat *s)
{
    struct audience_member m = member(r, s);
    if (!list_linked(&s->away))
        audience_set(&r->audience, &m);
}

/* What each of its sessions is known by where it is at home says the nickname, too. */
static void readdress(struct room *r, struct seat *s)
{
    struct arena *tmp = room_scratch(r);
    slice to =
        slice_of(arena_printf(tmp, "%.*s/%.*s", SLICE_ARG(r->jid), SLICE_ARG(s->occupant->nick)));
    struct stanza *presence = stanza_readdress(s->presence, (slice){ 0 }, to);
    stanza_unref(&s->presence);
    s->presence = presence;
    seat_audience(r, s);
}

void occupant_rename(struct room *r, struct occupant *o, slice nick)
{
    ensure(room_here(r) && !list_empty(&o->seats));
    slice was = slice_dup(room_scratch(r), o->nick);
    unname(r, o);
    occupant_name(r, o, nick, o->id);
    LIST_EACH (it, &o->seats)
        readdress(r, CONTAINER_OF(it, struct seat, node));
    occupant_changed(o);
    ROOM_EMIT(renamed, r, o, was);
}

void room_give_way(struct room *r, struct occupant *o)
{
    char *nick, tail[2 * GIVEN_BYTES + 1];
    struct arena *tmp = room_scratch(r);
    ensure(o->hidden);
    do { /* it is random: nobody has it */
        rand_hex(tail, GIVEN_BYTES);
        nick = arena_printf(tmp, "hidden-%s", tail);
    } while (map_get(&r->nicks, nickname_key(slice_of(nick), tmp)) != NULL);
    room_show(r, o, &(struct show){ .codes = "303", .nick = slice_of(nick) });
    occupant_rename(r, o, slice_of(nick));
    room_show(r, o, &(struct show){ .own = "110 210" });
}

void occupant_audience(struct room *r, struct occupant *o)
{
    LIST_EACH (it, &o->seats)
        seat_audience(r, CONTAINER_OF(it, struct seat, node));
}

struct seat *seat_create(struct room *r, struct occupant *o, struct stanza *presence, bool back)
{
    ensure(room_seat(r, stanza_from(presence)) == NULL); /* a session has one seat */
    struct seat *s = mem_zalloc(sizeof *s + presence->from_len);
    s->jid = (slice){ memcpy(s + 1, presence->from, presence->from_len), presence->from_len };
    s->bare_len = presence->from_bare_len;
    s->occupant = o;
    s->number = ++r->next_seat;
    s->asked_us = loop_now_us(room_loop(r));
    s->presence = stanza_ref(presence);
    list_append(&o->seats, &s->node);
    map_put(&r->seats, s);
    r->seat_count++;
    struct affiliate *a = map_get(&r->affiliates, seat_bare(s));
    if (a != NULL)
        a->here++;
    struct audience_member m = member(r, s);
    if (!audience_add(&r->audience, &m))
        list_append(&r->away, &s->away);
    occupant_changed(o);
    ROOM_EMIT(seated, r, s, back);
    return s;
}

void seat_presence(struct room *r, struct seat *s, struct stanza *presence)
{
    struct occupant *o = s->occupant;
    ensure(list_linked(&s->node));
    stanza_ref(presence);
    stanza_unref(&s->presence);
    s->presence = presence;
    s->ghost = false;
    list_remove(&s->node);
    list_append(&o->seats, &s->node);
    seat_audience(r, s);
    occupant_changed(o);
}

/* ends: the room does, too. */
static void seat_remove(struct room *r, struct seat *s, bool ends)
{
    struct affiliate *a = map_get(&r->affiliates, seat_bare(s));
    if (a != NULL) {
        ensure(a->here > 0);
        a->here--;
    }
    ROOM_EMIT(leaves, r, s, ends);
    map_del(&r->seats, s->jid);
    ensure(r->seat_count > 0);
    r->seat_count--;
    if (!list_linked(&s->away))
        audience_remove(&r->audience, s->jid);
    seat_free(s);
}

void room_seat_leave(struct room *r, struct seat *s, const struct show *how)
{
    struct occupant *o = s->occupant;
    if (o->seats.next->next == &o->seats) {
        room_voice_keep(r, o);
        o->role = ROLE_NONE;
        room_leave(r, o, how);
        return;
    }
    /* §7.2.8 and others of the same nickname stay: only it hears that it left */
    enum room_role role = (enum room_role)o->role;
    o->role = ROLE_NONE;
    room_show_left(r, o, s, how);
    o->role = (uint8_t)role;
    bool was_shown = s == occupant_seat(o);
    seat_remove(r, s, false);
    occupant_changed(o);
    if (was_shown && o->due == NULL) /* else it is shown soon, with why it was changed */
        room_show(r, o, &(struct show){ 0 });
}

struct ghost {
    struct loop_defer defer;
    struct seat_ref *who;
    bool told;
};

static void ghost_leaves(struct loop_defer *d)
{
    struct ghost *g = CONTAINER_OF(d, struct ghost, defer);
    struct room *r;
    struct seat *s = seat_ref_find(g->who, &r);
    if (s != NULL && (s->ghost || g->told))
        room_seat_leave(r, s, &(struct show){ .codes = "333" });
    mem_free(&g->who);
    mem_free(&g);
}

static void seat_goes(struct room *r, const struct seat *s, bool told)
{
    ensure(room_here(r) && s->ghost != told);
    struct ghost *g = mem_new(struct ghost);
    g->defer.fn = ghost_leaves;
    g->who = seat_ref_new(r, s);
    g->told = told;
    loop_defer(room_loop(r), &g->defer);
}

void room_seat_gone(struct room *r, struct seat *s)
{
    if (s->ghost)
        return;
    s->ghost = true;
    seat_goes(r, s, false);
}

void room_seat_parts(struct room *r, const struct seat *s)
{
    if (!s->ghost)
        seat_goes(r, s, true);
}

void room_leave(struct room *r, struct occupant *o, const struct show *how)
{
    ensure(o->role == ROLE_NONE); /* it is shown to go */
    room_pin(r);
    occupant_changed(o);
    room_show(r, o, how);
    room_debt_keep(r, o);
    occupant_unlist(r, o);
    ensure(r->occupant_count > 0 && r->hidden_count >= o->hidden);
    r->occupant_count--;
    metric_add(&room_occupants_metric, -1);
    r->hidden_count -= o->hidden;
    LIST_EACH (it, &o->seats)
        seat_remove(r, CONTAINER_OF(it, struct seat, node), how->destroyed);
    log_debug(&log_muc, LOG_EV("room.leave"), LOG_S("room", r->jid), LOG_S("nick", o->nick));
    occupant_free(o);
    room_unpin(r);
}

void room_leave_all(struct room *r, const struct show *how)
{
    struct show alone = *how;
    alone.all = true;
    room_pin(r);
    LIST_EACH (it, &r->occupants) {
        struct occupant *o = CONTAINER_OF(it, struct occupant, node);
        o->role = ROLE_NONE;
        room_leave(r, o, &alone);
    }
    room_unpin(r);
}
