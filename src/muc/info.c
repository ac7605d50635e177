#include "muc/info.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/rand.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "home/question.h"
#include "muc/people/affiliation.h"
#include "muc/people/find.h"
#include "muc/room/config.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "muc/service.h"
#include "muc/state/store.h"
#include "store/store.h"
#include "xmpp/disco_info.h"
#include "xmpp/muc.h"
#include "xmpp/ns.h"
#include "xmpp/rsm.h"
#include <stdlib.h>

#define NS_MUC_UNIQUE "http://jabber.org/protocol/muc#unique"

enum {
    PAGE_BYTES_MAX = 1 << 20,
    ITEM_BYTES_MAX = 32 * 1024, /* an address and a name, escaped */
    PAGE_DEFAULT = 500,         /* rooms in an answer, unless fewer are asked for */
    ROOMS_LISTED = 20000        /* at most: more than muc.rooms-max has by default */
};

struct listed {
    slice jid, name;
};

/* A list of rooms being gathered: those in memory of each worker, then those stored. */
struct listing {
    struct iq *iq;
    struct arena *arena;
    slice domain; /* in arena */
    struct listed *row;
    size_t count, cap;
};

static void row_add(struct listing *l, slice jid, slice name)
{
    if (l->count == ROOMS_LISTED)
        return;
    if (l->count == l->cap) {
        l->cap = l->cap == 0 ? 64 : l->cap * 2;
        l->row = mem_realloc(l->row, l->cap * sizeof *l->row);
    }
    l->row[l->count++] = (struct listed){ slice_dup(l->arena, jid), slice_dup(l->arena, name) };
}

struct rooms_asked {
    slice domain;
};

struct room_listed {
    slice jid, name;
};
static const struct message_field room_listed_fields[] = {
    F_BARE(struct room_listed, jid),
    F_BYTES(struct room_listed, name, PAGE_BYTES_MAX),
    { 0 },
};
static const struct message_row room_listed_message = {
    .id = 83,
    .scope = MESSAGE_CLUSTER,
    .name = "room-listed",
    .size = sizeof(struct room_listed),
    .fields = room_listed_fields,
};

struct gathering {
    struct worker *worker;
    slice domain;
    const struct message_from *from;
};

static void gather_room(struct room *r, void *arg)
{
    const struct gathering *g = arg;
    if (r->config.listed && !r->stored && !r->locked &&
        slice_eq(jid_split(r->jid).domain, g->domain))
        question_answer(g->worker, g->from, &room_listed_message,
                        &(struct room_listed){ r->jid, r->config.text[ROOM_NAME] });
}

static void rooms_asked_run(struct worker *w, void *message, const struct message_from *from)
{
    struct gathering g = { w, ((const struct rooms_asked *)message)->domain, from };
    rooms_each(w, gather_room, &g);
}

static const struct message_field rooms_asked_fields[] = { F_BARE(struct rooms_asked, domain),
                                                           { 0 } };
static const struct message_row rooms_asked_message = {
    .id = 82,
    .scope = MESSAGE_CLUSTER,
    .name = "rooms-asked",
    .size = sizeof(struct rooms_asked),
    .fields = rooms_asked_fields,
    .run = rooms_asked_run,
    .answer = &room_listed_message,
};
const struct message_row *const room_info_messages[] = { &rooms_asked_message, &room_listed_message,
                                                         NULL };

static void room_heard(struct worker *w, void *arg, void *answer, const struct message_from *from)
{
    const struct room_listed *room = answer;
    (void)w, (void)from;
    row_add(arg, room->jid, room->name);
}

static int info_compare(const void *a, const void *b)
{
    return slice_compare(((const struct listed *)a)->jid, ((const struct listed *)b)->jid);
}

static void info_item_write(struct xml_write *x, slice jid, slice name)
{
    xml_open_with(x, "item", NULL, "jid", jid);
    xml_attr_some(x, "name", name);
    xml_close(x);
}

static size_t info_place_of(const struct listing *l, slice jid)
{
    size_t i = 0;
    while (i < l->count && !slice_eq(l->row[i].jid, jid))
        i++;
    return i;
}

/* How many fit. */
static size_t items_write(struct xml_write *x, struct buf *out, const struct listing *l,
                          size_t from, size_t len)
{
    buf_clear(out);
    xml_write_to(x, out);
    xml_open(x, "query", NS_DISCO_ITEMS);
    for (size_t i = 0; i < len; i++) {
        const struct listed *row = &l->row[from + i];
        if (out->len + ITEM_BYTES_MAX > PAGE_BYTES_MAX)
            return i;
        info_item_write(x, row->jid, row->name.len > 0 ? row->name : jid_split(row->jid).local);
    }
    return len;
}

