/* invite: invitations that the room passes on, and their declines (XEP-0045 §7.8.2). A user who
 * becomes a member of a members-only room and is not in it is invited (§9.3). */
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "home/node.h"
#include "home/ticket.h"
#include "muc/parts.h"
#include "muc/people/affiliation.h"
#include "muc/people/find.h"
#include "muc/people/pace.h"
#include "muc/room/config.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/state/change.h"
#include "muc/state/lock.h"
#include "muc/talk/answer.h"
#include "muc/talk/send.h"
#include "xmpp/muc.h"
#include "xmpp/ns.h"

enum { INVITES_MAX = 50 };

static slice reason_of(const struct elem *e, struct arena *tmp)
{
    struct elem reason;
    return elem_child(e, "reason", NS_MUC_USER, &reason) ? elem_text(&reason, tmp) : (slice){ 0 };
}

/* The inviter as the invitee may know it: not by the address where the room hides that. */
static slice inviter_of(const struct room *r, const struct occupant *o)
{
    if (o == NULL)
        return r->jid;
    if (r->config.whois == WHOIS_ANYONE)
        return seat_bare(occupant_seat(o));
    return room_address(r, o->nick, room_scratch(r));
}

/* For an account of this server, who may have blocked the true sender: it is not told to clients
 * (talk/message.c takes it off). */
static void sender_write(struct xml_write *x, const struct room *r, slice to, slice bare)
{
    if (bare.len == 0 || !node_serves(room_node(r), jid_split(to).domain))
        return;
    xml_empty_with(x, "inviter", NS_ROOMS, "jid", bare);
}

/* invite NULL: nobody said more. sender: bare JID of who is behind it; empty: nobody. */
static struct stanza *make_invite(struct room *r, slice to, const struct occupant *by,
                                  const struct elem *invite, slice sender)
{
    struct arena *tmp = room_scratch(r);
    struct buf b;
    struct xml_write x;
    xml_begin(&x, &b, XML_STANZA_MAX);
    xml_open(&x, "x", NS_MUC_USER);
    xml_open_with(&x, "invite", NULL, "from", inviter_of(r, by));
    if (invite != NULL) {
        xml_element_some(&x, "reason", reason_of(invite, tmp));
        struct elem going;
        if (elem_child(invite, "continue", NS_MUC_USER, &going)) {
            xml_open(&x, "continue", NULL);
            xml_attr_some(&x, "thread", elem_attr(&going, "thread", tmp));
            xml_close(&x);
        }
    }
    xml_close(&x);
    if (r->config.password)
        xml_element_some(&x, "password", r->config.text[ROOM_SECRET]);
    xml_close(&x);
    sender_write(&x, r, to, sender);
    return stanza_make_buf(STANZA_MESSAGE, TYPE_NORMAL, r->jid, to, (slice){ 0 }, &b);
}

/* §9.3: notifies a new member of a members-only room who is not in it. */
static void invite_member(struct room *r, slice bare, slice by)
{
    struct stanza *st = make_invite(r, bare, NULL, NULL, by);
    if (st != NULL)
        (void)room_send(r, st, ORIGIN_NONE);
}

static bool may_invite(const struct room *r, const struct occupant *o)
{
    return !o->hidden &&
           (!r->config.members_only || r->config.member_invites || o->role == ROLE_MODERATOR);
}

/* Several invitations in one message (§7.8.2). In a members-only room they are sent after the
 * invited users have become members, so that these can enter at once. */
struct invitations {
    struct stanza *st; /* the message; NULL: not taken yet */
    struct origin origin;
    uint32_t count, members;
    struct stanza *sent[INVITES_MAX];
    struct affiliation_edit member[INVITES_MAX];
};

static void invitations_free(struct invitations *v)
{
    for (uint32_t i = 0; i < v->count; i++)
        stanza_unref(&v->sent[i]);
    stanza_unref(&v->st);
    mem_free(&v);
}

/* Each account keeps its own, and reports. */
static void invitations_end(struct room *r, enum err e, void *arg)
{
    struct invitations *v = arg;
    struct origin part = ticket_join(r->worker, r->jid, v->origin);
    ensure(room_here(r) && v->st != NULL && v->count <= INVITES_MAX);
    for (uint32_t i = 0; e == OK && i < v->count; i++)
        if (room_send(r, stanza_ref(v->sent[i]), part) != ROUTED)
            ticket_join_more(r->worker, part);
    if (e != OK)
        route_error(r->worker, v->st, SE_RESOURCE_CONSTRAINT,
                    SLICE("who is invited could not be made a member now"));
    ticket_join_close(r->worker, part);
    invitations_free(v);
}

/* The invited user of one of them; SE_NONE: the invitation is permitted. */
static enum stanza_error invite_check(struct room *r, const struct occupant *by,
                                      const struct elem *e, struct jid *jid)
{
    struct arena *tmp = room_scratch(r);
    bool admin = affiliation_may((enum affiliation)by->affiliation, ACT_BAN);
    if (jid_parse(jid, elem_attr(e, "to", tmp), tmp) != OK || jid->local.len == 0)
        return SE_JID_MALFORMED;
    if (admin && room_affiliation(r, jid_bare(jid)) == AFF_OUTCAST) /* others do not know (§9.2) */
        return SE_FORBIDDEN;
    return SE_NONE;
}

