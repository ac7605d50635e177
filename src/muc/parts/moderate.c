/* moderate: messages are retracted, by their author (XEP-0424 §5) or by a moderator (XEP-0425).
 * History and archive get a tombstone instead, and occupants are notified. There are two forms of
 * moderation requests and notices in use; both are supported. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "home/router.h"
#include "home/ticket.h"
#include "muc/archive/archive.h"
#include "muc/archive/history.h"
#include "muc/muc.h"
#include "muc/parts.h"
#include "muc/people/find.h"
#include "muc/people/show.h"
#include "muc/room/config.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "muc/state/subject.h"
#include "muc/talk/record.h"
#include "talk/message.h"
#include "xmpp/archive_id.h"
#include "xmpp/muc.h"
#include "xmpp/ns.h"

#define NS_RETRACT_0 "urn:xmpp:message-retract:0"

static void stamp_write(struct xml_write *x, const struct room *r)
{
    char stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, loop_wall_us(room_loop(r)));
    xml_attr(x, "stamp", slice_of(stamp));
}

/* By its author. */

struct retraction {
    struct worker *worker;
    struct origin origin;
};

static void retraction_done(void *arg, enum err e)
{
    struct retraction *t = arg;
    (void)e; /* there is no such message, or it is another author's */
    ensure(worker_is_here(t->worker));
    ticket_done(t->worker, t->origin);
    mem_free(&t);
}

/* Handles a message of this seat that retracts an earlier one; other messages have no effect. */
static enum routed moderate_amends(struct room *r, const struct seat *s, const struct stanza *st,
                                   struct origin origin)
{
    struct arena *tmp = room_scratch(r);
    struct elem e;
    uint64_t id;
    if (!stanza_find(st, "retract", NS_RETRACT, &e) ||
        !archive_id_read(elem_attr(&e, "id", tmp), &id))
        return ROUTED;
    struct buf tombstone;
    struct xml_write x;
    xml_begin(&x, &tombstone, XML_PART_MAX);
    xml_open(&x, "retracted", NS_RETRACT);
    stamp_write(&x, r);
    if (stanza_id(st).len <= ROOM_TEXT_MAX)
        xml_attr(&x, "id", stanza_id(st));
    xml_close(&x);
    (void)room_history_bury(&r->history, id, seat_bare(s), buf_fit(&tombstone));
    (void)room_subject_bury(r, id, s->occupant->id);
    bool waits = r->stored && origin.session != 0 && setting_bool(&im_durable_ack);
    if (r->stored) {
        struct retraction *t = waits ? mem_new(struct retraction) : NULL;
        if (waits)
            *t = (struct retraction){ r->worker, origin };
        room_archive_bury(&r->archive,
                          &(struct room_burial){ .id = id,
                                                 .author = seat_bare(s),
                                                 .tombstone = buf_fit(&tombstone),
                                                 .patient = true },
                          waits ? retraction_done : NULL, t);
    }
    buf_fini(&tombstone);
    return waits ? ROUTE_PENDING : ROUTED;
}

/* By a moderator. */

struct moderation {
    struct room *room; /* pinned */
    int64_t room_id;
    struct iq *iq; /* held */
    uint64_t id;
    slice told; /* XML of the message to all */
    bool in_history;
};

/* The moderator as other occupants know them. The element stays open. */
static void moderator_write(struct xml_write *x, const struct room *r, const struct occupant *o,
                            const char *ns)
{
    xml_open_with(x, "moderated", ns, "by", room_address(r, o->nick, room_scratch(r)));
    occupant_id_write(x, o->id);
}

/* On the heap. */
static slice moderate_told(const struct room *r, const struct occupant *o, uint64_t id,
                           slice reason)
{
    char text[ARCHIVE_ID_LEN];
    const slice ident = { text, sizeof text };
    struct buf b;
    struct xml_write x;
    archive_id_write(text, id);
    xml_begin(&x, &b, XML_PART_MAX);
    xml_open_with(&x, "retract", NS_RETRACT, "id", ident);
    moderator_write(&x, r, o, NS_MODERATE);
    xml_close(&x);
    xml_element_some(&x, "reason", reason);
    xml_close(&x);
    xml_open_with(&x, "apply-to", NS_FASTEN, "id", ident);
    moderator_write(&x, r, o, NS_MODERATE_0);
    xml_empty(&x, "retract", NS_RETRACT_0);
    xml_element_some(&x, "reason", reason);
    xml_close_all(&x);
    slice told = slice_keep(buf_fit(&b));
    buf_fini(&b);
    return told;
}

/* The notice is said by the room: kept, and numbered, like what occupants say. */
static void moderate_tell(struct room *r, slice told)
{
    uint64_t id = room_archive_mint(&r->archive);
    char ident[2 * 8 + 1];
    rand_hex(ident, 8);
    struct buf content;
    struct xml_write x;
    xml_begin(&x, &content, XML_STANZA_MAX);
    buf_add(&content, told);
    stanza_id_write(&x, r, id);
    struct stanza *st = stanza_make(STANZA_MESSAGE, TYPE_GROUPCHAT, r->jid, (slice){ "", 0 },
                                    slice_of(ident), buf_fit(&content));
    room_send_all(r, st, TO_ALL, NULL);
    ROOM_EMIT(said, r, &(struct room_said){ .st = st, .speaker = { "", 0 }, .kept = true });
    (void)room_record(
        r, &(struct room_post){ .st = st, .id = id, .at_us = loop_wall_us(room_loop(r)) },
        ORIGIN_NONE);
    stanza_unref(&st);
    buf_fini(&content);
}