static void info_answer(struct listing *l)
{
    struct iq *iq = l->iq;
    if (l->count > 0)
        qsort(l->row, l->count, sizeof *l->row, info_compare);
    const char *why;
    struct rsm page;
    if (!rsm_parse(&page, &iq->payload, iq->tmp, &why)) {
        iq_error(iq, SE_BAD_REQUEST, slice_of(why));
        return;
    }
    size_t from, len;
    if (!rsm_window(&page, l->count, info_place_of(l, page.id), PAGE_DEFAULT, &from, &len)) {
        iq_error(iq, SE_ITEM_NOT_FOUND, (slice){ 0 });
        return;
    }
    size_t end = from + len;
    struct buf out;
    buf_init(&out, XML_STANZA_MAX);
    struct xml_write x;
    len = items_write(&x, &out, l, from, len);
    while (from + len < end && (page.place == RSM_BEFORE || page.place == RSM_LAST)) {
        from = end - len; /* such a page loses its first items, not its last ones */
        len = items_write(&x, &out, l, from, len);
    }
    struct elem set;
    if (len < l->count || elem_child(&iq->payload, "set", NS_RSM, &set))
        rsm_write(&x,
                  &(struct rsm_page){ .first = len > 0 ? l->row[from].jid : (slice){ 0 },
                                      .last = len > 0 ? l->row[from + len - 1].jid : (slice){ 0 },
                                      .index = (int64_t)from,
                                      .count = (int64_t)l->count });
    iq_result_xml(iq, &x);
}

static void listing_end(struct listing *l)
{
    mem_free(&l->row);
    arena_destroy(&l->arena);
    mem_free(&l);
}

static void info_stored(void *arg, enum store_result result, const struct store_batch *b)
{
    struct listing *l = arg;
    for (uint32_t i = 0; i < store_row_count(b, 0); i++)
        row_add(l, store_text(b, 0, i, 0), store_text(b, 0, i, 1));
    (void)result; /* without the database there are those in memory */
    info_answer(l);
    listing_end(l);
}

static void gathered(struct worker *w, void *arg)
{
    struct listing *l = arg;
    rooms_read_listed(w, l->domain, ROOMS_LISTED, info_stored, l);
}

static void service_items(struct iq *iq)
{
    struct listing *l = mem_new(struct listing);
    l->arena = arena_create(4096);
    l->domain = slice_dup(l->arena, stanza_to_bare(iq->st));
    l->iq = iq_hold(iq);
    each_home(iq->worker, &rooms_asked_message, &(struct rooms_asked){ l->domain },
              &(struct asker){ .gather = room_heard, .done = gathered, .arg = l });
}

/* §6.3: the service's items are its rooms; all else of it is answered in general. */
bool room_disco_get(struct iq *iq, slice node)
{
    if (iq->target != IQ_TO_HOST || iq->host != muc_hosts || node.len > 0 ||
        !elem_is(&iq->payload, "query", NS_DISCO_ITEMS))
        return false;
    service_items(iq);
    return true;
}

/* §10.1.4 of earlier versions, which clients still ask: a name that nobody has. */
static void unique(struct iq *iq)
{
    char name[2 * 16 + 1];
    rand_hex(name, 16);
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_PART_MAX);
    xml_open(&x, "unique", NS_MUC_UNIQUE);
    xml_text(&x, slice_of(name));
    iq_result_xml(iq, &x);
}

static void rooms_get(struct iq *iq)
{
    PARTS_EACH (p, rooms_get) {
        p->rooms_get(iq);
        return;
    }
    iq_error(iq, SE_SERVICE_UNAVAILABLE, (slice){ 0 });
}

const struct iq_rule muc_service_rules[] = {
    { TYPE_GET, NS_MUC_UNIQUE, "unique", IQ_TO_HOST, unique },
    { TYPE_GET, NS_ROOMS, "rooms", IQ_TO_HOST, rooms_get },
    { 0 },
};

/* Information on one room. */

static void add_owners(const struct room *r, struct room_facts *facts, struct arena *tmp)
{
    slice *owner = arena_new(tmp, slice, ROOM_CONTACTS_MAX);
    const struct affiliate *a;
    for (uint32_t i = 0;
         (a = map_next(&r->affiliates, &i)) != NULL && facts->owner_count < ROOM_CONTACTS_MAX;)
        if (a->affiliation == AFF_OWNER)
            owner[facts->owner_count++] = a->jid;
    facts->owner = owner;
}

