/* register: registration with a room (XEP-0045 §7.10, jabber:iq:register): a user becomes a member
 * and gets a nickname that nobody else may use. This happens at once where the room lets users add
 * themselves, else when somebody who edits the member list approves it (§9.9). Members may ask for
 * the messages sent while they are not in the room, if there is a part for that. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "home/ticket.h"
#include "muc/muc.h"
#include "muc/parts.h"
#include "muc/people/affiliation.h"
#include "muc/people/find.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "muc/room/settings.h"
#include "muc/state/change.h"
#include "muc/talk/answer.h"
#include "muc/talk/send.h"
#include "xmpp/form.h"
#include "xmpp/muc.h"
#include "xmpp/nickname.h"
#include "xmpp/ns.h"

#define FIELD_NICK  "muc#register_roomnick"
#define FIELD_ALLOW "muc#register_allow"
#define FIELD_JID   "muc#register_jid"

enum { ASKED_MAX = 16, APPLICANTS_MAX = 32 };
enum { PATIENCE_MS = 10 * 60 * 1000 };

/* Recent applications for membership, to limit how often each user, and how many users, can
 * apply. */
struct room_applicants {
    struct {
        uint64_t who, at_us;
    } row[APPLICANTS_MAX];
};
static unsigned applicants_slot;

static void register_clear(struct room *r) { mem_free(room_slot(r, applicants_slot)); }

static const struct form_row nick_row = {
    FIELD_NICK, FORM_TEXT_SINGLE, "Nickname", NULL, NULL, NULL, true
};

/* A room that is open; else the request is answered. */
static struct room *open_room(struct iq *iq)
{
    struct room *r = room_of_iq(iq);
    if (!r->locked || room_affiliation(r, stanza_from_bare(iq->st)) == AFF_OWNER)
        return r;
    iq_error(iq, SE_ITEM_NOT_FOUND, SLICE("there is no such room"));
    return NULL;
}

static void muc_register_get(struct iq *iq)
{
    const struct room *r = open_room(iq);
    struct buf b;
    struct xml_write x;
    if (r == NULL)
        return;
    slice bare = stanza_from_bare(iq->st);
    const struct affiliate *a = room_affiliate(r, bare);
    if (!affiliation_may(room_affiliation(r, bare), ACT_ENTER)) {
        iq_error(iq, SE_NOT_ALLOWED, SLICE("you are banned from this room"));
        return;
    }
    bool known = a != NULL && a->nick.len > 0;
    xml_begin(&x, &b, XML_PART_MAX);
    xml_open(&x, "query", NS_REGISTER);
    if (known) {
        xml_empty(&x, "registered", NULL);
        xml_element(&x, "username", a->nick);
    }
    form_open_titled(&x, FORM_FORM, NS_MUC_REGISTER, "Registration",
                     "A nickname that nobody else may use here.");
    form_ask_value(&x, &nick_row, known ? a->nick : (slice){ "", 0 });
    PARTS_EACH (p, follow_row)
        form_ask_value(&x, p->follow_row, a != NULL && a->follows ? SLICE("1") : SLICE("0"));
    form_close(&x);
    iq_result_xml(iq, &x);
}

static void registered(struct room *r, enum err e, void *arg)
{
    (void)r;
    room_answer(arg, e);
}

/* §7.10: nothing is left of it but an affiliation that others gave. */
static void unregister(struct iq *iq, struct room *r)
{
    const struct affiliate *a = room_affiliate(r, stanza_from_bare(iq->st));
    if (a == NULL || a->affiliation == AFF_OUTCAST) {
        iq_error(iq, SE_REGISTRATION_REQUIRED, SLICE("you are not registered here"));
        return;
    }
    struct affiliation_edit edit = { .jid = stanza_from_bare(iq->st),
                                     .affiliation = a->affiliation == AFF_MEMBER
                                                        ? AFF_NONE
                                                        : (enum affiliation)a->affiliation,
                                     .nick = { "", 0 } };
    room_commit(r, &(struct room_delta){ .edit = &edit, .edit_count = 1 }, registered, iq);
}

