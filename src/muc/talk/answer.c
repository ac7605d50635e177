#include "muc/talk/answer.h"
#include "base/buf.h"
#include "codec/xml_write.h"
#include "home/trail.h"
#include "muc/room/room.h"
#include "talk/iq.h"

static void answer_error(struct room *r, const struct stanza *st,
                         const struct stanza_error_parts *parts)
{
    struct buf b;
    struct xml_write x;
    if (st->type == TYPE_ERROR || st->type == TYPE_RESULT) /* RFC 6120 §8.3.1 */
        return;
    trail_note(st, "refused", stanza_error_name(parts->error), (slice){ 0 });
    xml_begin(&x, &b, XML_PART_MAX);
    stanza_error_write_parts(&x, parts);
    route_send(r->worker, stanza_make_buf((enum stanza_kind)st->kind, TYPE_ERROR, stanza_to(st),
                                          stanza_from(st), stanza_id(st), &b));
}

void room_error(struct room *r, const struct stanza *st, enum stanza_error e, slice text)
{
    answer_error(r, st, &(struct stanza_error_parts){ .error = e, .by = r->jid, .text = text });
}

enum routed room_not_in(struct room *r, struct stanza *st)
{
    answer_error(r, st,
                 &(struct stanza_error_parts){ .error = SE_NOT_ACCEPTABLE,
                                               .type = "cancel",
                                               .by = r->jid,
                                               .text = SLICE_INIT("you are not in this room") });
    return room_handled(st);
}

enum routed room_refuse(struct room *r, struct stanza *st, enum stanza_error e, slice text)
{
    room_error(r, st, e, text);
    stanza_unref(&st);
    return ROUTED;
}

enum routed room_slow_down(struct room *r, struct stanza *st)
{
    struct buf b;
    struct xml_write x;
    if (st->type != TYPE_ERROR)
        trail_note(st, "refused", "too fast", (slice){ 0 });
    xml_begin(&x, &b, XML_PART_MAX);
    stanza_error_write(&x, SE_POLICY_VIOLATION, "wait", SLICE("too much at once; wait a little"));
    route_send(r->worker, stanza_make_buf((enum stanza_kind)st->kind, TYPE_ERROR, stanza_to(st),
                                          stanza_from(st), stanza_id(st), &b));
    stanza_unref(&st);
    return ROUTED;
}

enum routed room_handled(struct stanza *st)
{
    stanza_unref(&st);
    return ROUTED;
}

void room_answer(struct iq *iq, enum err e)
{
    switch (e) {
    case OK:
        iq_result(iq, (slice){ 0 });
        break;
    case E_CONFLICT:
        iq_error(iq, SE_CONFLICT, SLICE("a room keeps at least one owner"));
        break;
    case E_EXISTS:
        iq_error(iq, SE_CONFLICT, SLICE("the nickname is reserved for another"));
        break;
    case E_LIMIT:
        iq_error(iq, SE_RESOURCE_CONSTRAINT,
                 SLICE("too many people would have an affiliation with this room"));
        break;
    case E_NOTFOUND:
        iq_error(iq, SE_ITEM_NOT_FOUND, SLICE("the room has ended"));
        break;
    default:
        iq_error(iq, SE_RESOURCE_CONSTRAINT, SLICE("the change could not be stored now"));
        break;
    }
}
