/* admin: requests of XEP-0045 §8 and §9 (muc#admin): lists by affiliation or role, and changes of
 * either. A request with several changes does all of them or none. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "muc/muc.h"
#include "muc/people/affiliation.h"
#include "muc/people/find.h"
#include "muc/people/role.h"
#include "muc/people/show.h"
#include "muc/room/config.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "muc/room/settings.h"
#include "muc/state/change.h"
#include "muc/talk/answer.h"
#include "xmpp/muc.h"
#include "xmpp/nickname.h"
#include "xmpp/ns.h"
#include "xmpp/rsm.h"

enum {
    PAGE_BYTES_MAX = 1 << 20,
    ITEM_BYTES_MAX = 32 * 1024, /* addresses, nickname and reason, all of it escaped */
    PAGE_MAX = 5000,            /* items in one answer; more by pages (XEP-0059) */
    ITEMS_MAX = 1000            /* in one request */
};

struct role_edit {
    slice key;
    enum room_role role;
    slice reason;
};

/* A request to change something, read and checked. */
struct request {
    struct room *room;
    struct iq *iq; /* held */
    struct muc_standing by;
    const struct seat *seat; /* of who asks; NULL: not in the room */
    struct affiliation_edit edit[ITEMS_MAX];
    struct role_edit role[ITEMS_MAX];
    uint32_t edit_count, role_count;
    enum stanza_error error;
    slice text;
};

static struct muc_standing standing_of(const struct room *r, slice bare, const struct occupant *o)
{
    return (struct muc_standing){ room_affiliation(r, bare),
                                  o == NULL ? ROLE_NONE : (enum room_role)o->role };
}

static bool admin_wrong(struct request *q, enum stanza_error e, slice text)
{
    q->error = e;
    q->text = text;
    return false;
}

static bool read_role(struct request *q, const struct elem *item, slice reason)
{
    struct arena *tmp = q->iq->tmp;
    struct occupant *o = room_occupant(q->room, elem_attr(item, "nick", tmp), tmp);
    enum room_role role;
    if (!role_of(elem_attr(item, "role", tmp), &role))
        return admin_wrong(q, SE_BAD_REQUEST, SLICE("there is no such role"));
    if (elem_attr_raw(item, "nick").ptr == NULL) /* §17.4 */
        return admin_wrong(q, SE_BAD_REQUEST, SLICE("whose role, is said by the nickname"));
    if (o == NULL)
        return admin_wrong(q, SE_ITEM_NOT_FOUND, SLICE("nobody has this nickname"));
    if (q->seat != NULL && o == q->seat->occupant && role == ROLE_NONE)
        return admin_wrong(q, SE_CONFLICT, SLICE("nobody kicks oneself; leave the room"));
    enum stanza_error e =
        muc_role_refusal(q->by, standing_of(q->room, seat_bare(occupant_seat(o)), o), role);
    if (e != SE_NONE)
        return admin_wrong(q, e, SLICE("you may not change the role of this occupant so"));
    q->role[q->role_count++] = (struct role_edit){ slice_dup(tmp, o->key), role, reason };
    return true;
}

/* The address that is meant: it is named, or the nickname of somebody who is in. */
static bool admin_read_address(struct request *q, const struct elem *item, slice *bare)
{
    struct arena *tmp = q->iq->tmp;
    slice text = elem_attr(item, "jid", tmp);
    struct jid jid;
    if (text.len == 0) {
        struct occupant *o = room_occupant(q->room, elem_attr(item, "nick", tmp), tmp);
        if (elem_attr_raw(item, "nick").ptr == NULL)
            return admin_wrong(q, SE_BAD_REQUEST, SLICE("an item has an address or a nickname"));
        if (o == NULL)
            return admin_wrong(q, SE_ITEM_NOT_FOUND, SLICE("nobody has this nickname"));
        *bare = slice_dup(tmp, seat_bare(occupant_seat(o)));
        return true;
    }
    if (jid_parse(&jid, text, tmp) != OK)
        return admin_wrong(q, SE_JID_MALFORMED, SLICE("this is not an address"));
    *bare = jid_bare(&jid);
    return true;
}

/* The nickname that is reserved with it (§9.5); out.ptr NULL: the item does not say. */
static bool read_nick(struct request *q, const struct elem *item, slice bare, slice *out)
{
    struct arena *tmp = q->iq->tmp;
    slice nick = elem_attr(item, "nick", tmp);
    *out = (slice){ 0 };
    if (elem_attr_raw(item, "jid").ptr == NULL || elem_attr_raw(item, "nick").ptr == NULL)
        return true;
    if (nick.len == 0) {
        *out = SLICE(""); /* reserved no longer */
        return true;
    }
    if (nick.len > (size_t)setting_int(&muc_nick_bytes) || nickname_enforce(nick, tmp, out) != OK)
        return admin_wrong(q, SE_NOT_ACCEPTABLE, SLICE("this cannot be a nickname"));
    if (room_nick_reserved(q->room, *out, bare))
        return admin_wrong(q, SE_CONFLICT, SLICE("the nickname is reserved for another"));
    return true;
}