struct application {
    slice bare, nick;
    bool follows;
    bool stranger; /* does not learn who is there; others decide */
    enum stanza_error error;
    slice text;
};

static bool muc_register_wrong(struct application *a, enum stanza_error e, slice text)
{
    a->error = e;
    a->text = text;
    return false;
}

/* Messages of a room with a password are only for users who have given it. */
static bool knows_password(const struct room *r, slice bare)
{
    const struct affiliate *a = room_affiliate(r, bare);
    const struct seat *s;
    bool here = a != NULL && (a->follows || a->here > 0);
    for (uint32_t i = 0; a == NULL && !here && (s = map_next(&r->seats, &i)) != NULL;)
        here = slice_eq(seat_bare(s), bare);
    return here;
}

static bool muc_register_check(struct application *a, const struct room *r, slice nick,
                               struct arena *tmp)
{
    if (!affiliation_may(room_affiliation(r, a->bare), ACT_ENTER))
        return muc_register_wrong(a, SE_NOT_ALLOWED, SLICE("you are banned from this room"));
    if (nick.len > (size_t)setting_int(&muc_nick_bytes))
        return muc_register_wrong(a, SE_NOT_ACCEPTABLE, SLICE("the nickname is too long"));
    if (nickname_enforce(nick, tmp, &a->nick) != OK)
        return muc_register_wrong(a, SE_NOT_ACCEPTABLE, SLICE("a nickname is needed to register"));
    if (!a->stranger &&
        (room_nick_used(r, a->nick, a->bare) || room_nick_reserved(r, a->nick, a->bare)))
        return muc_register_wrong(a, SE_CONFLICT,
                                  SLICE("the nickname is taken, or looks like one that is"));
    if (a->follows && r->config.password && !knows_password(r, a->bare))
        return muc_register_wrong(a, SE_NOT_ALLOWED,
                                  SLICE("enter with the password of the room to follow it"));
    return true;
}

static void ask_admin(struct room *r, slice to, slice form, struct origin part)
{
    struct stanza *st = stanza_make(STANZA_MESSAGE, TYPE_NORMAL, r->jid, to, (slice){ 0 }, form);
    if (st != NULL && room_send(r, st, part) != ROUTED)
        ticket_join_more(r->worker, part);
}

/* When this user has asked last; NULL: not of late. */
static uint64_t *asked_at(const struct room *r, slice bare)
{
    uint64_t who = hash_keyed(bare);
    struct room_applicants *all = *room_slot(r, applicants_slot);
    for (unsigned i = 0; all != NULL && i < APPLICANTS_MAX; i++)
        if (all->row[i].who == who && all->row[i].at_us != 0)
            return &all->row[i].at_us;
    return NULL;
}

/* A question to those who edit the member list. */
struct asking {
    struct iq *iq; /* held; this is in its arena */
    uint32_t asked;
};

static void admins_asked(struct worker *w, enum err e, uint32_t refused, void *arg)
{
    const struct asking *q = arg;
    const struct room *r = room_find(w, stanza_to_bare(q->iq->st));
    uint64_t *at_us = r == NULL ? NULL : asked_at(r, stanza_from_bare(q->iq->st));
    bool nobody = e == OK && refused >= q->asked;
    ensure(q->iq->held);
    if (at_us != NULL && nobody)
        *at_us = 0; /* the user may ask again */
    if (nobody)
        iq_error(q->iq, SE_RECIPIENT_UNAVAILABLE, SLICE("nobody could be asked; try again later"));
    else
        room_answer(q->iq, e);
}

/* A form for those who edit the member list: occupants, or, if none of them is here, all owners.
 * Answered when all have it on disk, or have refused it. */
