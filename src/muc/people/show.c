#include "muc/people/show.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "codec/xml_elem.h"
#include "codec/xml_read.h"
#include "codec/xml_write.h"
#include "core/audience.h"
#include "home/router.h"
#include "muc/people/due.h"
#include "muc/people/find.h"
#include "muc/people/removal.h"
#include "muc/room/config.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/settings.h"
#include "xmpp/archive_id.h"
#include "xmpp/muc.h"
#include "xmpp/ns.h"

static void codes_write(struct xml_write *x, const char *codes)
{
    slice rest = slice_of(codes), code;
    while (slice_word(&rest, &code)) {
        xml_empty_with(x, "status", NULL, "code", code);
    }
}

static void destroyed_write(struct xml_write *x, const struct show *how)
{
    xml_open(x, "destroy", NULL);
    xml_attr_some(x, "jid", how->alternate);
    xml_element_some(x, "password", how->password);
    xml_element_some(x, "reason", how->reason);
    xml_close(x);
}

void occupant_id_write(struct xml_write *x, slice id)
{
    xml_empty_with(x, "occupant-id", NS_OCCUPANT_ID, "id", id);
}

void stanza_id_write(struct xml_write *x, const struct room *r, uint64_t id)
{
    char text[ARCHIVE_ID_LEN];
    archive_id_write(text, id);
    xml_open_with(x, "stanza-id", NS_SID, "by", r->jid);
    xml_attr(x, "id", (slice){ text, sizeof text });
    xml_close(x);
}

/* <x/> of muc#user; jid empty: not shown; self: codes for the occupant alone, NULL: to others. */
static void user_write(struct xml_write *x, const struct occupant *o, slice jid,
                       const struct show *how, const char *self)
{
    bool gone = how->destroyed;
    xml_open(x, "x", NS_MUC_USER);
    xml_open(x, "item", NULL);
    xml_attr(x, "affiliation",
             gone ? SLICE("none") : affiliation_name((enum affiliation)o->affiliation));
    xml_attr(x, "role", role_name((enum room_role)o->role));
    xml_attr_some(x, "jid", gone ? (slice){ 0 } : jid);
    xml_attr_some(x, "nick", how->nick);
    if (how->actor_nick.len > 0) {
        xml_empty_with(x, "actor", NULL, "nick", how->actor_nick);
    }
    if (!gone)
        xml_element_some(x, "reason", how->reason);
    xml_close(x);
    if (gone)
        destroyed_write(x, how);
    codes_write(x, self);
    codes_write(x, how->codes);
    xml_close(x);
}

/* Elements that a client may not say of itself; hats are given by the room (XEP-0317). */
static const uint64_t forged =
    KNOWN(MUC) | KNOWN(MUC_USER) | KNOWN(OCCUPANT_ID) | KNOWN(STANZA_ID) | KNOWN(PAYLOAD);

static bool is_forged(enum known_child known, const struct elem *e, void *arg)
{
    (void)arg;
    return known != KNOWN_PAYLOAD || elem_is(e, "hats", NS_HATS) ||
           elem_is(e, "addresses", NS_ADDRESS);
}

static struct stanza *show_presence_of(struct room *r, struct occupant *o, unsigned with_jid,
                                       const struct show *how, const char *self)
{
    slice jid = with_jid ? occupant_seat(o)->jid : (slice){ 0 };
    struct arena *tmp = room_scratch(r);
    const struct stanza *said = occupant_seat(o)->presence;
    slice from = room_address(r, o->nick, tmp);
    struct buf b;
    struct xml_write x;
    xml_begin(&x, &b, XML_STANZA_MAX);
    if (how->left != NULL && how->left->child_count <= XML_CHILDREN_MAX - MORE_CHILDREN &&
        how->left->content_len <= (size_t)setting_int(&muc_presence_bytes))
        said = how->left;
    occupant_id_write(&x, o->id);
    user_write(&x, o, jid, how, self);
    ROOM_EMIT(presence, &x, r, seat_bare(occupant_seat(o)));
    struct stanza *out;
    if (how->nick.len > 0 || (o->role == ROLE_NONE && said->type != TYPE_UNAVAILABLE))
        out = stanza_make(STANZA_PRESENCE, TYPE_UNAVAILABLE, from, (slice){ "", 0 }, (slice){ 0 },
                          buf_fit(&b));
    else
        out = stanza_change(said, &(struct stanza_change){ .from = from,
                                                           .to = { "", 0 },
                                                           .known = forged,
                                                           .unwanted = is_forged,
                                                           .more = buf_fit(&b) });
    buf_fini(&b);
    return out;
}