static bool admin_read_affiliation(struct request *q, const struct elem *item, slice reason)
{
    enum affiliation to;
    if (!affiliation_of(elem_attr(item, "affiliation", q->iq->tmp), &to))
        return admin_wrong(q, SE_BAD_REQUEST, SLICE("there is no such affiliation"));
    slice bare;
    if (!admin_read_address(q, item, &bare))
        return false;
    if (memchr(bare.ptr, '@', bare.len) == NULL && to > AFF_NONE)
        return admin_wrong(q, SE_NOT_ACCEPTABLE, SLICE("a whole domain can only be banned"));
    if (slice_eq(bare, stanza_from_bare(q->iq->st)) && to == AFF_OUTCAST)
        return admin_wrong(q, SE_CONFLICT, SLICE("nobody bans oneself")); /* §9.1 */
    const struct occupant *o = room_occupant_of(q->room, bare);
    enum stanza_error e = muc_affiliation_refusal(q->by, standing_of(q->room, bare, o), to);
    if (e != SE_NONE)
        return admin_wrong(q, e, SLICE("you may not change the affiliation of this user so"));
    slice nick;
    if (!read_nick(q, item, bare, &nick))
        return false;
    struct affiliation_edit *edit = &q->edit[q->edit_count++];
    *edit = room_edit(q->room, bare, to);
    edit->nick = nick;
    edit->reason = reason;
    return true;
}

static bool read_item(struct request *q, const struct elem *item)
{
    struct arena *tmp = q->iq->tmp;
    struct elem e;
    slice reason = elem_child(item, "reason", NS_MUC_ADMIN, &e) ? elem_text(&e, tmp) : (slice){ 0 };
    if (!elem_is(item, "item", NS_MUC_ADMIN))
        return admin_wrong(q, SE_BAD_REQUEST, SLICE("an item is expected"));
    if (q->edit_count + q->role_count == ITEMS_MAX)
        return admin_wrong(q, SE_NOT_ACCEPTABLE, SLICE("at most 1,000 changes in one request"));
    if (reason.len > ROOM_TEXT_MAX)
        return admin_wrong(q, SE_NOT_ACCEPTABLE, SLICE("the reason is too long"));
    bool affiliation = elem_attr_raw(item, "affiliation").ptr != NULL;
    if (affiliation == (elem_attr_raw(item, "role").ptr != NULL)) /* §9: never both */
        return admin_wrong(q, SE_BAD_REQUEST, SLICE("an item has an affiliation or a role"));
    return affiliation ? admin_read_affiliation(q, item, reason) : read_role(q, item, reason);
}

static bool admin_read_request(struct request *q)
{
    struct elem item;
    bool any = elem_first(&q->iq->payload, &item), more = any;
    if (!any)
        return admin_wrong(q, SE_BAD_REQUEST, SLICE("there is no item"));
    for (; more; more = elem_next(&item, &item))
        if (!read_item(q, &item))
            return false;
    return true;
}

/* Work that is left when the affiliations are committed. */
struct roles {
    struct iq *iq;
    struct arena *arena;
    const struct role_edit *role;
    uint32_t count;
    slice actor;
};

static void set_roles(struct room *r, const struct role_edit *role, uint32_t count, slice actor)
{
    room_pin(r);
    for (uint32_t i = 0; i < count; i++) {
        struct occupant *o = map_get(&r->nicks, role[i].key);
        const struct show how = { .codes = role[i].role == ROLE_NONE ? "307" : NULL,
                                  .actor_nick = actor,
                                  .reason = role[i].reason };
        if (o != NULL && o->role != role[i].role)
            room_set_role(r, o, role[i].role, &how);
    }
    room_unpin(r);
}

/* §9.1, §9.3: first the result to the sender, then the changes to everybody. */
static void admin_committed(struct room *r, enum err e, void *arg)
{
    const struct roles *roles = arg;
    (void)r;
    ensure(roles->iq->held);
    room_answer(roles->iq, e);
}

static void admin_applied(struct room *r, enum err e, void *arg)
{
    struct roles *roles = arg;
    ensure(roles->count == 0 || roles->role != NULL);
    if (e == OK && r->state == ACTOR_READY)
        set_roles(r, roles->role, roles->count, roles->actor);
    arena_destroy(&roles->arena);
    mem_free(&roles);
}