static void ask_admins(struct room *r, const struct application *a, struct iq *iq)
{
    static const struct form_row jid = { FIELD_JID, FORM_JID_SINGLE, "User ID", NULL, NULL, NULL,
                                         false };
    static const struct form_row allow = {
        FIELD_ALLOW, FORM_BOOLEAN, "Allow this person to register with the room?", NULL, NULL,
        NULL,        false
    };
    struct asking *q = arena_new(iq->tmp, struct asking, 1);
    ensure(room_here(r) && iq->held);
    *q = (struct asking){ iq, 0 };
    struct buf b;
    struct xml_write x;
    xml_begin(&x, &b, XML_PART_MAX);
    form_open_titled(&x, FORM_FORM, NS_MUC_REGISTER, "Registration request",
                     "To make this person a member of the room, allow it and submit.");
    form_ask_value(&x, &jid, a->bare);
    form_ask_value(&x, &nick_row, a->nick);
    form_ask_value(&x, &allow, SLICE("0"));
    form_close(&x);
    struct origin part = ticket_join_for(r->worker, r->jid, admins_asked, q);
    LIST_EACH (it, &r->occupants) {
        const struct occupant *o = CONTAINER_OF(it, struct occupant, node);
        if (!affiliation_may((enum affiliation)o->affiliation, ACT_EDIT_MEMBERS))
            continue;
        ask_admin(r, occupant_seat(o)->jid, buf_fit(&b), part);
        q->asked++;
    }
    const struct affiliate *f;
    bool absent = q->asked == 0;
    for (uint32_t i = 0; absent && (f = map_next(&r->affiliates, &i)) != NULL;)
        if (f->affiliation == AFF_OWNER && q->asked < ASKED_MAX) {
            ask_admin(r, f->jid, buf_fit(&b), part);
            q->asked++;
        }
    ticket_join_close(r->worker, part);
    buf_fini(&b);
}

static bool may_ask(struct room *r, slice bare)
{
    uint64_t who = hash_keyed(bare), now = loop_now_us(room_loop(r));
    unsigned at = 0;
    struct room_applicants *all = *room_slot(r, applicants_slot);
    if (all == NULL)
        all = *room_slot(r, applicants_slot) = mem_new(struct room_applicants);
    for (unsigned i = 0; i < APPLICANTS_MAX; i++) {
        if (all->row[i].who == who && all->row[i].at_us != 0) {
            at = i;
            break;
        }
        if (all->row[i].at_us < all->row[at].at_us)
            at = i;
    }
    if (all->row[at].at_us != 0 && now - all->row[at].at_us < PATIENCE_MS * 1000ull)
        return false;
    ensure(at < APPLICANTS_MAX);
    all->row[at].who = who;
    all->row[at].at_us = now;
    return true;
}

static void muc_register_apply(struct iq *iq, struct room *r, const struct application *a)
{
    bool asks = affiliation_may(room_affiliation(r, a->bare), ACT_REGISTER);
    bool alone = r->config.self_add && (!r->config.password || knows_password(r, a->bare));
    if (asks && !alone) {
        if (may_ask(r, a->bare))
            ask_admins(r, a, iq);
        else
            iq_error(iq, SE_RESOURCE_CONSTRAINT, SLICE("somebody was asked; wait for the answer"));
        return;
    }
    const struct affiliate *was = room_affiliate(r, a->bare);
    struct affiliation_edit edit = { .jid = a->bare,
                                     .affiliation = was == NULL
                                                        ? AFF_MEMBER
                                                        : (enum affiliation)was->affiliation,
                                     .nick = a->nick,
                                     .follows = a->follows };
    room_commit(r, &(struct room_delta){ .edit = &edit, .edit_count = 1, .applied = true },
                registered, iq);
}