struct stanza *occupant_shown(struct room *r, struct occupant *o, unsigned with_jid)
{
    static const struct show plain = { 0 };
    ensure(with_jid <= 1);
    if (o->shown[with_jid] == NULL)
        o->shown[with_jid] = show_presence_of(r, o, with_jid, &plain, NULL);
    return o->shown[with_jid];
}

struct stanza *occupant_leaving(struct room *r, struct occupant *o, unsigned with_jid,
                                const struct show *how)
{
    ensure(o->role == ROLE_NONE);
    return show_presence_of(r, o, with_jid, how, NULL);
}

bool room_shows_jids(const struct room *r, const struct occupant *viewer)
{
    return r->config.whois == WHOIS_ANYONE || viewer->role == ROLE_MODERATOR;
}

unsigned room_seeing(const struct room *r, unsigned with_jid)
{
    if (r->config.whois == WHOIS_ANYONE)
        return with_jid ? TO_ALL : 0;
    return with_jid ? TO_MODERATORS : TO_OTHERS;
}

static bool show_is_plain(const struct show *how)
{
    return how->codes == NULL && how->nick.len == 0 && how->actor_nick.len == 0 &&
           how->reason.len == 0 && !how->destroyed && how->left == NULL;
}

static void show_some(struct room *r, struct occupant *o, const struct show *how, unsigned with_jid)
{
    bool shared = show_is_plain(how) && o->role != ROLE_NONE;
    struct stanza *st = shared ? stanza_ref(occupant_shown(r, o, with_jid))
                               : show_presence_of(r, o, with_jid, how, NULL);
    room_send_all(r, st, room_seeing(r, with_jid), o);
    stanza_unref(&st);
}

const char *room_codes(const struct room *r)
{
    bool jids = r->config.whois == WHOIS_ANYONE, logs = room_logs(&r->config);
    return jids && logs ? "100 170" : jids ? "100" : logs ? "170" : "";
}

void room_show_self(struct room *r, struct occupant *o, const struct seat *s, const char *codes)
{
    const struct show how = { .codes = codes };
    struct stanza *st = show_presence_of(r, o, room_shows_jids(r, o), &how, "110");
    ensure(s->occupant == o);
    audience_tell(&r->audience, s->jid, st);
    stanza_unref(&st);
}

void room_show_renamed(struct room *r, struct occupant *o, const struct seat *s, slice was)
{
    const struct show how = { .codes = "303", .nick = o->nick };
    struct stanza *st = show_presence_of(r, o, room_shows_jids(r, o), &how, "110");
    ensure(s->occupant == o && !slice_eq(was, o->nick));
    route_send(r->worker, stanza_readdress(st, room_address(r, was, room_scratch(r)), s->jid));
    stanza_unref(&st);
}

/* To one of its own seats. */
static void show_seat(struct room *r, const struct occupant *o, const struct seat *s,
                      const struct show *how, struct stanza *st)
{
    char id[REMOVAL_ID_MAX];
    if (!list_linked(&s->away) || o->role != ROLE_NONE || how->left != NULL) {
        audience_tell(&r->audience, s->jid, st);
        return;
    }
    const struct removal m = { .affiliation =
                                   how->destroyed ? AFF_NONE : (enum affiliation)o->affiliation,
                               .destroyed = how->destroyed,
                               .codes = how->codes == NULL ? (slice){ 0 } : slice_of(how->codes) };
    route_send(r->worker, stanza_change(st, &(struct stanza_change){
                                                .to = s->jid, .id = removal_id(id, &m, s->jid) }));
}