/* SE_NONE: all may go. */
static enum stanza_error read_invitations(struct room *r, struct occupant *by, const struct elem *x,
                                          struct invitations *v)
{
    struct elem e;
    for (bool more = elem_first(x, &e); more && v->count < INVITES_MAX; more = elem_next(&e, &e)) {
        struct jid jid;
        if (!elem_is(&e, "invite", NS_MUC_USER))
            continue;
        if (room_too_fast(r, by)) /* each is a message to somebody */
            return SE_POLICY_VIOLATION;
        enum stanza_error wrong = invite_check(r, by, &e, &jid);
        if (wrong != SE_NONE)
            return wrong;
        struct stanza *one = make_invite(r, jid.full, by, &e, seat_bare(occupant_seat(by)));
        if (one == NULL)
            continue;
        ensure(v->count < INVITES_MAX && v->members <= v->count);
        v->sent[v->count++] = one;
        if (r->config.members_only && room_affiliation(r, jid_bare(&jid)) == AFF_NONE)
            v->member[v->members++] =
                (struct affiliation_edit){ .jid = jid_bare(&jid), .affiliation = AFF_MEMBER };
    }
    return SE_NONE;
}

static enum routed invite(struct room *r, struct seat *s, struct stanza *st, const struct elem *x,
                          struct origin origin)
{
    if (s == NULL)
        return room_refuse(r, st, SE_NOT_ACCEPTABLE, SLICE("you are not in this room"));
    if (!may_invite(r, s->occupant))
        return room_refuse(r, st, SE_FORBIDDEN, SLICE("only moderators invite to this room"));
    struct invitations *v = mem_new(struct invitations);
    enum stanza_error wrong = read_invitations(r, s->occupant, x, v);
    if (wrong != SE_NONE)
        invitations_free(v);
    switch (wrong) {
    case SE_NONE:
        break;
    case SE_POLICY_VIOLATION:
        return room_slow_down(r, st);
    case SE_FORBIDDEN:
        return room_refuse(r, st, wrong, SLICE("who is banned cannot be invited"));
    default:
        return room_refuse(r, st, wrong, SLICE("an invitation goes to an address"));
    }
    v->st = st;
    v->origin = origin;
    bool opens = r->locked && s->occupant->affiliation == AFF_OWNER;
    if (opens)
        room_open(r); /* who invites others takes it as it is; they come once it is open */
    if (v->members == 0 && opens)
        room_turn(r, invitations_end, v);
    else if (v->members == 0)
        invitations_end(r, OK, v);
    else
        room_commit(
            r,
            &(struct room_delta){
                .edit = v->member, .edit_count = v->members, .quiet = true, .newcomers = true },
            invitations_end, v);
    return origin.session != 0 ? ROUTE_PENDING : ROUTED;
}

/* To the inviter, if still in the room: otherwise it could be used to reach anybody. */
static enum routed decline(struct room *r, struct seat *s, struct stanza *st, const struct elem *e,
                           struct origin origin)
{
    struct arena *tmp = room_scratch(r);
    struct jid jid;
    if (jid_parse(&jid, elem_attr(e, "to", tmp), tmp) != OK)
        return room_refuse(r, st, SE_JID_MALFORMED, SLICE("a decline goes to who invited"));
    /* before occupants are looked up, so that the sender cannot learn who is here */
    if (s != NULL ? room_too_fast(r, s->occupant) : room_outsiders_too_fast(r))
        return room_slow_down(r, st);
    const struct occupant *to = slice_eq(jid_bare(&jid), r->jid)
                                    ? room_occupant(r, jid.resource, tmp)
                                    : room_occupant_of(r, jid_bare(&jid));
    if (to == NULL || to->hidden || room_affiliation(r, stanza_from_bare(st)) == AFF_OUTCAST)
        return room_handled(st);
    enum routed routed = ROUTED;
    struct buf b;
    struct xml_write x;
    xml_begin(&x, &b, XML_STANZA_MAX);
    xml_open(&x, "x", NS_MUC_USER);
    xml_open_with(&x, "decline", NULL, "from", stanza_from_bare(st));
    xml_element_some(&x, "reason", reason_of(e, tmp));
    xml_close_all(&x);
    struct stanza *declined = stanza_make_buf(STANZA_MESSAGE, TYPE_NORMAL, r->jid,
                                              occupant_seat(to)->jid, (slice){ 0 }, &b);
    if (declined != NULL)
        routed = room_send(r, declined, origin);
    stanza_unref(&st);
    return routed;
}

static bool invite_asked(struct room *r, struct seat *s, struct stanza *st, struct origin origin,
                         enum routed *routed)
{
    struct elem x, e;
    if (!stanza_child(st, KNOWN_MUC_USER, &x))
        return false;
    if (elem_child(&x, "invite", NS_MUC_USER, &e))
        *routed = invite(r, s, st, &x, origin);
    else if (elem_child(&x, "decline", NS_MUC_USER, &e))
        *routed = decline(r, s, st, &e, origin);
    else
        return false;
    return true;
}

static void invite_affiliated(struct room *r, const struct room_affiliated *a)
{
    if (!a->here && !a->quiet && r->config.members_only && a->was == AFF_NONE &&
        a->is >= AFF_MEMBER)
        invite_member(r, a->jid, a->by);
}

const struct room_part invite_part = {
    .name = "invite",
    .affiliated = invite_affiliated,
    .asked = invite_asked,
};
