#include "muc/join.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_read.h"
#include "codec/xml_write.h"
#include "core/audience.h"
#include "home/here.h"
#include "home/node.h"
#include "muc/people/affiliation.h"
#include "muc/people/find.h"
#include "muc/people/guess.h"
#include "muc/people/occupant.h"
#include "muc/people/pace.h"
#include "muc/people/removal.h"
#include "muc/people/show.h"
#include "muc/people/voice.h"
#include "muc/room/config.h"
#include "muc/room/makers.h"
#include "muc/room/metrics.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "muc/room/settings.h"
#include "muc/state/create.h"
#include "muc/state/lock.h"
#include "muc/state/subject.h"
#include "muc/talk/bounce.h"
#include "muc/talk/record.h"
#include "xmpp/muc.h"
#include "xmpp/nickname.h"
#include "xmpp/ns.h"

enum { SEATS_EACH_MAX = 100 /* sessions of one bare JID in a room */ };

/* One that asks to enter, or for another nickname. */
struct entry {
    struct room *room;
    struct stanza *st;
    slice nick, key; /* prepared, and as it is compared; scratch */
    bool fresh;      /* the room was made for it */
    bool renamed;    /* the nickname is not what was asked for (status 210) */
    bool protocol;   /* <x/> of this protocol is there */
    bool hidden;
    struct elem x;
    enum affiliation affiliation;
};

/* §7.2: an answer to presence that asked to enter has its <x/> too; errors go to the client by the
 * occupant JID that it used, unless that is none. type NULL: the usual one. */
static void refuse_as(struct entry *e, enum stanza_error error, const char *type, slice text)
{
    metric_add(&room_joins_refused_metric, 1);
    struct buf b;
    struct xml_write x;
    xml_begin(&x, &b, XML_PART_MAX);
    if (e->protocol)
        xml_empty(&x, "x", NS_MUC);
    stanza_error_write_parts(&x,
                             &(struct stanza_error_parts){
                                 .error = error, .type = type, .by = e->room->jid, .text = text });
    slice from = error == SE_JID_MALFORMED ? e->room->jid : stanza_to(e->st);
    route_send(e->room->worker, stanza_make_buf(STANZA_PRESENCE, TYPE_ERROR, from,
                                                stanza_from(e->st), stanza_id(e->st), &b));
}

static void join_refuse(struct entry *e, enum stanza_error error, slice text)
{
    refuse_as(e, error, NULL, text);
}

static void tell_out(struct worker *w, slice occupant, slice to, slice id, slice xml)
{
    route_send(w, stanza_make(STANZA_PRESENCE, TYPE_UNAVAILABLE, occupant, to, id, xml));
}

/* §7.2.18: the client believes that it is in the room, but is not. Since group chat 1.0 is off, it
 * is told that it is out. */
static void kick_stranger(struct room *r, const struct stanza *st)
{
    metric_add(&room_joins_refused_metric, 1);
    tell_out(r->worker, stanza_to(st), stanza_from(st), (slice){ 0 },
             SLICE("<x xmlns='" NS_MUC_USER "'><item affiliation='none' role='none'><reason>You "
                   "are not in the room.</reason></item><status code='110'/><status code='307'/>"
                   "<status code='333'/></x>"));
}

static bool nick_read(struct entry *e)
{
    struct arena *tmp = room_scratch(e->room);
    slice asked = slice_from(stanza_to(e->st), e->st->to_bare_len + 1u);
    if (stanza_to_is_bare(e->st)) {
        join_refuse(e, SE_JID_MALFORMED, SLICE("a nickname is needed to enter a room"));
        return false;
    }
    if (asked.len > (size_t)setting_int(&muc_nick_bytes)) {
        join_refuse(e, SE_NOT_ACCEPTABLE, SLICE("the nickname is too long"));
        return false;
    }
    if (nickname_enforce(asked, tmp, &e->nick) != OK) {
        join_refuse(e, SE_JID_MALFORMED, SLICE("this cannot be a nickname"));
        return false;
    }
    e->key = nickname_key(e->nick, tmp);
    e->renamed = !slice_eq(asked, e->nick);
    return true;
}

