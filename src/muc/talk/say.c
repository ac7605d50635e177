#include "muc/talk/say.h"
#include "archive/recent.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_read.h"
#include "codec/xml_write.h"
#include "core/audience.h"
#include "home/node.h"
#include "home/ticket.h"
#include "home/trail.h"
#include "muc/archive/archive.h"
#include "muc/archive/history.h"
#include "muc/people/find.h"
#include "muc/people/pace.h"
#include "muc/people/show.h"
#include "muc/room/config.h"
#include "muc/room/makers.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/settings.h"
#include "muc/state/lock.h"
#include "muc/state/subject.h"
#include "muc/talk/answer.h"
#include "muc/talk/ask.h"
#include "muc/talk/bounce.h"
#include "muc/talk/record.h"
#include "muc/talk/send.h"
#include "talk/message.h"
#include "xmpp/addresses.h"
#include "xmpp/archive_id.h"
#include "xmpp/delivery.h"
#include "xmpp/muc.h"
#include "xmpp/ns.h"

static struct metric said = { .name = "muster_room_messages",
                              .kind = METRIC_COUNTER,
                              .history = true,
                              .help = "Messages that rooms relayed to their occupants." };
static struct metric refused = { .name = "muster_room_messages_refused",
                                 .kind = METRIC_COUNTER,
                                 .help = "Messages to rooms and their occupants that were answered "
                                         "by an error." };
struct metric *const room_say_metrics[] = { &said, &refused, NULL };

/* Who to which room and what became of it, never what it says (`musterctl log trace muc on`). */
static void say_log(const char *event, const struct stanza *st, const char *why, uint32_t receivers)
{
    log_trace(&log_muc, LOG_C("event", event), LOG_S("from", stanza_from(st)),
              LOG_S("to", stanza_to(st)), LOG_S("id", stanza_id(st)), LOG_C("why", why),
              LOG_I("occupants", receivers));
}

static void say_trace(const char *event, const struct stanza *st, const char *why,
                      uint32_t receivers)
{
    say_log(event, st, why, receivers);
    trail_note(st, event, why, (slice){ 0 });
}

/* Refuses what was said, or would have been. */
static enum routed say_refuse(struct room *r, struct stanza *st, enum stanza_error e, slice text)
{
    say_log("room.refused", st, stanza_error_name(e), 0);
    metric_add(&refused, 1);
    return room_refuse(r, st, e, text);
}

static enum routed slow_down(struct room *r, struct stanza *st)
{
    say_log("room.refused", st, "too fast", 0);
    metric_add(&refused, 1);
    return room_slow_down(r, st);
}

enum { SUBJECT_MORE = 4096 }; /* bytes of what is said beside a subject: it is kept, too */

/* Only the room says that something was moderated (XEP-0425 §5), that it is not there any more, and
 * what somebody has not read. */
static bool is_verdict(const struct elem *e)
{
    struct elem inner;
    if (elem_is(e, "retracted", NS_RETRACT) || elem_is(e, "unread", NS_ROOMS))
        return true;
    if (elem_is(e, "retract", NS_RETRACT))
        return elem_child(e, "moderated", NS_MODERATE, &inner);
    return elem_is(e, "apply-to", NS_FASTEN) && elem_child(e, "moderated", NS_MODERATE_0, &inner);
}

/* By the room, or by an account of ours: the home of that does not look through what the room sends
 * (core/audience.h). */
static bool is_our_id(const struct room *r, const struct elem *e)
{
    struct arena *tmp = room_scratch(r);
    struct jid by;
    return jid_parse(&by, elem_attr(e, "by", tmp), tmp) == OK &&
           (slice_eq(by.full, r->jid) || node_serves(room_node(r), by.domain));
}

/* The room alone could say whose message it was; as a service of ours never does, none may stand
 * there. Legacy delays (XEP-0091) are read as those of XEP-0203. */
static bool is_claim(const struct elem *e, struct arena *tmp)
{
    return elem_is(e, "x", NS_LEGACY_DELAY) || elem_is(e, "hats", NS_HATS) ||
           elem_is(e, "inviter", NS_ROOMS) || addresses_claim_origin(e, tmp);
}

struct speaker {
    const struct room *room;
    bool owner;
};

/* What only rooms and servers say (XEP-0359 §5, XEP-0421 §4.1, XEP-0203 §5). An owner who makes a
 * room of a chat says when it was that the chat was had (§7.9). */
