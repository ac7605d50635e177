/* absent: shows members and administrators who are not in the room to those who are, if the room
 * wants that (muster#roomconfig_showabsent). Status 102 and 103 of XEP-0045 §15.6 tell when this
 * begins and ends. They are shown by unavailable presence with their affiliation and no role. Their
 * nickname is the one that they have registered, or, where everybody sees addresses, the localpart
 * of their address.
 *
 * Limit: in a room with more than ABSENT_MAX affiliations no absent person is shown. */
#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/audience.h"
#include "muc/parts.h"
#include "muc/people/affiliation.h"
#include "muc/people/find.h"
#include "muc/people/portion.h"
#include "muc/people/show.h"
#include "muc/room/config.h"
#include "muc/room/occupant_id.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "xmpp/muc.h"
#include "xmpp/nickname.h"
#include "xmpp/ns.h"

enum { ABSENT_MAX = 1000 };

struct showing {
    struct room *room;
    const struct seat *to; /* NULL: to all */
    struct arena *tmp;
    struct map here, shown; /* sets: bare JIDs that are here, nicknames that were shown */
};

static void absent_add(struct map *set, slice text, struct arena *tmp)
{
    slice *one = arena_new(tmp, slice, 1);
    *one = text;
    if (map_get(set, text) == NULL)
        map_put(set, one);
}

/* false: there is no name that is the user's alone. */
static bool absent_name_of(struct showing *s, const struct affiliate *a, slice *nick)
{
    const struct room *r = s->room;
    struct jid j = jid_split(a->jid);
    if (a->nick.len > 0) {
        *nick = a->nick;
    } else {
        if (r->config.whois != WHOIS_ANYONE || j.local.len == 0 ||
            nickname_enforce(j.local, s->tmp, nick) != OK)
            return false;
        if (room_reserved(r, nickname_key(*nick, s->tmp)) != NULL)
            return false;
    }
    return room_occupant(r, *nick, s->tmp) == NULL && map_get(&s->shown, *nick) == NULL;
}

static struct stanza *absent_presence_of(const struct room *r, const struct affiliate *a,
                                         slice nick, slice jid)
{
    slice from = room_address(r, nick, room_scratch(r));
    char id[OCCUPANT_ID_LEN + 1];
    struct buf xml;
    struct xml_write x;
    xml_begin(&x, &xml, XML_PART_MAX);
    xml_open(&x, "x", NS_MUC_USER);
    xml_open_with(&x, "item", NULL, "affiliation",
                  affiliation_name((enum affiliation)a->affiliation));
    xml_attr(&x, "role", SLICE("none"));
    xml_attr_some(&x, "jid", jid);
    xml_close_all(&x);
    occupant_id_write(&x, occupant_id(id, r->secret, a->jid)); /* XEP-0421 §4: in all presence */
    struct stanza *st = stanza_make(STANZA_PRESENCE, TYPE_UNAVAILABLE, from, (slice){ "", 0 },
                                    (slice){ 0 }, buf_fit(&xml));
    buf_fini(&xml);
    return st;
}

static void absent_send_all(struct room *r, const struct affiliate *a, slice nick)
{
    struct stanza *st[2] = { absent_presence_of(r, a, nick, (slice){ 0 }),
                             absent_presence_of(r, a, nick, a->jid) };
    room_send_in_turn(r, st);
    stanza_unref(&st[0]);
    stanza_unref(&st[1]);
}

static void absent_show_one(struct showing *s, const struct affiliate *a)
{
    struct room *r = s->room;
    slice nick;
    if (a->affiliation < AFF_MEMBER || map_get(&s->here, a->jid) != NULL ||
        !absent_name_of(s, a, &nick))
        return;
    absent_add(&s->shown, nick, s->tmp);
    if (s->to == NULL) {
        absent_send_all(r, a, nick);
        return;
    }
    bool with_jid = room_shows_jids(r, s->to->occupant);
    struct stanza *st = absent_presence_of(r, a, nick, with_jid ? a->jid : (slice){ 0 });
    audience_tell(&r->audience, s->to->jid, st);
    stanza_unref(&st);
}

/* All of them to one session that has entered; to NULL: to all occupants. */
static void show_absent(struct room *r, const struct seat *to)
{
    struct showing s = { .room = r, .to = to, .tmp = room_scratch(r) };
    const struct affiliate *a;
    if (!r->config.absent_visible || r->affiliates.count > ABSENT_MAX)
        return;
    map_init(&s.here, map_key_slice);
    map_init(&s.shown, map_key_slice);
    LIST_EACH (it, &r->occupants) {
        const struct occupant *o = CONTAINER_OF(it, struct occupant, node);
        if (!o->hidden || (to != NULL && o == to->occupant))
            absent_add(&s.here, seat_bare(occupant_seat(o)), s.tmp);
    }
    for (uint32_t i = 0; (a = map_next(&r->affiliates, &i)) != NULL;)
        absent_show_one(&s, a);
    map_fini(&s.here);
    map_fini(&s.shown);
}

static bool absent_is_here(const struct room *r, slice bare, const struct occupant *to)
{
    for (const struct occupant *o = room_occupant_of(r, bare); o != NULL; o = occupant_before(o))
        if (!o->hidden || o == to)
            return true;
    return false;
}

/* Whose nickname it is, as absent_name_of() gives it, unless nickname_enforce() changes it. */
static const struct affiliate *absent_of_nick(const struct room *r, slice nick,
                                              const struct occupant *to)
{
    const struct affiliate *a = room_reserved(r, nickname_key(nick, room_scratch(r)));
    if (a != NULL) {
        bool is = slice_eq(a->nick, nick) && a->affiliation >= AFF_MEMBER;
        return is && !absent_is_here(r, a->jid, to) ? a : NULL;
    }
    if (r->config.whois != WHOIS_ANYONE)
        return NULL;
    for (uint32_t i = 0; (a = map_next(&r->affiliates, &i)) != NULL;)
        if (a->nick.len == 0 && a->affiliation >= AFF_MEMBER &&
            slice_eq(jid_split(a->jid).local, nick) && !absent_is_here(r, a->jid, to))
            return a;
    return NULL;
}

static struct stanza *absent_unseen(struct room *r, const struct seat *to, slice nick)
{
    if (!r->config.absent_visible || r->affiliates.count > ABSENT_MAX ||
        room_occupant(r, nick, room_scratch(r)) != NULL)
        return NULL;
    const struct affiliate *a = absent_of_nick(r, nick, to->occupant);
    if (a == NULL)
        return NULL;
    bool with_jid = room_shows_jids(r, to->occupant);
    return absent_presence_of(r, a, nick, with_jid ? a->jid : (slice){ 0 });
}

static void absent_announced(struct room *r, const struct room_configured *c)
{
    if ((c->diff & DIFF_ABSENT_VISIBLE) != 0)
        show_absent(r, NULL);
}

const struct room_part absent_part = {
    .name = "absent",
    .welcome = show_absent,
    .unseen = absent_unseen,
    .announced = absent_announced,
};
