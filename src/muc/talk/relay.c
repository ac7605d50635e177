#include "muc/talk/relay.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "home/ask.h"
#include "muc/parts.h"
#include "muc/people/find.h"
#include "muc/people/pace.h"
#include "muc/room/room.h"
#include "muc/talk/answer.h"
#include "xmpp/ns.h"
#include <inttypes.h>

static slice relay_nick_of(const struct stanza *st)
{
    return slice_from(stanza_to(st), st->to_bare_len + 1u);
}

enum { RELAYS_MAX = 256 };

/* A request on its way. */
struct relay {
    struct list node;
    uint64_t asker, asked; /* numbers of their seats */
    slice id, nick, jid;   /* of the request; of who was asked, then; of who asked: in this block */
};

static void relay_free(struct room *r, struct relay *q)
{
    ensure(r->relay_count > 0 && list_linked(&q->node));
    list_remove(&q->node);
    r->relay_count--;
    mem_free(&q);
}

static void relay_clear(struct room *r)
{
    while (!list_empty(&r->relays))
        relay_free(r, CONTAINER_OF(r->relays.next, struct relay, node));
}

static void relay_add(struct room *r, const struct seat *asker, const struct seat *asked, slice id)
{
    slice nick = asked->occupant->nick;
    struct relay *q = mem_zalloc(sizeof *q + id.len + nick.len + asker->jid.len);
    char *at = (char *)(q + 1);
    ensure(r->relay_count <= RELAYS_MAX && asker->number > 0);
    if (r->relay_count == RELAYS_MAX)
        relay_free(r, CONTAINER_OF(r->relays.next, struct relay, node));
    q->asker = asker->number;
    q->asked = asked->number;
    q->id = slice_lay(&at, id);
    q->nick = slice_lay(&at, nick);
    q->jid = slice_lay(&at, asker->jid);
    list_append(&r->relays, &q->node);
    r->relay_count++;
}

static struct relay *relay_of(const struct room *r, uint64_t asker, slice id)
{
    LIST_EACH (it, &r->relays) {
        struct relay *q = CONTAINER_OF(it, struct relay, node);
        if (q->asker == asker && slice_eq(q->id, id))
            return q;
    }
    return NULL;
}

static void answer_for(struct room *r, const struct relay *q)
{
    struct buf b;
    struct xml_write x;
    xml_begin(&x, &b, XML_PART_MAX);
    stanza_error_write_parts(
        &x, &(struct stanza_error_parts){ .error = SE_RECIPIENT_UNAVAILABLE,
                                          .by = r->jid,
                                          .text = SLICE("the occupant left without an answer") });
    slice from = room_address(r, q->nick, room_scratch(r));
    route_send(r->worker, stanza_make_buf(STANZA_IQ, TYPE_ERROR, from, q->jid, q->id, &b));
}

/* Requests that wait for the answer of a seat that is about to go get an error. */
static void relay_leaves(struct room *r, const struct seat *s, bool ends)
{
    (void)ends;
    LIST_EACH (it, &r->relays) {
        struct relay *q = CONTAINER_OF(it, struct relay, node);
        const struct seat *asker = room_seat(r, q->jid);
        if (q->asked == s->number && q->asker != s->number && asker != NULL &&
            asker->number == q->asker)
            answer_for(r, q);
        if (q->asked == s->number || q->asker == s->number)
            relay_free(r, q);
    }
}

static void pass(struct room *r, const struct stanza *st, slice nick, slice to, slice id)
{
    slice address = room_address(r, nick, room_scratch(r));
    route_send(r->worker,
               stanza_change(st, &(struct stanza_change){ .from = address, .to = to, .id = id }));
}

/* XEP-0410 §3: a self-ping succeeds for an occupant. */
static bool is_self_ping(const struct stanza *st)
{
    struct elem e;
    return st->type == TYPE_GET && stanza_payload(st, &e) && elem_is(&e, "ping", NS_PING);
}

static bool is_disco(const struct stanza *st)
{
    struct elem e;
    return st->type == TYPE_GET && stanza_payload(st, &e) &&
           (elem_is(&e, "query", NS_DISCO_INFO) || elem_is(&e, "query", NS_DISCO_ITEMS));
}

/* A vCard or what an account publishes is not the client's to give: its server answers. */
static bool is_for_account(const struct stanza *st)
{
    struct elem e;
    return st->type == TYPE_GET && stanza_payload(st, &e) &&
           (elem_is(&e, "vCard", NS_VCARD) || elem_is(&e, "pubsub", NS_PUBSUB));
}

static enum routed relay_request(struct room *r, struct seat *s, struct stanza *st)
{
    struct arena *tmp = room_scratch(r);
    struct occupant *to = room_occupant(r, relay_nick_of(st), tmp);

