#include "muc/talk/send.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "muc/room/room.h"
#include "talk/message.h"
#include "xmpp/delivery.h"
#include "xmpp/stanza.h"

enum routed room_send(struct room *r, struct stanza *st, struct origin origin)
{
    ensure(room_here(r) && r->id > 0);
    if (!setting_bool(&im_durable_ack) || !message_storable(st) || stanza_has(st, KNOWN(TEST)) ||
        !route_is_foreign(r->worker, st))
        return route(r->worker, st, origin, 0, 0);
    return route_unshown(r->worker, st, origin, room_archive_mint(&r->archive), r->id);
}