static void write_info(struct iq *iq, const struct room *r)
{
    struct disco_info *d = arena_new(iq->tmp, struct disco_info, 1);
    struct room_facts facts = { .closed = !room_admits(r, iq->st),
                                .occupants = r->occupant_count - r->hidden_count };
    slice name = r->config.text[ROOM_NAME];
    if (!facts.closed)
        add_owners(r, &facts, iq->tmp);
    if (!facts.closed && r->subject != NULL)
        facts.subject = stanza_child_text(r->subject, KNOWN_SUBJECT, iq->tmp);
    disco_add_identity(d, SLICE("conference"), SLICE("text"),
                       name.len > 0 ? name : jid_split(r->jid).local);
    disco_add_features(d, (const char *const[]){ NS_DISCO_INFO, NS_DISCO_ITEMS, NS_MUC, NS_PING,
                                                 NS_SID, NS_OCCUPANT_ID, NS_COMMANDS,
                                                 "http://jabber.org/protocol/muc#stable_id",
                                                 "http://jabber.org/protocol/muc#self-ping-"
                                                 "optimization",
                                                 NS_MUC_ROOMCONFIG, NS_MUC_ROOMINFO, NULL });
    room_config_disco(d, &r->config, &facts, iq->tmp);
    PARTS_EACH (p, disco)
        disco_add_features(d, p->disco);
    ROOM_EMIT(info, d, r, iq->tmp);
    struct xml_write x;
    struct buf out;
    xml_begin(&x, &out, XML_STANZA_MAX);
    disco_write_info(&x, d, (slice){ 0 });
    iq_result_buf(iq, &out);
}

/* §7.12: the nickname that the asking user has registered here. */
static void write_nick(struct iq *iq, const struct room *r)
{
    const struct affiliate *a = room_affiliate(r, stanza_from_bare(iq->st));
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_PART_MAX);
    xml_open_with(&x, "query", NS_DISCO_INFO, "node", SLICE("x-roomuser-item"));
    if (a != NULL && a->nick.len > 0) {
        xml_open_with(&x, "identity", NULL, "category", SLICE("conference"));
        xml_attr(&x, "type", SLICE("text"));
        xml_attr(&x, "name", a->nick);
        xml_close(&x);
    }
    iq_result_xml(iq, &x);
}

static void room_info(struct iq *iq)
{
    const struct room *r = room_of_iq(iq);
    slice node = elem_attr(&iq->payload, "node", iq->tmp);
    if (slice_is(node, "x-roomuser-item"))
        write_nick(iq, r);
    else if (slice_is(node, NS_MUC "#traffic")) /* §18.1.1: what is let through is not listed */
        iq_error(iq, r->config.strip_xhtml ? SE_FEATURE_NOT_IMPLEMENTED : SE_SERVICE_UNAVAILABLE,
                 (slice){ 0 });
    else if (node.len > 0)
        iq_error(iq, SE_ITEM_NOT_FOUND, (slice){ 0 });
    else
        write_info(iq, r);
}

/* §6.5: those who are in, to those who are in; to others if the room is open to all. */
static void room_items(struct iq *iq)
{
    const struct room *r = room_of_iq(iq);
    struct buf out;
    struct xml_write x;
    bool shown =
        room_seat(r, stanza_from(iq->st)) != NULL || (r->config.listed && room_admits(r, iq->st));
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open(&x, "query", NS_DISCO_ITEMS);
    if (slice_is(elem_attr(&iq->payload, "node", iq->tmp), NS_COMMANDS)) { /* XEP-0050 §2.3 */
        xml_attr(&x, "node", SLICE(NS_COMMANDS));
        ROOM_EMIT(items, &x, r, iq->st);
        shown = false;
    }
    LIST_EACH (it, &r->occupants) {
        const struct occupant *o = CONTAINER_OF(it, struct occupant, node);
        if (!shown || !o->known || out.len + ITEM_BYTES_MAX > PAGE_BYTES_MAX)
            continue;
        info_item_write(&x, room_address(r, o->nick, iq->tmp), (slice){ 0 });
    }
    iq_result_xml(iq, &x);
}

/* XEP-0199: clients see whether the room is there; XEP-0410 asks by the occupant JID. */
static void room_ping(struct iq *iq) { iq_result(iq, (slice){ 0 }); }

const struct iq_rule room_info_rules[] = {
    { TYPE_GET, NS_DISCO_INFO, "query", IQ_TO_ROOM, room_info },
    { TYPE_GET, NS_DISCO_ITEMS, "query", IQ_TO_ROOM, room_items },
    { TYPE_GET, NS_PING, "ping", IQ_TO_ROOM, room_ping },
    { 0 },
};
