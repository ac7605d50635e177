/* joins: who enters and leaves a room is archived for operators, if the room wants that
 * (muc.archive-joins). Clients never get it. */
#include "archive/archive.h"
#include "base/buf.h"
#include "codec/xml_write.h"
#include "muc/archive/archive.h"
#include "muc/parts.h"
#include "muc/people/find.h"
#include "muc/people/show.h"
#include "muc/room/config.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "xmpp/muc.h"
#include "xmpp/ns.h"

static bool records(const struct room *r, const struct room_config *c)
{
    return r->stored && c->archive_joins;
}

static void record_presence(struct room *r, const struct seat *s, enum stanza_type type)
{
    const struct occupant *o = s->occupant;
    slice from = room_address(r, o->nick, room_scratch(r));
    struct buf xml;
    struct xml_write x;
    if (!records(r, &r->config))
        return;
    xml_begin(&x, &xml, XML_PART_MAX);
    xml_open(&x, "x", NS_MUC_USER);
    xml_open_with(&x, "item", NULL, "affiliation",
                  affiliation_name((enum affiliation)o->affiliation));
    xml_close_all(&x);
    occupant_id_write(&x, o->id);
    struct stanza *st =
        stanza_make(STANZA_PRESENCE, type, from, SLICE(""), (slice){ 0 }, buf_fit(&xml));
    const struct room_post post = { .st = st,
                                    .sender = s->jid,
                                    .id = room_archive_mint(&r->archive),
                                    .at_us = loop_wall_us(room_loop(r)),
                                    .flags = ENTRY_HIDDEN };
    (void)room_archive_put(&r->archive, &post, ORIGIN_NONE);
    stanza_unref(&st);
    buf_fini(&xml);
}

/* Recording has begun: those who are inside already have entered. */
static void record_all(struct room *r)
{
    LIST_EACH (it, &r->occupants) {
        const struct occupant *o = CONTAINER_OF(it, struct occupant, node);
        LIST_EACH (at, &o->seats)
            record_presence(r, CONTAINER_OF(at, struct seat, node), TYPE_AVAILABLE);
    }
}

static void joins_seated(struct room *r, struct seat *s, bool back)
{
    if (!back)
        record_presence(r, s, TYPE_AVAILABLE);
}

/* When the room ends, its archive goes. */
static void joins_leaves(struct room *r, const struct seat *s, bool ends)
{
    if (!ends)
        record_presence(r, s, TYPE_UNAVAILABLE);
}

static void joins_configured(struct room *r, const struct room_configured *c)
{
    bool was = c->was_stored && c->was->archive_joins;
    if (!was && records(r, &r->config))
        record_all(r);
}

const struct room_part joins_part = {
    .name = "joins",
    .configured = joins_configured,
    .seated = joins_seated,
    .leaves = joins_leaves,
};