/* §7.2.8, §7.2.9: taken by another, or reserved for another. */
static bool nick_taken(const struct entry *e)
{
    slice bare = stanza_from_bare(e->st);
    return room_nick_used(e->room, e->nick, bare) || room_nick_reserved(e->room, e->nick, bare);
}

static bool password_fits(const struct entry *e)
{
    struct arena *tmp = room_scratch(e->room);
    struct elem password;
    bool given = e->protocol && elem_child(&e->x, "password", NS_MUC, &password);
    if (room_password_right(&e->room->config, given ? elem_text(&password, tmp) : (slice){ 0 }))
        return true;
    if (given)
        room_guessed(e->room, stanza_from_bare(e->st));
    return false;
}

/* §7.2.9: the limit of occupants; administrators and owners can enter anyway. */
static bool join_is_full(const struct entry *e)
{
    const struct room *r = e->room;
    const struct room_config *c = &r->config;
    if (r->occupant_count >= (uint64_t)setting_int(&muc_occupants_max))
        return true;
    if (e->hidden && r->hidden_count >= room_hidden_max(c))
        return true;
    return r->occupant_count >= room_users_max(c) && e->affiliation < AFF_ADMIN;
}

/* One address with ever new resources does not fill the room. */
static bool has_enough(const struct entry *e)
{
    return room_seats_of(e->room, stanza_from_bare(e->st)) >= SEATS_EACH_MAX;
}

/* A hidden occupant has this nickname, which the entering user must not find out by a refusal. */
static bool join_gives_way(const struct entry *e, const struct occupant *o)
{
    return o->hidden && !slice_eq(seat_bare(occupant_seat(o)), stanza_from_bare(e->st));
}

static bool may_enter(struct entry *e)
{
    struct room *r = e->room;
    const struct occupant *o = map_get(&r->nicks, e->key);
    bool joins = o == NULL || join_gives_way(e, o);

    if (r->locked && !e->fresh && e->affiliation != AFF_OWNER)
        join_refuse(e, SE_ITEM_NOT_FOUND, SLICE("the room is not open yet"));
    else if (!affiliation_may(e->affiliation, ACT_ENTER))
        join_refuse(e, SE_FORBIDDEN, SLICE("you are banned from this room"));
    else if (r->config.members_only && !affiliation_may(e->affiliation, ACT_ENTER_MEMBERS))
        join_refuse(e, SE_REGISTRATION_REQUIRED, SLICE("the room is for members only"));
    else if (!e->fresh && r->config.password && e->affiliation < AFF_MEMBER &&
             room_guesses_too_fast(r, stanza_from_bare(e->st)))
        refuse_as(e, SE_POLICY_VIOLATION, "wait",
                  SLICE("too many wrong passwords were tried; wait some minutes"));
    else if (!e->fresh && !password_fits(e))
        join_refuse(e, SE_NOT_AUTHORIZED, SLICE("the room asks for a password"));
    else if (nick_taken(e))
        join_refuse(e, SE_CONFLICT, SLICE("the nickname is taken, or looks like one that is"));
    else if (joins && join_is_full(e))
        refuse_as(e, SE_SERVICE_UNAVAILABLE, "wait", SLICE("the room is full"));
    else if (joins && room_returns_too_fast(r, stanza_from_bare(e->st)))
        refuse_as(e, SE_POLICY_VIOLATION, "wait",
                  SLICE("you come and go too often; wait a little"));
    else if (has_enough(e))
        join_refuse(e, SE_RESOURCE_CONSTRAINT, SLICE("too many of your sessions are in this room"));
    else
        return true;
    return false;
}

/* §7.2.3: everybody who is there, oldest first. */
static void show_all_to(struct room *r, const struct seat *s)
{
    unsigned with_jid = room_shows_jids(r, s->occupant);
    LIST_EACH (it, &r->occupants) {
        struct occupant *o = CONTAINER_OF(it, struct occupant, node);
        if (o != s->occupant && o->known)
            audience_tell(&r->audience, s->jid, occupant_shown(r, o, with_jid));
    }
}

