#include "muc/people/affiliation.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "muc/people/find.h"
#include "muc/room/config.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/settings.h"
#include "xmpp/nickname.h"

static uint64_t affiliation_bytes_of(const struct affiliate *a)
{
    return sizeof *a + affiliate_memory_bytes() + a->jid.len + a->nick.len + a->key.len +
           a->look.text.len + a->reason.len;
}

int64_t room_edit_growth(const struct room *r, const struct affiliation_edit *e)
{
    const struct affiliation_edit whole = room_edit_whole(r, e);
    const struct affiliate *is = room_affiliate(r, e->jid);
    int64_t was = is == NULL ? 0 : (int64_t)affiliation_bytes_of(is);
    if (e->affiliation == AFF_NONE)
        return -was;
    /* a nickname is kept as it is, for comparison, and by its look */
    return (int64_t)(sizeof *is + affiliate_memory_bytes() + e->jid.len + 3 * whole.nick.len +
                     whole.reason.len) -
           was;
}

static void affiliate_forget(struct room *r, struct affiliate *a)
{
    ensure(r->affiliate_bytes >= affiliation_bytes_of(a));
    r->affiliate_bytes -= affiliation_bytes_of(a);
    map_del(&r->affiliates, a->jid);
    if (a->follows)
        map_del(&r->followers, a->jid);
    if (a->key.len > 0) {
        map_del(&r->reserved, a->key);
        alike_remove(&r->reserved_looks, &a->look);
    }
    ensure(a->affiliation != AFF_OWNER || r->owners > 0);
    if (a->affiliation == AFF_OWNER)
        r->owners--;
    mem_free(&a);
}

void affiliates_free(struct room *r)
{
    struct affiliate *a;
    for (uint32_t i = 0; (a = map_next(&r->affiliates, &i)) != NULL;)
        affiliate_forget(r, a);
}

/* What it has of sessions in the room, and what parts have of it, stays with it. */
static void inherit(const struct room *r, struct affiliate *a, struct affiliate *was)
{
    if (was == NULL) {
        a->here = room_seats_of(r, a->jid);
        return;
    }
    a->here = was->here;
    memcpy(affiliate_memory(a, 0), affiliate_memory(was, 0), affiliate_memory_bytes());
}

/* A nickname that another user has registered meanwhile is dropped, as is that of users without
 * affiliation and of outcasts. */
static struct affiliate *affiliate_new(const struct room *r, const struct affiliation_edit *e,
                                       struct affiliate *was)
{
    struct arena *tmp = room_scratch(r);
    const struct affiliation_edit whole = room_edit_whole(r, e);
    slice nick = whole.nick, key = { 0 }, look = { 0 };

    if (e->affiliation > AFF_NONE && nick.len > 0)
        key = nickname_key(nick, tmp);
    if (key.len == 0 || (room_reserved(r, key) != NULL && room_reserved(r, key) != was))
        nick = key = (slice){ 0 };
    if (key.len > 0)
        look = nickname_skeleton(nick, tmp);
    struct affiliate *a = mem_zalloc(sizeof *a + affiliate_memory_bytes() + e->jid.len + nick.len +
                                     key.len + look.len + whole.reason.len);
    char *at = affiliate_memory(a, affiliate_memory_bytes());
    a->jid = slice_lay(&at, e->jid);
    a->nick = slice_lay(&at, nick);
    a->key = slice_lay(&at, key);
    a->look.text = slice_lay(&at, look);
    a->reason = slice_lay(&at, whole.reason);
    a->affiliation = (uint8_t)e->affiliation;
    a->follows = e->follows && e->affiliation >= AFF_MEMBER;
    inherit(r, a, was);
    return a;
}

static void affiliate_add(struct room *r, struct affiliate *a)
{
    map_put(&r->affiliates, a);
    r->affiliate_bytes += affiliation_bytes_of(a);
    if (a->follows)
        map_put(&r->followers, a);
    if (a->key.len > 0) {
        map_put(&r->reserved, a);
        alike_add(&r->reserved_looks, &a->look);
    }
    r->owners += a->affiliation == AFF_OWNER;
}

void affiliate_put(struct room *r, const struct affiliation_edit *e)
{
    struct affiliate *was = room_affiliate(r, e->jid);
    struct affiliate *is = e->affiliation == AFF_NONE ? NULL : affiliate_new(r, e, was);
    ensure(room_here(r) && e->jid.len > 0);
    if (was != NULL)
        affiliate_forget(r, was);
    if (is != NULL)
        affiliate_add(r, is);
}

struct affiliate *room_affiliate(const struct room *r, slice jid)
{
    return map_get(&r->affiliates, jid);
}

struct affiliation_edit room_edit(const struct room *r, slice jid, enum affiliation to)
{
    const struct affiliate *is = room_affiliate(r, jid);
    return (struct affiliation_edit){ .jid = jid,
                                      .affiliation = to,
                                      .follows = is != NULL && is->follows };
}

struct affiliation_edit room_edit_whole(const struct room *r, const struct affiliation_edit *e)
{
    const struct affiliate *is = room_affiliate(r, e->jid);
    struct affiliation_edit whole = *e;
    if (whole.nick.ptr == NULL && is != NULL)
        whole.nick = is->nick;
    if (whole.reason.ptr == NULL && is != NULL)
        whole.reason = is->reason;
    return whole;
}

struct affiliate *room_reserved(const struct room *r, slice key)
{
    return key.len == 0 ? NULL : map_get(&r->reserved, key);
}

bool room_nick_reserved(const struct room *r, slice nick, slice bare)
{
    struct arena *tmp = room_scratch(r);
    const struct affiliate *a = room_reserved(r, nickname_key(nick, tmp));
    if (a != NULL && !slice_eq(a->jid, bare))
        return true;
    if (!setting_bool(&muc_look_alike))
        return false;
    const struct alike *l = map_get(&r->reserved_looks, nickname_skeleton(nick, tmp));
    while (l != NULL && slice_eq(CONTAINER_OF(l, struct affiliate, look)->jid, bare))
        l = l->next;
    return l != NULL;
}

enum affiliation room_affiliation(const struct room *r, slice bare)
{
    if (muc_is_administrator(bare))
        return AFF_OWNER;
    const struct affiliate *a = room_affiliate(r, bare);
    if (a != NULL)
        return (enum affiliation)a->affiliation;
    /* a whole domain may be banned (§9.1); all else that it has is its own, not its users' */
    a = room_affiliate(r, jid_split(bare).domain);
    return a != NULL && a->affiliation == AFF_OUTCAST ? AFF_OUTCAST : AFF_NONE;
}

bool room_admits(const struct room *r, const struct stanza *st)
{
    enum affiliation a = room_affiliation(r, stanza_from_bare(st));
    bool closed = r->config.members_only || r->config.password || r->locked;
    if (!affiliation_may(a, ACT_ENTER))
        return false;
    return !closed || affiliation_may(a, ACT_ENTER_MEMBERS) ||
           room_seat(r, stanza_from(st)) != NULL;
}