static bool say_forged(enum known_child known, const struct elem *e, void *arg)
{
    const struct speaker *by = arg;
    const struct room *r = by->room;
    if (known == KNOWN_STANZA_ID)
        return is_our_id(r, e);
    if (known == KNOWN_DELAY)
        return !by->owner || slice_eq(elem_attr(e, "from", room_scratch(r)), r->jid);
    if (known == KNOWN_PAYLOAD)
        return (r->config.strip_xhtml && elem_is(e, "html", NS_XHTML)) || is_verdict(e) ||
               is_claim(e, room_scratch(r));
    return true;
}

static struct stanza *relayed(struct room *r, const struct occupant *o, const struct stanza *st,
                              uint64_t id)
{
    slice from = room_address(r, o->nick, room_scratch(r));
    uint64_t strip = KNOWN(STANZA_ID) | KNOWN(OCCUPANT_ID) | KNOWN(MUC_USER) | KNOWN(DELAY) |
                     KNOWN(CARBON) | KNOWN(PRIVATE);
    struct speaker by = { r, o->affiliation == AFF_OWNER };
    struct buf more;
    struct xml_write x;
    xml_begin(&x, &more, XML_PART_MAX);
    occupant_id_write(&x, o->id);
    if (id != 0)
        stanza_id_write(&x, r, id);
    struct stanza *out = stanza_change(st, &(struct stanza_change){ .from = from,
                                                                    .to = { "", 0 },
                                                                    .known = strip | KNOWN(PAYLOAD),
                                                                    .unwanted = say_forged,
                                                                    .arg = &by,
                                                                    .more = buf_fit(&more) });
    buf_fini(&more);
    return out;
}

/* §8.1: a message with <subject/> and without <body/> and <thread/> */
static bool is_subject(const struct stanza *st)
{
    return stanza_has(st, KNOWN(SUBJECT)) && !stanza_has(st, KNOWN(BODY) | KNOWN(THREAD));
}

static enum stanza_error may_say(struct room *r, struct occupant *o, const struct stanza *st,
                                 slice *text)
{
    if (o->hidden) {
        *text = SLICE("hidden occupants do not speak");
        return SE_FORBIDDEN;
    }
    if (r->config.moderated && !role_may((enum room_role)o->role, ACT_SPEAK)) {
        *text = SLICE("the room is moderated, and you have no voice");
        return SE_FORBIDDEN;
    }
    if (is_subject(st)) {
        struct elem e;
        bool has = stanza_child(st, KNOWN_SUBJECT, &e);
        if (!room_may_subject(&r->config, (enum room_role)o->role)) {
            *text = SLICE("your role may not change the subject");
            return SE_FORBIDDEN;
        }
        size_t most = (size_t)setting_int(&muc_subject_bytes);
        if (has && (e.content.len > most || st->content_len > most + SUBJECT_MORE)) {
            *text = SLICE("the subject is too long");
            return SE_NOT_ACCEPTABLE;
        }
    }
    if (st->child_count > XML_CHILDREN_MAX - MORE_CHILDREN) {
        *text = SLICE("too many elements");
        return SE_NOT_ACCEPTABLE;
    }
    return SE_NONE;
}

/* A message that was relayed goes to the disk. If it sets the subject, or amends other messages, it
 * is handled when both are there. */
static enum routed say_record(struct room *r, const struct seat *s, const struct stanza *st,
                              const struct room_post *p, struct origin origin)
{
    bool subject = is_subject(st);
    if (!subject && !stanza_has(st, KNOWN(PAYLOAD)))
        return room_record(r, p, origin);
    struct origin part = ticket_join(r->worker, r->jid, origin);
    if (p->repeats != 0)
        recent_join(&r->recents, p->repeats, part.session);
    if (subject && room_subject_set(r, p->st, part) != ROUTED)
        ticket_join_more(r->worker, part);
    if (!subject)
        PARTS_EACH (one, amends)
            if (one->amends(r, s, st, part) != ROUTED)
                ticket_join_more(r->worker, part);
    if (room_record(r, p, part) != ROUTED)
        ticket_join_more(r->worker, part);
    ticket_join_close(r->worker, part);
    return origin.session != 0 ? ROUTE_PENDING : ROUTED;
}

static void say_keep(struct room *r, const struct room_post *post)
{
    room_history_add(&r->history, post, room_history_max(&r->config), r->jid);
    room_makers_weigh_history(r);
}

/* Sender and origin-id, of a message that the room keeps and can relay: a client that has read no
 * acknowledgement sends it again with the same (XEP-0359 §3.2). 0: it has none. */
static int64_t say_repeats(const struct room *r, const struct stanza *st)
{
    return message_room_storable(st) && st->child_count <= XML_CHILDREN_MAX - MORE_CHILDREN
               ? recent_origin(st, room_scratch(r))
               : 0;
}