void room_show_left(struct room *r, struct occupant *o, const struct seat *s,
                    const struct show *how)
{
    struct stanza *st = show_presence_of(r, o, 0, how, "110");
    ensure(s->occupant == o && o->role == ROLE_NONE);
    show_seat(r, o, s, how, st);
    stanza_unref(&st);
}

static void show_others(struct room *r, struct occupant *o, const struct show *how)
{
    for (unsigned with_jid = 0; with_jid <= 1; with_jid++)
        if (room_seeing(r, with_jid) != 0)
            show_some(r, o, how, with_jid);
}

void room_show_entered(struct room *r, struct occupant *o)
{
    show_others(r, o, &(struct show){ 0 });
}

slice occupant_shown_nick(const struct occupant *o) { return o->hidden ? (slice){ 0 } : o->nick; }

bool occupant_visible(const struct room *r, const struct occupant *o)
{
    return !o->hidden && room_shows(&r->config, (enum room_role)o->role);
}

/* Roles whose presence is not broadcast (muc#roomconfig_presencebroadcast) and hidden occupants are
 * seen by themselves only. Who was shown is shown to go, from the room or out of sight. */
void room_show(struct room *r, struct occupant *o, const struct show *how)
{
    bool visible = occupant_visible(r, o);
    bool told = how->destroyed || how->all;
    due_drop(o);
    if (!told && (visible || (o->known && o->role == ROLE_NONE))) {
        show_others(r, o, how);
    } else if (!told && o->known) {
        uint8_t role = o->role;
        o->role = ROLE_NONE;
        show_others(r, o, &(struct show){ 0 });
        o->role = role;
    }
    o->known = visible;
    o->late = false;
    struct stanza *st =
        show_presence_of(r, o, room_shows_jids(r, o), how, how->own != NULL ? how->own : "110");
    LIST_EACH (it, &o->seats)
        show_seat(r, o, CONTAINER_OF(it, struct seat, node), how, st);
    stanza_unref(&st);
}

static unsigned class_of(const struct occupant *o)
{
    return o->role == ROLE_MODERATOR ? TO_MODERATORS : TO_OTHERS;
}

void room_send_all(struct room *r, struct stanza *st, unsigned whom, const struct occupant *but)
{
    const struct audience_whom part = { .mask = whom == TO_ALL ? 0 : (uint8_t)TO_ALL,
                                        .want = whom == TO_ALL ? 0 : (uint8_t)whom,
                                        .except = but == NULL ? 0 : but->number };
    ensure(room_here(r) && (but == NULL || but->number > 0));
    audience_send(&r->audience, st, &part);
    LIST_EACH (it, &r->away) {
        const struct seat *s = CONTAINER_OF(it, struct seat, away);
        if (!s->ghost && s->occupant != but && (class_of(s->occupant) & whom) != 0)
            route_send(r->worker, stanza_readdress(st, (slice){ 0 }, s->jid));
    }
}

void room_announce(struct room *r, const unsigned *code, unsigned count)
{
    struct buf xml;
    struct xml_write x;
    xml_begin(&x, &xml, XML_PART_MAX);
    xml_open(&x, "x", NS_MUC_USER);
    for (unsigned i = 0; i < count; i++) {
        xml_open(&x, "status", NULL);
        xml_attr_int(&x, "code", code[i]);
        xml_close(&x);
    }
    xml_close(&x);
    struct stanza *st = stanza_make(STANZA_MESSAGE, TYPE_GROUPCHAT, r->jid, (slice){ "", 0 },
                                    (slice){ 0 }, buf_fit(&xml));
    buf_fini(&xml);
    if (!list_empty(&r->due)) { /* of a change that was made before */
        due_add(r, (slice){ 0 }, (slice){ 0 })->said = st;
        return;
    }
    room_send_all(r, st, TO_ALL, NULL);
    stanza_unref(&st);
}
