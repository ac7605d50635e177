#include "muc/talk/bounce.h"
#include "codec/xml_elem.h"
#include "muc/people/occupant.h"
#include "muc/room/room.h"
#include "xmpp/stanza_error.h"

static enum stanza_error error_of(const struct stanza *st)
{
    struct elem e, condition;
    if (!stanza_child(st, KNOWN_ERROR, &e) || !elem_first(&e, &condition))
        return SE_UNDEFINED_CONDITION;
    return stanza_error_find(condition.name);
}

bool room_error_is_gone(const struct stanza *st)
{
    switch (error_of(st)) {
    case SE_GONE:
    case SE_ITEM_NOT_FOUND:
    case SE_RECIPIENT_UNAVAILABLE:
    case SE_REDIRECT:
    case SE_REMOTE_SERVER_NOT_FOUND:
    case SE_REMOTE_SERVER_TIMEOUT:
    case SE_JID_MALFORMED:
        return true;
    default:
        return false;
    }
}

/* service-unavailable is also what an account says to those whom it blocks (XEP-0191 §3.4), so of a
 * session of this node, whose end is told by itself, it says nothing. */
void room_bounced(struct room *r, struct seat *s, const struct stanza *st)
{
    if (s == NULL)
        return;
    bool away = error_of(st) == SE_SERVICE_UNAVAILABLE && list_linked(&s->away);
    if (away || room_error_is_gone(st))
        room_seat_gone(r, s);
}