/* Status codes that are told on entering (§7.2.2, §7.2.3, §7.2.5, §10.1). */
static const char *join_codes_of(const struct entry *e)
{
    return arena_printf(room_scratch(e->room), "%s%s%s", room_codes(e->room),
                        e->fresh ? " 201" : "", e->renamed ? " 210" : "");
}

static void join_welcome(struct entry *e, struct seat *s)
{
    struct room *r = e->room;
    struct occupant *o = s->occupant;
    ensure(!s->ghost && list_linked(&s->node));

    show_all_to(r, s);
    ROOM_EMIT(welcome, r, s);
    o->known = occupant_visible(r, o);
    if (o->known)
        room_show_entered(r, o);
    LIST_EACH (it, &o->seats) {
        struct seat *other = CONTAINER_OF(it, struct seat, node);
        if (other != s)
            room_show_self(r, o, other, NULL);
    }
    room_show_self(r, o, s, join_codes_of(e));
    room_send_history(r, s, e->protocol ? &e->x : NULL);
    room_send_subject(r, s);
}

static struct occupant *occupant_new(const struct entry *e, enum room_role role)
{
    struct room *r = e->room;
    struct occupant *o = occupant_create(r, e->nick, stanza_from_bare(e->st));
    ensure(role != ROLE_NONE && (!e->hidden || e->affiliation >= AFF_ADMIN));
    o->affiliation = (uint8_t)e->affiliation;
    o->role = (uint8_t)role;
    o->hidden = e->hidden;
    r->hidden_count += o->hidden;
    return o;
}

static void join_enter(struct entry *e)
{
    struct room *r = e->room;
    struct occupant *o = map_get(&r->nicks, e->key);
    bool joins = o == NULL;

    if (!may_enter(e))
        return;
    if (!joins && join_gives_way(e, o)) {
        room_give_way(r, o);
        joins = true;
    }
    if (joins) {
        o = occupant_new(e, affiliation_role(e->affiliation, room_flags(&r->config)));
        room_voice_take(r, o);
    }
    struct seat *s = seat_create(r, o, e->st, false);
    metric_add(&room_joins_metric, 1);
    join_welcome(e, s);
    log_debug(&log_muc, LOG_EV("room.enter"), LOG_S("room", r->jid), LOG_S("jid", s->jid));
}

/* §7.6. All sessions that share the nickname share the new one. */
static void rename_occupant(struct entry *e, struct seat *s)
{
    struct room *r = e->room;
    struct occupant *o = s->occupant;

    struct occupant *other = map_get(&r->nicks, e->key);
    bool free = other == NULL || other == o || join_gives_way(e, other);
    if (nick_taken(e) || !free) {
        join_refuse(e, SE_CONFLICT, SLICE("the nickname is taken, or looks like one that is"));
        return;
    }
    if (o->role == ROLE_VISITOR && r->config.moderated) {
        join_refuse(e, SE_NOT_ACCEPTABLE, SLICE("visitors keep their nickname here"));
        return;
    }
    if (room_too_fast(r, o)) { /* all are told, as of a message */
        refuse_as(e, SE_POLICY_VIOLATION, "wait", SLICE("too many changes; wait a little"));
        return;
    }
    if (other != NULL && other != o)
        room_give_way(r, other);
    room_show(r, o, &(struct show){ .codes = "303", .nick = e->nick });
    occupant_rename(r, o, e->nick);
    seat_presence(r, s, e->st);
    if (e->protocol) /* §17.3: it asks for all of it, by the new nickname */
        join_welcome(e, s);
    else
        room_show(r, o, &(struct show){ .own = e->renamed ? "110 210" : NULL });
}

/* A request to enter hidden is refused if the user may not, or is already visible. Entering visibly
 * instead would be worse. */
