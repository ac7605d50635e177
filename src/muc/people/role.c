#include "muc/people/role.h"
#include "base/ensure.h"
#include "muc/people/affiliation.h"
#include "muc/people/find.h"
#include "muc/people/occupant.h"
#include "muc/people/portion.h"
#include "muc/people/show.h"
#include "muc/room/config.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "xmpp/muc.h"

/* What a role becomes with another affiliation: one that was given by the affiliation goes with it,
 * one that is higher by a moderator's grace stays. */
static enum room_role role_after(const struct room *r, enum affiliation was, enum affiliation is,
                                 enum room_role role)
{
    enum room_role due = affiliation_role(is, room_flags(&r->config));
    if (is > was)
        return due > role ? due : role;
    return role == affiliation_role(was, room_flags(&r->config)) || due == ROLE_NONE ? due : role;
}

/* §9.1; §9.4: members-only, and no member now; or not of those who may be here in hiding. */
static const char *affiliation_codes_of(enum affiliation is)
{
    return is == AFF_OUTCAST ? "301" : "321";
}

static void affiliation_of_occupant(struct room *r, struct occupant *o, const struct show *how)
{
    const struct seat *s = occupant_seat(o);
    enum affiliation was = o->affiliation, is = room_affiliation(r, seat_bare(s));
    if (was == is)
        return;
    enum room_role role = role_after(r, was, is, o->role);
    struct show told = *how;
    o->affiliation = (uint8_t)is;
    if (o->hidden && is < AFF_ADMIN)
        role = ROLE_NONE;
    if (role == ROLE_NONE)
        told.codes = affiliation_codes_of(is);
    room_set_role(r, o, role, &told);
}

static bool affiliation_of_user(struct room *r, slice bare, const struct show *how)
{
    struct occupant *o = room_occupant_of(r, bare), *before;
    bool here = o != NULL;
    for (; o != NULL; o = before) {
        before = occupant_before(o);
        affiliation_of_occupant(r, o, how);
    }
    return here;
}

static bool affiliation_of_domain(struct room *r, slice domain, const struct show *how)
{
    bool here = false;
    LIST_EACH (it, &r->occupants) {
        struct occupant *o = CONTAINER_OF(it, struct occupant, node);
        slice bare = o->user.text;
        if (bare.len < domain.len ||
            !slice_eq(domain, slice_from(bare, bare.len - domain.len)) || /* ends otherwise */
            !slice_eq(domain, jid_split(bare).domain))
            continue;
        here = true;
        affiliation_of_occupant(r, o, how);
    }
    return here;
}

bool room_affiliation_changed(struct room *r, slice jid, const struct show *how)
{
    ensure(room_here(r) && jid.len > 0);
    room_pin(r);
    bool user = memchr(jid.ptr, '@', jid.len) != NULL;
    bool here = user ? affiliation_of_user(r, jid, how) : affiliation_of_domain(r, jid, how);
    room_unpin(r);
    return here;
}

void room_set_role(struct room *r, struct occupant *o, enum room_role role, const struct show *how)
{
    ensure(room_here(r) && !list_empty(&o->seats));
    if (!role_may(role, ACT_PRESENT)) {
        o->role = ROLE_NONE;
        room_leave_in_turn(r, o, how);
        return;
    }
    o->role = (uint8_t)role;
    occupant_audience(r, o);
    occupant_changed(o);
    room_show_in_turn(r, o, how);
}

/* §10.2: if the room became members-only, others are removed. If it became moderated, nobody loses
 * voice. */
void room_config_applied(struct room *r, unsigned diff)
{
    static const struct show gone = { .codes = "322" };
    ensure(room_here(r) && room_is_pinned(r));
    room_pin(r);
    LIST_EACH (it, &r->occupants) {
        struct occupant *o = CONTAINER_OF(it, struct occupant, node);
        occupant_changed(o);
        if ((diff & DIFF_MEMBERS_ONLY) != 0 && r->config.members_only &&
            o->affiliation == AFF_NONE) {
            o->role = ROLE_NONE;
            room_leave_in_turn(r, o, &gone);
        }
    }
    if ((diff & DIFF_WHOIS) != 0 && r->config.whois == WHOIS_ANYONE) /* now all see real JIDs */
        LIST_EACH (it, &r->occupants)
            room_show_in_turn(r, CONTAINER_OF(it, struct occupant, node), &(struct show){ 0 });
    if ((diff & DIFF_PRESENCE_ROLES) != 0)
        LIST_EACH (it, &r->occupants) {
            struct occupant *o = CONTAINER_OF(it, struct occupant, node);
            if (o->known != occupant_visible(r, o))
                room_show_in_turn(r, o, &(struct show){ 0 });
        }
    room_unpin(r);
}
