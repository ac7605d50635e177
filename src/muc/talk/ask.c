#include "muc/talk/ask.h"
#include "base/buf.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "home/here.h"
#include "home/node.h"
#include "home/ticket.h"
#include "muc/parts/register.h"
#include "muc/people/affiliation.h"
#include "muc/people/occupant.h"
#include "muc/people/pace.h"
#include "muc/people/show.h"
#include "muc/room/config.h"
#include "muc/room/room.h"
#include "muc/state/change.h"
#include "muc/talk/say.h"
#include "xmpp/form.h"
#include "xmpp/muc.h"
#include "xmpp/ns.h"

enum { MESSAGE_BYTES_MAX = 64 * 1024, INVITES_MAX = 50 };

static enum routed handled(struct stanza *st)
{
    stanza_unref(&st);
    return ROUTED;
}

static slice reason_of(const struct elem *e, struct arena *tmp)
{
    struct elem reason;
    return elem_child(e, "reason", NS_MUC_USER, &reason) ? elem_text(&reason, tmp) : (slice){ 0 };
}

/* The inviter as the invitee may know it: not by the address where the room hides that. */
static void inviter_write(struct buf *out, const struct room *r, const struct occupant *o)
{
    if (o == NULL)
        xml_escape(out, r->jid);
    else if (r->config.whois == WHOIS_ANYONE)
        xml_escape(out, seat_bare(occupant_seat(o)));
    else
        xml_escape(out, room_address(r, o->nick, loop_scratch(worker_loop(r->worker))));
}

/* For an account of this server, who may have blocked the true sender: it is not told to clients
 * (im/message.c takes it off). */
static void sender_write(struct buf *out, const struct room *r, slice to, slice bare)
{
    if (bare.len == 0 || !node_serves(worker_node(r->worker), jid_split(to).domain))
        return;
    buf_lit(out, "<inviter xmlns='" NS_ROOMS "' jid='");
    xml_escape(out, bare);
    buf_lit(out, "'/>");
}

/* invite NULL: nobody said more. sender: bare JID of who is behind it; empty: nobody. */
static struct stanza *make_invite(struct room *r, slice to, const struct occupant *by,
                                  const struct elem *invite, slice sender)
{
    struct stanza *out = NULL;
    struct arena *tmp = loop_scratch(worker_loop(r->worker));
    struct elem going;
    struct buf b;

    buf_init(&b, MESSAGE_BYTES_MAX);
    buf_lit(&b, "<x xmlns='" NS_MUC_USER "'><invite from='");
    inviter_write(&b, r, by);
    buf_lit(&b, "'>");
    if (invite != NULL) {
        xml_add_element(&b, "reason", reason_of(invite, tmp));
        if (elem_child(invite, "continue", NS_MUC_USER, &going)) {
            slice thread = elem_attr(&going, "thread", tmp);
            buf_lit(&b, "<continue");
            xml_add_attr(&b, "thread", thread);
            buf_lit(&b, "/>");
        }
    }
    buf_lit(&b, "</invite>");
    if (r->config.password)
        xml_add_element(&b, "password", r->config.text[ROOM_SECRET]);
    buf_lit(&b, "</x>");
    sender_write(&b, r, to, sender);
    if (!b.overflow)
        out = stanza_make(STANZA_MESSAGE, TYPE_NORMAL, r->jid, to, (slice){ 0 }, buf_slice(&b));
    buf_fini(&b);
    return out;
}

/* §9.3: notifies a new member of a members-only room who is not in it. */
void room_invite_member(struct room *r, slice bare, slice by)
{
    struct stanza *st = make_invite(r, bare, NULL, NULL, by);
    if (st != NULL)
        route_send(r->worker, st);
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
    struct origin part = ticket_join(r->worker, v->origin);
    for (uint32_t i = 0; e == OK && i < v->count; i++)
        if (route(r->worker, stanza_ref(v->sent[i]), part, 0, 0) != ROUTED)
            ticket_join_more(r->worker, part);
    if (e != OK)
        route_error(r->worker, v->st, SE_RESOURCE_CONSTRAINT,
                    SLICE("who is invited could not be made a member now"));
    ticket_join_close(r->worker, part);
    invitations_free(v);
}