static void admin_commit(struct request *q)
{
    struct room *r = q->room;
    slice actor = q->seat == NULL ? (slice){ 0 } : occupant_shown_nick(q->seat->occupant);
    struct roles *roles = mem_new(struct roles);
    roles->arena = arena_create(256);
    roles->actor = slice_dup(roles->arena, actor);
    roles->count = q->role_count;
    struct role_edit *role = arena_new(roles->arena, struct role_edit, q->role_count + 1);
    for (uint32_t i = 0; i < q->role_count; i++)
        role[i] = (struct role_edit){ slice_dup(roles->arena, q->role[i].key), q->role[i].role,
                                      slice_dup(roles->arena, q->role[i].reason) };
    roles->role = role;
    roles->iq = q->iq;
    if (q->edit_count == 0) { /* nothing is stored */
        admin_committed(r, OK, roles);
        admin_applied(r, OK, roles);
        return;
    }
    room_commit(r,
                &(struct room_delta){ .edit = q->edit,
                                      .edit_count = q->edit_count,
                                      .actor = roles->actor,
                                      .by = stanza_from_bare(roles->iq->st),
                                      .committed = admin_committed },
                admin_applied, roles);
}

static void admin_run(struct room *r, enum err e, void *arg)
{
    struct iq *iq = arg;
    ensure(room_here(r) && iq->held);
    if (e != OK) {
        room_answer(iq, e);
        return;
    }
    struct request *q = mem_new(struct request);
    q->room = r;
    q->iq = iq;
    q->seat = room_seat(r, stanza_from(iq->st));
    q->by = standing_of(r, stanza_from_bare(iq->st), q->seat == NULL ? NULL : q->seat->occupant);
    if (admin_read_request(q))
        admin_commit(q);
    else
        iq_error(iq, q->error, q->text);
    mem_free(&q);
}

static void admin_set(struct iq *iq)
{
    struct room *r = room_of_iq(iq);
    if (r != NULL)
        room_turn(r, admin_run, iq_hold(iq));
}

/* Lists. */

struct listing {
    struct buf out;
    struct xml_write x; /* to it */
    const struct room *room;
    slice first, last;
    size_t from, len, at;
};

static void item_open(struct listing *l, slice key)
{
    l->first = l->first.ptr == NULL ? key : l->first;
    l->last = key;
    xml_open(&l->x, "item", NULL);
}

/* A page ends sooner when the answer is nearly full. */
static bool in_page(struct listing *l)
{
    size_t at = l->at++;
    if (at < l->from || at - l->from >= l->len)
        return false;
    if (l->out.len + ITEM_BYTES_MAX > PAGE_BYTES_MAX)
        l->len = at - l->from;
    return at - l->from < l->len;
}

static void write_affiliate(struct listing *l, const struct affiliate *a)
{
    item_open(l, a->jid);
    xml_attr(&l->x, "affiliation", affiliation_name((enum affiliation)a->affiliation));
    xml_attr_some(&l->x, "jid", a->jid);
    xml_attr_some(&l->x, "nick", a->nick);
    xml_element_some(&l->x, "reason", a->reason);
    xml_close(&l->x);
}

static void write_occupant(struct listing *l, const struct occupant *o)
{
    item_open(l, o->nick);
    xml_attr(&l->x, "affiliation", affiliation_name((enum affiliation)o->affiliation));
    xml_attr(&l->x, "role", role_name((enum room_role)o->role));
    xml_attr_some(&l->x, "jid", occupant_seat(o)->jid);
    xml_attr_some(&l->x, "nick", o->nick);
    xml_close(&l->x);
}

/* One order for all pages: that of the map, which stays as long as nobody is added. */
static size_t affiliates_walk(struct listing *l, enum affiliation want, slice key, size_t *place)
{
    const struct affiliate *a;
    size_t n = 0;
    for (uint32_t i = 0; (a = map_next(&l->room->affiliates, &i)) != NULL;) {
        if (a->affiliation != want)
            continue;
        if (place != NULL && slice_eq(a->jid, key))
            *place = n;
        if (place == NULL && in_page(l))
            write_affiliate(l, a);
        n++;
    }
    return n;
}

static size_t occupants_walk(struct listing *l, enum room_role want, slice key, size_t *place)
{
    size_t n = 0;
    LIST_EACH (it, &l->room->occupants) {
        const struct occupant *o = CONTAINER_OF(it, struct occupant, node);
        if (o->role != want || o->hidden)
            continue;
        if (place != NULL && slice_eq(o->nick, key))
            *place = n;
        if (place == NULL && in_page(l))
            write_occupant(l, o);
        n++;
    }
    return n;
}

/* The list that is wanted: one of the two. */
struct wanted {
    bool roles;
    enum room_role role;
    enum affiliation affiliation;
};