/* A repeat is handled when the first copy is (architecture §6). */
static enum routed say_again_waits(struct room *r, int64_t repeats, uint64_t first,
                                   struct origin origin)
{
    const struct origin part = { .session = recent_join_of(&r->recents, repeats) };
    if (origin.session == 0 || !room_records(r) || !setting_bool(&im_durable_ack))
        return ROUTED;
    if (part.session != 0)
        return ticket_join_also(r->worker, part, origin) ? ROUTE_PENDING : ROUTED;
    return room_archive_also(&r->archive, first, origin);
}

/* All have read it: whatever its sender may say by now, no error comes back. One that sits in the
 * room gets the copy that it may have missed, with the stanza-id of the first. s NULL: it has left.
 */
static enum routed say_again(struct room *r, const struct seat *s, struct stanza *st,
                             int64_t repeats, uint64_t first, struct origin origin)
{
    say_trace("repeated", st, "its first copy was sent to all", s != NULL);
    if (s != NULL) {
        struct stanza *out = relayed(r, s->occupant, st, first);
        audience_tell(&r->audience, s->jid, out);
        stanza_unref(&out);
    }
    stanza_unref(&st);
    return say_again_waits(r, repeats, first, origin);
}

static enum routed to_all(struct room *r, struct seat *s, struct stanza *st, int64_t repeats,
                          struct origin origin)
{
    struct occupant *o = s->occupant;
    slice text = { 0 };
    enum stanza_error e = may_say(r, o, st, &text);
    bool kept = message_room_storable(st);
    ensure(room_here(r) && room_is_pinned(r));

    if (e != SE_NONE)
        return say_refuse(r, st, e, text);
    if (room_too_fast(r, o))
        return slow_down(r, st);
    if (is_subject(st) && room_subject_waits(r))
        return say_refuse(r, st, SE_RESOURCE_CONSTRAINT,
                          SLICE("the database is away, and earlier subjects wait for it"));
    if (kept && room_records(r) && room_archive_full())
        return say_refuse(r, st, SE_RESOURCE_CONSTRAINT,
                          SLICE("the database is away, and too many messages wait for it"));
    if (o->affiliation == AFF_OWNER)
        room_open(r); /* who speaks in it takes it as it is */
    uint64_t id = kept ? room_archive_mint(&r->archive) : 0;
    struct stanza *out = relayed(r, o, st, id);
    const struct room_post post = { .st = out,
                                    .sender = s->jid,
                                    .repeats = repeats,
                                    .id = id,
                                    .at_us = loop_wall_us(room_loop(r)) };
    if (repeats != 0)
        recent_put(&r->recents, repeats, id);
    say_trace("room.said", st, id != 0 ? "kept" : "not kept", r->nicks.count);
    metric_add(&said, 1);
    if (kept && !is_subject(st))
        say_keep(r, &post);
    room_send_all(r, out, TO_ALL, NULL);
    const struct room_said news = { out, seat_bare(s), kept };
    ROOM_EMIT(said, r, &news);
    enum routed routed = say_record(r, s, st, &post, origin);
    stanza_unref(&out);
    stanza_unref(&st);
    return routed;
}

static struct stanza *private_to(struct room *r, const struct seat *s, const struct stanza *st)
{
    struct stanza *one = stanza_append_to(st, s->jid, SLICE("<x xmlns='" NS_MUC_USER "'/>"));
    room_private_sent(r, s, one);
    return one;
}

/* To the account of the occupant for one session, which keeps it; the others are told as of all
 * that the room says, or it would be kept for each, or taken for a repeat. That account alone knows
 * what became of the first copy of a repeat, and answers for it. */
static enum routed deliver_private(struct room *r, const struct occupant *to,
                                   const struct stanza *st, bool again, struct origin origin)
{
    const struct seat *first = occupant_seat(to);
    ensure(!list_empty(&to->seats));
    LIST_EACH (it, &to->seats) {
        const struct seat *s = CONTAINER_OF(it, struct seat, node);
        if (again || s == first)
            continue;
        struct stanza *one = private_to(r, s, st);
        audience_tell(&r->audience, s->jid, one);
        stanza_unref(&one);
    }
    return room_send(r, private_to(r, first, st), origin);
}

/* The same origin-id to another occupant is another message. */
static int64_t private_repeats(const struct occupant *to, int64_t repeats)
{
    return repeats == 0 ? 0 : repeats ^ (int64_t)(hash_keyed(to->id) >> 1 << 1); /* stays odd */
}