static void muc_register_run(struct room *r, enum err e, void *arg)
{
    struct iq *iq = arg;
    struct application a = { .bare = stanza_from_bare(iq->st) };
    struct elem remove;
    struct form f;
    slice nick = { 0 };
    ensure(room_here(r) && iq->held);
    if (e != OK) {
        room_answer(iq, e);
    } else if (elem_child(&iq->payload, "remove", NS_REGISTER, &remove)) {
        unregister(iq, r);
    } else if (!form_parse_child(&f, &iq->payload, iq->tmp) || !form_expect(&f, NS_MUC_REGISTER)) {
        iq_error(iq, f.error != SE_NONE ? f.error : SE_BAD_REQUEST, f.text);
    } else {
        (void)form_text(&f, FIELD_NICK, &nick);
        PARTS_EACH (p, follow_row)
            (void)form_bool(&f, p->follow_row->var, &a.follows);
        a.stranger = !r->config.self_add && !room_admits(r, iq->st);
        if (f.error != SE_NONE)
            iq_error(iq, f.error, f.text);
        else if (!muc_register_check(&a, r, nick, iq->tmp))
            iq_error(iq, a.error, a.text);
        else
            muc_register_apply(iq, r, &a);
    }
}

static void muc_register_set(struct iq *iq)
{
    struct room *r = open_room(iq);
    if (r != NULL)
        room_turn(r, muc_register_run, iq_hold(iq));
}

/* The decision of an administrator of the room on a request, until it is stored. */
struct decision {
    struct stanza *st;
    struct origin origin;
};

static void decided(struct room *r, enum err e, void *arg)
{
    struct decision *d = arg;
    ensure(room_here(r) && d->st != NULL);
    if (e != OK)
        room_error(r, d->st, SE_RESOURCE_CONSTRAINT, SLICE("it could not be stored now"));
    if (d->origin.session != 0)
        ticket_done(r->worker, d->origin);
    stanza_unref(&d->st);
    mem_free(&d);
}

static void decide(struct room *r, const struct application *a, struct stanza *st,
                   struct origin origin)
{
    struct decision *d = mem_new(struct decision);
    struct affiliation_edit edit = { .jid = a->bare, .affiliation = AFF_MEMBER, .nick = a->nick };
    *d = (struct decision){ stanza_ref(st), origin };
    room_commit(r,
                &(struct room_delta){ .edit = &edit,
                                      .edit_count = 1,
                                      .newcomers = true,
                                      .applied = asked_at(r, a->bare) != NULL },
                decided, d);
}

/* The form by which somebody approved or refused a registration. */
static enum routed register_answered(struct room *r, struct seat *s, struct stanza *st,
                                     struct form *f, struct origin origin)
{
    struct arena *tmp = room_scratch(r);
    struct application a = { 0 };
    struct jid jid = { 0 };
    bool allow = false;
    slice nick = { 0 };
    enum routed routed = ROUTED;
    (void)s;

    if (!affiliation_may(room_affiliation(r, stanza_from_bare(st)), ACT_EDIT_MEMBERS)) {
        room_error(r, st, SE_FORBIDDEN, SLICE("only administrators of the room decide"));
    } else if (form_bool(f, FIELD_ALLOW, &allow) && allow && form_jid(f, FIELD_JID, &jid) &&
               form_text(f, FIELD_NICK, &nick)) {
        a.bare = jid_bare(&jid);
        if (!muc_register_check(&a, r, nick, tmp)) {
            room_error(r, st, a.error, a.text);
        } else if (room_affiliation(r, a.bare) == AFF_NONE) {
            decide(r, &a, st, origin);
            routed = origin.session != 0 ? ROUTE_PENDING : ROUTED;
        }
    }
    stanza_unref(&st);
    return routed;
}

static const struct iq_rule rules[] = {
    { TYPE_GET, NS_REGISTER, "query", IQ_TO_ROOM, muc_register_get },
    { TYPE_SET, NS_REGISTER, "query", IQ_TO_ROOM, muc_register_set },
    { 0 },
};

const struct feature muc_register_feature = { .name = "muc_register", .iq = rules };

static const struct form_answer answers[] = { { NS_MUC_REGISTER, register_answered }, { 0 } };

const struct room_part register_part = {
    .name = "register",
    .slot = &applicants_slot,
    .disco = (const char *const[]){ NS_REGISTER, NS_MUC_REGISTER, NULL },
    .answers = answers,
    .clear = register_clear,
};