static size_t walk(struct listing *l, const struct wanted *what, slice key, size_t *place)
{
    return what->roles ? occupants_walk(l, what->role, key, place)
                       : affiliates_walk(l, what->affiliation, key, place);
}

/* len becomes what fits. */
static void admin_write_items(struct listing *l, const struct wanted *what)
{
    l->at = 0;
    l->first = l->last = (slice){ 0 };
    buf_clear(&l->out);
    xml_write_to(&l->x, &l->out);
    xml_open(&l->x, "query", NS_MUC_ADMIN);
    (void)walk(l, what, (slice){ 0 }, NULL);
}

static void admin_answer(struct iq *iq, const struct room *r, const struct wanted *what)
{
    struct listing l = { .room = r };
    size_t place = SIZE_MAX;
    struct rsm page;
    const char *why;
    if (!rsm_parse(&page, &iq->payload, iq->tmp, &why)) {
        iq_error(iq, SE_BAD_REQUEST, slice_of(why));
        return;
    }
    size_t total = walk(&l, what, page.id, &place);
    if (!rsm_window(&page, total, place, PAGE_MAX, &l.from, &l.len)) {
        iq_error(iq, SE_ITEM_NOT_FOUND, (slice){ 0 });
        return;
    }
    size_t end = l.from + l.len;
    buf_init(&l.out, XML_STANZA_MAX);
    admin_write_items(&l, what);
    while (l.from + l.len < end && (page.place == RSM_BEFORE || page.place == RSM_LAST)) {
        l.from = end - l.len; /* such a page loses its first items, not its last ones */
        admin_write_items(&l, what);
    }
    if (l.len < total)
        rsm_write(&l.x, &(struct rsm_page){ l.first, l.last, (int64_t)l.from, (int64_t)total });
    iq_result_xml(iq, &l.x);
}

/* §8.5 the voice list is for moderators, §9.8 that of moderators for admins; §9.2 outcasts for
 * admins, §9.5 members for admins and, members-only, for members, or whom the configuration names;
 * §10.5, §10.8 owners and admins for owners, and where nobody is anonymous for those who get the
 * members. The lists tell addresses, and nicknames beside them: in a semi-anonymous room they are
 * for those who see addresses there (§7.2.4). */
static bool may_list(const struct room *r, struct muc_standing by, const struct wanted *what)
{
    bool admin = affiliation_may(by.affiliation, ACT_EDIT_MEMBERS);
    if (what->roles)
        return affiliation_may(by.affiliation, ACT_EDIT_MODERATORS) ||
               (what->role != ROLE_MODERATOR && role_may(by.role, ACT_GRANT_VOICE));
    bool named = by.role != ROLE_NONE && (r->config.list_roles & ROLE_BIT(by.role)) != 0;
    bool member = r->config.members_only && affiliation_may(by.affiliation, ACT_MEMBER_LIST);
    bool open = r->config.whois == WHOIS_ANYONE;
    if (what->affiliation == AFF_OUTCAST)
        return affiliation_may(by.affiliation, ACT_BAN);
    if (what->affiliation >= AFF_ADMIN)
        return affiliation_may(by.affiliation, what->affiliation == AFF_OWNER ? ACT_EDIT_OWNERS
                                                                              : ACT_EDIT_ADMINS) ||
               (open && (admin || named || member));
    return admin || ((open || by.role == ROLE_MODERATOR) && (named || member));
}

static void admin_get(struct iq *iq)
{
    const struct room *r = room_of_iq(iq);
    struct wanted what = { 0 };
    struct elem item;
    bool any = elem_child(&iq->payload, "item", NS_MUC_ADMIN, &item);
    what.roles = any && elem_attr_raw(&item, "role").ptr != NULL;
    bool known = any && (what.roles ? role_of(elem_attr(&item, "role", iq->tmp), &what.role)
                                    : affiliation_of(elem_attr(&item, "affiliation", iq->tmp),
                                                     &what.affiliation));
    const struct seat *s = room_seat(r, stanza_from(iq->st));
    struct muc_standing by =
        standing_of(r, stanza_from_bare(iq->st), s == NULL ? NULL : s->occupant);
    if (!known)
        iq_error(iq, SE_BAD_REQUEST, SLICE("an affiliation or a role is expected"));
    else if (!may_list(r, by, &what))
        iq_error(iq, SE_FORBIDDEN, SLICE("this list is not for you"));
    else
        admin_answer(iq, r, &what);
}

static const struct iq_rule rules[] = {
    { TYPE_GET, NS_MUC_ADMIN, "query", IQ_TO_ROOM, admin_get },
    { TYPE_SET, NS_MUC_ADMIN, "query", IQ_TO_ROOM, admin_set },
    { 0 },
};

const struct feature muc_admin_feature = { .name = "muc_admin", .iq = rules };
