/* query: permissions for the archive of a room (XEP-0313 §5.1.2). Users who are in the room, or may
 * enter it without approval, can read it. Only those who may see addresses can see the addresses of
 * authors. */
#include "archive/words.h"
#include "core/feature.h"
#include "muc/archive/request.h"
#include "muc/muc.h"
#include "muc/parts.h"
#include "muc/people/affiliation.h"
#include "muc/people/find.h"
#include "muc/room/config.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "xmpp/disco_info.h"
#include "xmpp/muc.h"
#include "xmpp/ns.h"

static struct room_reader reader_of(const struct room *r, const struct stanza *st)
{
    struct room_reader who = { SIGHT_NONE, room_history_max(&r->config) };
    enum affiliation a = room_affiliation(r, stanza_from_bare(st));
    const struct seat *s = room_seat(r, stanza_from(st));
    if (!room_admits(r, st))
        return who;
    bool moderator = a >= AFF_ADMIN || (s != NULL && s->occupant->role == ROLE_MODERATOR);
    who.sight = r->config.whois == WHOIS_ANYONE || moderator ? SIGHT_JIDS : SIGHT_NICKS;
    return who;
}

/* The room, if it has an archive; else the request is answered. */
static const struct room *archived(struct iq *iq)
{
    const struct room *r = room_of_iq(iq);
    if (r->stored)
        return r;
    iq_error(iq, SE_SERVICE_UNAVAILABLE, SLICE("the room has no archive"));
    return NULL;
}

static void query(struct iq *iq)
{
    const struct room *r = archived(iq);
    if (r != NULL)
        room_archive_query(&r->archive, iq, reader_of(r, iq->st));
}

static void form(struct iq *iq)
{
    const struct room *r = archived(iq);
    if (r != NULL)
        room_archive_form(iq, reader_of(r, iq->st));
}

static void metadata(struct iq *iq)
{
    const struct room *r = archived(iq);
    if (r != NULL)
        room_archive_metadata(&r->archive, iq, reader_of(r, iq->st));
}

static const struct iq_rule rules[] = {
    { TYPE_SET, NS_MAM, "query", IQ_TO_ROOM, query },
    { TYPE_GET, NS_MAM, "query", IQ_TO_ROOM, form },
    { TYPE_GET, NS_MAM, "metadata", IQ_TO_ROOM, metadata },
    { 0 },
};

static void query_info(struct disco_info *d, const struct room *r, struct arena *tmp)
{
    (void)tmp;
    if (!r->stored)
        return;
    disco_add_feature(d, SLICE(NS_MAM));
    disco_add_feature(d, SLICE(NS_MAM_EXTENDED));
    disco_add_feature(d, SLICE(NS_MAM "#groupchat-field"));
    if (archive_words() != NULL)
        disco_add_feature(d, SLICE("urn:xmpp:fulltext:0"));
}

const struct room_part query_part = { .name = "query", .info = query_info };

const struct feature muc_query_feature = { .name = "muc-archive", .iq = rules };
