#include "muc/talk/record.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "codec/xml_write.h"
#include "core/audience.h"
#include "home/router.h"
#include "muc/archive/archive.h"
#include "muc/archive/history.h"
#include "muc/room/config.h"
#include "muc/room/room.h"
#include "talk/message.h"
#include "xmpp/muc.h"

bool room_records(const struct room *r) { return r->stored && room_logs(&r->config); }

enum routed room_record(struct room *r, const struct room_post *p, struct origin origin)
{
    ensure(room_here(r) && p->st != NULL);
    if (p->sender.len > 0)
        r->said_us = p->at_us;
    if (!r->stored)
        return ROUTED;
    if (p->id == 0 || !room_records(r))
        return ROUTED;
    /* with im.durable-ack off acknowledged means relayed */
    const struct origin waits = setting_bool(&im_durable_ack) ? origin : ORIGIN_NONE;
    return room_archive_put(&r->archive, p, waits);
}

struct reader {
    struct room *room;
    const struct seat *seat;
};

static void send_one(struct stanza *st, void *arg)
{
    const struct reader *to = arg;
    audience_tell(&to->room->audience, to->seat->jid, st);
}

void room_send_history(struct room *r, const struct seat *s, const struct elem *x)
{
    struct reader to = { r, s };
    struct history_ask ask = { .stanzas = UINT32_MAX, .chars = UINT64_MAX };
    if (x != NULL)
        history_ask_read(&ask, x, loop_wall_us(room_loop(r)));
    ask.to = s->jid;
    room_history_each(&r->history, &ask,
                      ask.many ? room_history_max(&r->config) : room_history(&r->config), send_one,
                      &to);
}