static void moderate_buried(void *arg, enum err e)
{
    struct moderation *m = arg;
    struct room *r = m->room;
    ensure(room_here(r) && room_is_pinned(r) && m->iq->held);
    if (e == OK || (e == E_NOTFOUND && m->in_history)) {
        if (room_is(r, m->room_id))
            moderate_tell(r, m->told);
        iq_result(m->iq, (slice){ 0 });
    } else if (e == E_NOTFOUND) {
        iq_error(m->iq, SE_ITEM_NOT_FOUND, SLICE("there is no such message"));
    } else {
        iq_error(m->iq, SE_RESOURCE_CONSTRAINT, SLICE("the archive could not be changed now"));
    }
    slice_release(&m->told);
    room_unpin(r);
    mem_free(&m);
}

static void moderate(struct iq *iq, struct room *r, const struct occupant *o, slice target,
                     slice reason)
{
    uint64_t id;
    if (!archive_id_read(target, &id)) {
        iq_error(iq, SE_ITEM_NOT_FOUND, SLICE("there is no such message"));
        return;
    }
    struct buf tombstone;
    struct xml_write x;
    xml_begin(&x, &tombstone, XML_PART_MAX);
    xml_open(&x, "retracted", NS_RETRACT);
    stamp_write(&x, r);
    moderator_write(&x, r, o, NS_MODERATE);
    xml_close(&x);
    xml_element_some(&x, "reason", reason);
    xml_close(&x);
    struct moderation *m = mem_new(struct moderation);
    *m = (struct moderation){ .room = r, .room_id = r->id, .iq = iq_hold(iq), .id = id };
    m->told = moderate_told(r, o, id, reason);
    bool subject = room_subject_bury(r, id, (slice){ 0 });
    m->in_history = subject | room_history_bury(&r->history, id, (slice){ 0 }, buf_fit(&tombstone));
    room_pin(r);
    if (r->stored)
        room_archive_bury(&r->archive,
                          &(struct room_burial){ .id = id,
                                                 .tombstone = buf_fit(&tombstone),
                                                 .moderator = stanza_from_bare(iq->st) },
                          moderate_buried, m);
    else
        moderate_buried(m, E_NOTFOUND);
    buf_fini(&tombstone);
}

/* The moderator who asks; else the request is answered. */
static const struct occupant *moderator_of(struct iq *iq, const struct room *r)
{
    const struct seat *s = room_seat(r, stanza_from(iq->st));
    if (s != NULL && s->occupant->role == ROLE_MODERATOR && !s->occupant->hidden)
        return s->occupant;
    iq_error(iq, SE_FORBIDDEN, SLICE("only moderators take back what others said"));
    return NULL;
}

static void moderate_ask(struct iq *iq, slice target, const struct elem *e, const char *retract_ns,
                         const char *ns)
{
    struct room *r = room_of_iq(iq);
    const struct occupant *o = moderator_of(iq, r);
    slice why = { 0 };
    if (o == NULL)
        return;
    struct elem retract;
    if (target.len == 0 || !elem_child(e, "retract", retract_ns, &retract)) {
        iq_error(iq, SE_BAD_REQUEST, SLICE("the id of a message, and a retraction, are expected"));
        return;
    }
    struct elem reason;
    if (elem_child(e, "reason", ns, &reason))
        why = elem_text(&reason, iq->tmp);
    if (why.len > ROOM_TEXT_MAX)
        iq_error(iq, SE_NOT_ACCEPTABLE, SLICE("the reason is too long"));
    else
        moderate(iq, r, o, target, why);
}

static void moderate_set(struct iq *iq)
{
    moderate_ask(iq, elem_attr(&iq->payload, "id", iq->tmp), &iq->payload, NS_RETRACT, NS_MODERATE);
}

static void apply_to_set(struct iq *iq)
{
    struct elem e;
    if (elem_child(&iq->payload, "moderate", NS_MODERATE_0, &e))
        moderate_ask(iq, elem_attr(&iq->payload, "id", iq->tmp), &e, NS_RETRACT_0, NS_MODERATE_0);
    else
        iq_error(iq, SE_FEATURE_NOT_IMPLEMENTED, (slice){ 0 });
}

static const struct iq_rule rules[] = {
    { TYPE_SET, NS_MODERATE, "moderate", IQ_TO_ROOM, moderate_set },
    { TYPE_SET, NS_FASTEN, "apply-to", IQ_TO_ROOM, apply_to_set },
    { 0 },
};

const struct feature muc_moderate_feature = {
    .name = "muc_moderate",
    .iq = rules,
    .xeps = (const struct xep[]){ { "0425", "0.3.0", "Moderated Message Retraction", "0.1.0",
                                    "rooms/test_modern", "the form of 0.2.1 (XEP-0422), too" },
                                  { 0 } },
};

const struct room_part moderate_part = {
    .name = "moderate",
    .disco = (const char *const[]){ NS_MODERATE, NS_MODERATE_0, NS_RETRACT, NULL },
    .amends = moderate_amends,
};