static bool hidden_read(struct entry *e, const struct seat *s)
{
    struct elem hidden;
    const struct occupant *o = s != NULL ? s->occupant : map_get(&e->room->nicks, e->key);
    bool seen = o != NULL && !o->hidden;
    e->hidden = e->protocol && elem_child(&e->x, "hidden", NS_ROOMS, &hidden);
    if (e->hidden && e->affiliation < AFF_ADMIN)
        join_refuse(e, SE_FORBIDDEN, SLICE("only owners and administrators may enter hidden"));
    else if (e->hidden && seen)
        join_refuse(e, SE_CONFLICT, SLICE("this nickname is seen in the room already"));
    else
        return true;
    return false;
}

static void join_available(struct room *r, struct stanza *st, struct seat *s)
{
    struct entry e = { .room = r, .st = st, .fresh = r->locked && r->seat_count == 0 };
    e.protocol = stanza_child(st, KNOWN_MUC, &e.x);
    bool enters = e.protocol || r->config.groupchat1;
    if (s == NULL && !enters && !stanza_to_is_bare(st)) {
        kick_stranger(r, st);
        return;
    }
    if (!nick_read(&e))
        return;
    if (st->child_count > XML_CHILDREN_MAX - MORE_CHILDREN) {
        join_refuse(&e, SE_NOT_ACCEPTABLE, SLICE("too many elements"));
        return;
    }
    if (st->content_len > (size_t)setting_int(&muc_presence_bytes)) {
        join_refuse(&e, SE_NOT_ACCEPTABLE, SLICE("the presence is too large"));
        return;
    }
    e.affiliation = room_affiliation(r, stanza_from_bare(st));
    if (!hidden_read(&e, s))
        return;
    if (s == NULL) {
        join_enter(&e);
    } else if (!slice_eq(e.key, s->occupant->key) || !slice_eq(e.nick, s->occupant->nick)) {
        rename_occupant(&e, s);
    } else if (!e.protocol) {
        seat_presence(r, s, st);
        room_show_presence(r, s->occupant);
    } else if (room_too_fast(r, s->occupant)) {
        refuse_as(&e, SE_POLICY_VIOLATION, "wait", SLICE("too many requests; wait a little"));
    } else { /* it lost its state and asks for all of it again */
        seat_presence(r, s, st);
        join_welcome(&e, s);
    }
}

enum routed room_presence(struct room *r, struct stanza *st)
{
    struct seat *s = room_seat(r, stanza_from(st));
    ensure(room_here(r) && r->state == ACTOR_READY);
    room_pin(r);
    if (st->type == TYPE_AVAILABLE) {
        join_available(r, st, s);
    } else if (st->type == TYPE_UNAVAILABLE && s != NULL) {
        /* §10.1.3: a room that nobody configured goes with who made it */
        bool unmade = r->locked && r->seat_count == 1 && r->changes_due == 0;
        if (unmade) { /* it has left, and then there is no such room (§7.14, §10.9) */
            s->occupant->role = ROLE_NONE;
            room_show_left(r, s->occupant, s, &(struct show){ .left = st });
        }
        room_seat_leave(r, s, &(struct show){ .left = st, .destroyed = unmade });
    } else if (st->type == TYPE_ERROR) {
        room_bounced(r, s, st);
    }
    stanza_unref(&st);
    room_unpin(r);
    return ROUTED;
}

/* Sessions keep their seats, in a planned restart in rooms that are stored. */

struct returning {
    enum room_role role;
    bool hidden;
    struct stanza *presence;
};

void room_tell_shutdown(struct worker *w, slice occupant, slice to)
{
    char id[REMOVAL_ID_MAX];
    const struct removal m = { .affiliation = AFF_NONE, .codes = SLICE("332") };
    tell_out(w, occupant, to, removal_id(id, &m, to),
             SLICE("<x xmlns='" NS_MUC_USER "'><item affiliation='none' role='none'/>"
                   "<status code='110'/><status code='332'/></x>"));
}

/* The room did not outlive the restart, or has no place for it any more. */
static void turn_away(struct worker *w, const struct returning *b)
{
    room_tell_shutdown(w, stanza_to(b->presence), stanza_from(b->presence));
}