/* §7.5: a private message, to one occupant by the nickname. It goes to all of its sessions. The
 * account that it is for keeps it, and reports. */
static enum routed say_to_one(struct room *r, struct seat *s, struct stanza *st, int64_t repeats,
                              struct origin origin)
{
    struct arena *tmp = room_scratch(r);
    struct occupant *from = s->occupant;
    struct occupant *to = room_occupant(r, slice_from(stanza_to(st), st->to_bare_len + 1u), tmp);
    ensure(room_here(r) && room_is_pinned(r));

    if (st->type == TYPE_GROUPCHAT)
        return say_refuse(r, st, SE_BAD_REQUEST,
                          SLICE("a message to one is not of type groupchat"));
    if (to == NULL || to->hidden)
        return say_refuse(r, st, SE_ITEM_NOT_FOUND, SLICE("nobody has this nickname"));
    if (from->hidden || !room_may_pm(&r->config, (enum room_role)from->role))
        return say_refuse(r, st, SE_FORBIDDEN,
                          SLICE("your role may not send private messages here"));
    if (st->child_count > XML_CHILDREN_MAX - MORE_CHILDREN)
        return say_refuse(r, st, SE_NOT_ACCEPTABLE, SLICE("too many elements"));
    const uint64_t now_us = loop_wall_us(room_loop(r));
    repeats = private_repeats(to, repeats);
    bool again = recent_find(&r->recents, repeats, now_us) != 0;
    if (!again && room_too_fast(r, from))
        return slow_down(r, st);
    if (!again && repeats != 0)
        recent_put(&r->recents, repeats, now_us);
    struct stanza *out = relayed(r, from, st, 0);
    say_trace(again ? "repeated" : "room.private", st, "not kept", 1);
    enum routed routed = deliver_private(r, to, out, again, origin);
    stanza_unref(&out);
    stanza_unref(&st);
    return routed;
}

/* A private message comes back: its sender learns that it was not taken, or not stored. s NULL: who
 * it was for has left, and with the nickname: the room says it. */
static void return_private(struct room *r, struct seat *s, const struct stanza *st)
{
    struct arena *tmp = room_scratch(r);
    struct occupant *to = room_occupant(r, slice_from(stanza_to(st), st->to_bare_len + 1u), tmp);
    if (to == NULL || (s != NULL ? s->occupant->hidden || room_too_fast(r, s->occupant)
                                 : room_outsiders_too_fast(r)))
        return;
    slice from = s != NULL ? room_address(r, s->occupant->nick, tmp) : r->jid;
    struct stanza *out =
        stanza_change(st, &(struct stanza_change){ .from = from, .to = { "", 0 } });
    LIST_EACH (it, &to->seats)
        audience_tell(&r->audience, CONTAINER_OF(it, struct seat, node)->jid, out);
    stanza_unref(&out);
}

/* What the room said to all comes back, too, where a server was not reached or a session has ended,
 * and is no news. */
static bool is_returned(const struct room *r, const struct seat *s, const struct stanza *error)
{
    if (s == NULL)
        return room_private_late(r, error);
    return !room_bounce_is_gone(r, error) && room_private_back(r, s, error);
}

static bool outside_taken(struct room *r, const struct stanza *st)
{
    PARTS_EACH (p, outside)
        if (p->outside(r, st))
            return true;
    return false;
}

enum routed room_message(struct room *r, struct stanza *st, struct origin origin)
{
    struct seat *s = room_seat(r, stanza_from(st));
    if (st->type == TYPE_ERROR) {
        if (!stanza_to_is_bare(st) && is_returned(r, s, st))
            return_private(r, s, st);
        room_bounced(r, s, st);
        return room_handled(st);
    }
    if (stanza_to_is_bare(st) && st->type != TYPE_GROUPCHAT)
        return room_asked(r, s, st, origin);
    const int64_t repeats = say_repeats(r, st);
    const uint64_t first = recent_find(&r->recents, repeats, loop_wall_us(room_loop(r)));
    if (first != 0 && stanza_to_is_bare(st))
        return say_again(r, s, st, repeats, first, origin);
    if (s == NULL && outside_taken(r, st))
        return room_handled(st);
    if (s == NULL && r->locked) /* §17.2 */
        return say_refuse(r, st, SE_ITEM_NOT_FOUND, SLICE("the room is not open yet"));
    if (s == NULL)
        return say_refuse(r, st, SE_NOT_ACCEPTABLE, SLICE("you are not in this room"));
    return stanza_to_is_bare(st) ? to_all(r, s, st, repeats, origin)
                                 : say_to_one(r, s, st, repeats, origin);
}