/* The invited user of one of them; SE_NONE: the invitation is permitted. */
static enum stanza_error muc_ask_invited(struct room *r, const struct occupant *by,
                                         const struct elem *e, struct jid *jid)
{
    struct arena *tmp = loop_scratch(worker_loop(r->worker));
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
        enum stanza_error wrong = muc_ask_invited(r, by, &e, &jid);
        if (wrong != SE_NONE)
            return wrong;
        struct stanza *one = make_invite(r, jid.full, by, &e, seat_bare(occupant_seat(by)));
        if (one == NULL)
            continue;
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
    if (v->members == 0)
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
    struct arena *tmp = loop_scratch(worker_loop(r->worker));
    struct jid jid;
    struct buf b;

    if (jid_parse(&jid, elem_attr(e, "to", tmp), tmp) != OK)
        return room_refuse(r, st, SE_JID_MALFORMED, SLICE("a decline goes to who invited"));
    /* before occupants are looked up, so that the sender cannot learn who is here */
    if (s != NULL ? room_too_fast(r, s->occupant) : room_outsiders_too_fast(r))
        return room_slow_down(r, st);
    const struct occupant *to = slice_eq(jid_bare(&jid), r->jid)
                                    ? room_occupant(r, jid.resource, tmp)
                                    : room_occupant_of(r, jid_bare(&jid));
    if (to == NULL || to->hidden || room_affiliation(r, stanza_from_bare(st)) == AFF_OUTCAST)
        return handled(st);
    enum routed routed = ROUTED;
    buf_init(&b, MESSAGE_BYTES_MAX);
    buf_lit(&b, "<x xmlns='" NS_MUC_USER "'><decline from='");
    xml_escape(&b, stanza_from_bare(st));
    buf_lit(&b, "'>");
    xml_add_element(&b, "reason", reason_of(e, tmp));
    buf_lit(&b, "</decline></x>");
    if (!b.overflow)
        routed = route(r->worker,
                       stanza_make(STANZA_MESSAGE, TYPE_NORMAL, r->jid, occupant_seat(to)->jid,
                                   (slice){ 0 }, buf_slice(&b)),
                       origin, 0, 0);
    buf_fini(&b);
    stanza_unref(&st);
    return routed;
}

/* §8.6: a form for each moderator. */
static void ask_moderators(struct room *r, const struct occupant *o)
{
    static const struct form_option roles[] = { { "participant", "Participant" }, { 0 } };
    static const struct form_row role = {
        "muc#role", FORM_LIST_SINGLE, "Requested role", NULL, roles, NULL, false
    };
    static const struct form_row jid = { "muc#jid", FORM_JID_SINGLE, "User ID", NULL, NULL, NULL,
                                         false };
    static const struct form_row nick = {
        "muc#roomnick", FORM_TEXT_SINGLE, "Room nickname", NULL, NULL, NULL, false
    };
    static const struct form_row allow = {
        "muc#request_allow", FORM_BOOLEAN, "Grant voice to this person?", NULL, NULL, NULL, false
    };
    struct buf b;

    buf_init(&b, MESSAGE_BYTES_MAX);
    form_open_titled(&b, FORM_FORM, NS_MUC_REQUEST, "Voice request",
                     "To approve this request for voice, grant it and submit the form.");
    form_ask_value(&b, &role, SLICE("participant"));
    form_ask_value(&b, &jid, occupant_seat(o)->jid);
    form_ask_value(&b, &nick, o->nick);
    form_ask_value(&b, &allow, SLICE("false"));
    form_close(&b);
    struct stanza *st = stanza_make(STANZA_MESSAGE, TYPE_NORMAL, r->jid, (slice){ "", 0 },
                                    (slice){ 0 }, buf_slice(&b));
    room_send_all(r, st, TO_MODERATORS, NULL);
    stanza_unref(&st);
    buf_fini(&b);
}

static enum routed voice(struct room *r, struct seat *s, struct stanza *st, struct form *f)
{
    struct arena *tmp = loop_scratch(worker_loop(r->worker));
    bool allow = false;
    slice nick = { 0 };

    if (s == NULL)
        return room_refuse(r, st, SE_NOT_ACCEPTABLE, SLICE("you are not in this room"));
    bool answers = form_bool(f, "muc#request_allow", &allow);
    (void)form_text(f, "muc#roomnick", &nick);
    if (f->error != SE_NONE)
        return room_refuse(r, st, f->error, f->text);
    if (!answers) {
        if (s->occupant->role == ROLE_VISITOR && !s->occupant->hidden &&
            !room_too_fast(r, s->occupant))
            ask_moderators(r, s->occupant);
        return handled(st);
    }
    if (!role_may((enum room_role)s->occupant->role, ACT_GRANT_VOICE))
        return room_refuse(r, st, SE_FORBIDDEN, SLICE("only moderators grant voice"));
    struct occupant *o = room_occupant(r, nick, tmp);
    if (o == NULL)
        return room_refuse(r, st, SE_ITEM_NOT_FOUND, SLICE("nobody has this nickname"));
    if (allow && o->role == ROLE_VISITOR) {
        slice actor = slice_dup(tmp, occupant_shown_nick(s->occupant));
        room_set_role(r, o, ROLE_PARTICIPANT, &(struct show){ .actor_nick = actor });
    }
    return handled(st);
}

enum routed room_asked(struct room *r, struct seat *s, struct stanza *st, struct origin origin)
{
    struct arena *tmp = loop_scratch(worker_loop(r->worker));
    struct elem x, e;
    struct form f;

    if (stanza_child(st, KNOWN_MUC_USER, &x)) {
        if (elem_child(&x, "invite", NS_MUC_USER, &e))
            return invite(r, s, st, &x, origin);
        if (elem_child(&x, "decline", NS_MUC_USER, &e))
            return decline(r, s, st, &e, origin);
    }
    if (stanza_child(st, KNOWN_DATA_FORM, &x) && form_parse(&f, &x, tmp)) {
        if (slice_is(f.form_type, NS_MUC_REQUEST))
            return voice(r, s, st, &f);
        if (slice_is(f.form_type, NS_MUC_REGISTER))
            return room_registration_answered(r, st, &f, origin);
    }
    if (stanza_has(st, KNOWN(BODY)))
        return room_refuse(r, st, SE_BAD_REQUEST,
                           SLICE("messages to a room are of type groupchat"));
    return handled(st);
}