/* By a nickname that somebody else has registered meanwhile, too: one could stay by it. */
static bool has_place(struct entry *e)
{
    struct room *r = e->room;
    return (!e->hidden || e->affiliation >= AFF_ADMIN) && nick_read(e) &&
           !room_nick_used(r, e->nick, stanza_from_bare(e->st)) &&
           affiliation_role(e->affiliation, room_flags(&r->config)) != ROLE_NONE;
}

static void returning_free(struct returning *b)
{
    stanza_unref(&b->presence);
    mem_free(&b);
}

/* The session has moved to another home, and the room has gone on. What the room knows of the seat
 * is newer than what the session has brought. */
static void join_keep_seat(struct room *r, struct seat *s)
{
    s->ghost = false;
    seat_audience(r, s);
}

static void join_new_seat(struct entry *e, const struct returning *b)
{
    struct room *r = e->room;
    struct occupant *o = map_get(&r->nicks, e->key);
    if (o != NULL && join_gives_way(e, o)) {
        room_give_way(r, o);
        o = NULL;
    }
    if (o == NULL) {
        o = occupant_new(e, b->role);
        o->known = occupant_visible(r, o);
    }
    seat_create(r, o, b->presence, true);
}

static void join_take_seat(struct room *r, enum err e, void *arg)
{
    struct returning *b = arg;
    slice bare = stanza_from_bare(b->presence);
    struct entry entry = {
        .room = r, .st = b->presence, .affiliation = room_affiliation(r, bare), .hidden = b->hidden
    };
    ensure(room_here(r) && b->presence != NULL);
    bool there = e == OK && r->state == ACTOR_READY && room_is_served(r);
    struct seat *s = there ? room_seat(r, stanza_from(b->presence)) : NULL;
    if (s != NULL)
        join_keep_seat(r, s);
    else if (there && has_place(&entry))
        join_new_seat(&entry, b);
    else
        turn_away(r->worker, b);
    returning_free(b);
}

void room_restore(struct worker *w, slice room, const struct audience_member *m)
{
    ensure(m->presence != NULL);
    if (stanza_to_is_bare(m->presence) || m->blob.len != 2 || m->blob.ptr[0] < ROLE_VISITOR ||
        m->blob.ptr[0] > ROLE_MODERATOR)
        return;
    struct returning *b = mem_new(struct returning);
    b->presence = stanza_ref(m->presence);
    b->role = (enum room_role)m->blob.ptr[0];
    b->hidden = m->blob.ptr[1] != 0;
    if (rooms_serve(worker_node(w), room) && node_is_home(w, room)) {
        room_with(w, room, join_take_seat, b);
        return;
    }
    turn_away(w, b); /* no rooms are there any more, or elsewhere */
    returning_free(b);
}

/* Creation (§10.1): the room is there when the first presence comes to where none is. */

enum routed room_found(struct room *r, struct stanza *st)
{
    struct why why = { "" };
    struct entry e = { .room = r, .st = st };
    ensure(room_here(r) && r->state == ACTOR_ABSENT);
    e.protocol = stanza_child(st, KNOWN_MUC, &e.x);

    if (st->type != TYPE_AVAILABLE) {
        stanza_unref(&st);
        return ROUTED;
    }
    if (stanza_to_is_bare(st)) {
        join_refuse(&e, SE_JID_MALFORMED, SLICE("a nickname is needed to enter a room"));
    } else if (!e.protocol && !setting_bool(&muc_new_groupchat1)) {
        kick_stranger(r, st);
    } else if (!muc_may_create(room_node(r), stanza_from_bare(st))) {
        join_refuse(&e, SE_NOT_ALLOWED, SLICE("you may not create rooms here"));
    } else if (!room_maker_may(stanza_from_bare(st), &why) ||
               room_create(r, stanza_from_bare(st), &why) != OK) {
        join_refuse(&e, SE_RESOURCE_CONSTRAINT, slice_of(why.text));
    } else {
        enum routed routed = room_presence(r, st);
        if (!e.protocol || setting_int(&muc_lock_timeout) == 0)
            room_open(r); /* groupchat 1.0 knows no configuration (§16.3) */
        return routed;
    }
    stanza_unref(&st);
    return ROUTED;
}