    if (s == NULL && is_disco(st)) /* XEP-0045 §6.6 */
        return room_refuse(r, st, SE_BAD_REQUEST, SLICE("you are not in this room"));
    if (s == NULL)
        return room_not_in(r, st);
    if (to == NULL)
        return room_refuse(r, st, SE_ITEM_NOT_FOUND, SLICE("nobody has this nickname"));
    if (to == s->occupant && is_self_ping(st)) {
        route_send(r->worker, stanza_make(STANZA_IQ, TYPE_RESULT, stanza_to(st), stanza_from(st),
                                          stanza_id(st), (slice){ 0 }));
        stanza_unref(&st);
        return ROUTED;
    }
    if (s->occupant->hidden || to->hidden)
        return room_refuse(r, st, SE_ITEM_NOT_FOUND, SLICE("nobody has this nickname"));
    if (room_asks_too_fast(r, s->occupant))
        return room_slow_down(r, st);
    const struct seat *target = occupant_seat(to);
    char *id = arena_printf(tmp, "%" PRIx64 "/%" PRIx32 "/%.*s", s->number, to->number,
                            SLICE_ARG(stanza_id(st)));
    bool account = is_for_account(st);
    relay_add(r, s, target, stanza_id(st));
    pass(r, st, s->occupant->nick, account ? seat_bare(target) : target->jid, slice_of(id));
    stanza_unref(&st);
    return ROUTED;
}

/* A number in front of the id: of the seat that asked, then of the occupant that was asked. */
static bool cut_number(slice *id, uint64_t *number)
{
    slice head;
    *number = 0;
    if (!slice_cut(*id, '/', &head, id) || head.len == 0 || head.len > 16)
        return false;
    for (size_t i = 0; i < head.len; i++) {
        char c = head.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        *number = *number << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return true;
}

static struct seat *numbered(const struct occupant *o, uint64_t number)
{
    LIST_EACH (it, &o->seats) {
        struct seat *s = CONTAINER_OF(it, struct seat, node);
        if (s->number == number)
            return s;
    }
    return NULL;
}

/* Of a client that is here, or of the account of one, which may be here by several nicknames: as
 * the one that was asked. */
static const struct occupant *answerer(const struct room *r, const struct stanza *st,
                                       uint64_t asked)
{
    LIST_EACH (it, &r->occupants) {
        const struct occupant *o = CONTAINER_OF(it, struct occupant, node);
        if (o->number != asked || o->hidden)
            continue;
        const struct seat *s = room_seat(r, stanza_from(st));
        bool account = st->from_len == st->from_bare_len &&
                       slice_eq(seat_bare(occupant_seat(o)), stanza_from(st));
        return account || (s != NULL && s->occupant == o) ? o : NULL;
    }
    return NULL;
}

/* By the nickname that it had when it asked, if that is still its own. */
static const struct seat *asker_of(const struct room *r, const struct occupant *to, uint64_t asker,
                                   slice id)
{
    const struct seat *s = to == NULL ? NULL : numbered(to, asker);
    const struct relay *q = s != NULL ? NULL : relay_of(r, asker, id);
    if (q != NULL)
        s = room_seat(r, q->jid);
    return s != NULL && s->number == asker ? s : NULL;
}

static enum routed relay_answer(struct room *r, struct stanza *st)
{
    struct arena *tmp = room_scratch(r);
    bool bare = stanza_to_is_bare(st);
    struct occupant *to = bare ? NULL : room_occupant(r, relay_nick_of(st), tmp);
    slice id = stanza_id(st);
    if (bare) /* asked by the room itself */
        (void)ask_answered(r->worker, st);
    const struct occupant *from;
    uint64_t asker, asked;
    const struct seat *s;
    if (!bare && cut_number(&id, &asker) && cut_number(&id, &asked) &&
        (from = answerer(r, st, asked)) != NULL && (s = asker_of(r, to, asker, id)) != NULL) {
        struct relay *q = relay_of(r, asker, id);
        pass(r, st, q != NULL ? q->nick : from->nick, s->jid, id);
        if (q != NULL)
            relay_free(r, q);
    }
    stanza_unref(&st);
    return ROUTED;
}

enum routed room_iq_relay(struct room *r, struct stanza *st)
{
    if (st->type == TYPE_RESULT || st->type == TYPE_ERROR)
        return relay_answer(r, st);
    if (st->type != TYPE_GET && st->type != TYPE_SET)
        return room_refuse(r, st, SE_BAD_REQUEST, (slice){ 0 });
    return relay_request(r, room_seat(r, stanza_from(st)), st);
}

const struct room_part relay_part = {
    .name = "relay",
    .clear = relay_clear,
    .leaves = relay_leaves,
};
