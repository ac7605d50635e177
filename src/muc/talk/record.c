#include "muc/talk/record.h"
#include "archive/archive.h"
#include "base/buf.h"
#include "base/setting.h"
#include "home/here.h"
#include "home/router.h"
#include "im/audience.h"
#include "im/message.h"
#include "muc/archive/archive.h"
#include "muc/archive/history.h"
#include "muc/operate/cleanup.h"
#include "muc/people/occupant.h"
#include "muc/people/show.h"
#include "muc/room/config.h"
#include "muc/room/room.h"
#include "xmpp/muc.h"
#include "xmpp/ns.h"

enum { XML_BYTES_MAX = 4096 };

bool room_records(const struct room *r) { return r->stored && room_logs(&r->config); }

bool room_records_presence(const struct room *r) { return r->stored && r->config.archive_joins; }

enum routed room_record(struct room *r, const struct room_post *p, struct origin origin)
{
    if (p->sender.len > 0)
        r->said_us = p->at_us;
    if (!r->stored)
        return ROUTED;
    if (p->sender.len > 0)
        room_spoken(r);
    if (p->id == 0 || !room_records(r))
        return ROUTED;
    /* with im.durable-ack off acknowledged means relayed */
    const struct origin waits = setting_bool(&im_durable_ack) ? origin : ORIGIN_NONE;
    return room_archive_put(&r->archive, p, waits);
}

/* Archives entering and leaving for operators; clients never get it. The room may be about to be
 * deleted: then its archive is, too. */
void room_record_presence(struct room *r, const struct seat *s, enum stanza_type type)
{
    const struct occupant *o = s->occupant;
    slice from = room_address(r, o->nick, loop_scratch(worker_loop(r->worker)));
    struct buf xml;
    if (!room_records_presence(r))
        return;
    buf_init(&xml, XML_BYTES_MAX);
    buf_lit(&xml, "<x xmlns='" NS_MUC_USER "'><item affiliation='");
    buf_add(&xml, affiliation_name((enum affiliation)o->affiliation));
    buf_lit(&xml, "'/></x>");
    occupant_id_write(&xml, o->id);
    struct stanza *st =
        stanza_make(STANZA_PRESENCE, type, from, SLICE(""), (slice){ 0 }, buf_slice(&xml));
    const struct room_post post = { .st = st,
                                    .sender = s->jid,
                                    .id = room_archive_mint(&r->archive),
                                    .at_us = loop_wall_us(worker_loop(r->worker)),
                                    .flags = ENTRY_HIDDEN };
    (void)room_archive_put(&r->archive, &post, ORIGIN_NONE);
    stanza_unref(&st);
    buf_fini(&xml);
}

void room_record_presence_of_all(struct room *r)
{
    LIST_EACH (it, &r->occupants) {
        const struct occupant *o = CONTAINER_OF(it, struct occupant, node);
        LIST_EACH (at, &o->seats)
            room_record_presence(r, CONTAINER_OF(at, struct seat, node), TYPE_AVAILABLE);
    }
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
        history_ask_read(&ask, x, loop_wall_us(worker_loop(r->worker)));
    ask.to = s->jid;
    room_history_each(&r->history, &ask,
                      ask.many ? room_history_max(&r->config) : room_history(&r->config), send_one,
                      &to);
}
