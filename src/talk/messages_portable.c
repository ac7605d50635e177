#include "talk/messages_portable.h"
#include "archive/archive.h"
#include "archive/ids.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/map.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "talk/mailbox.h"
#include "talk/message.h"
#include "xmpp/datetime.h"
#include "xmpp/delivery.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"
#include "xmpp/stanza.h"
#include <stdlib.h>

#define NS_PIE     "urn:xmpp:pie:0"
#define NS_PIE_OLD "http://www.xmpp.org/extensions/xep-0227.html#ns"
#define NS_PIE_MAM NS_PIE "#mam"

enum {
    ESCAPED_MAX = 6, /* bytes of a character that is escaped */
};
/* Between the times that an archive and a list of offline messages give for one message. */
#define SAME_US 60000000ull

struct ported {
    slice key; /* first: the key of the map */
    struct archive_message row;
    uint64_t id; /* that it had, if it is ours to keep; else its time */
    uint32_t at; /* in the order of the file */
    bool sent;
    struct ported *next;
    struct ported *equal; /* received, with the same key: the one before it in the file */
};

struct port {
    struct portable *to;
    /* By sender, id and content, the last one of the file: what may stand among the offline ones,
     * too. Each stands for one of these. */
    struct map received;
    struct ported *first, **last;
    uint32_t count;
    int64_t offline;
};

/* What the server of the user adds when it keeps or delivers a message (XEP-0203, XEP-0359). */
static bool is_added(const struct elem *e, const struct portable *p)
{
    slice host = jid_split(p->jid).domain, from = elem_attr(e, "from", p->tmp);
    if (elem_is(e, "delay", NS_DELAY))
        return from.len == 0 || slice_eq(from, host);
    return elem_is(e, "stanza-id", NS_SID) && slice_eq(elem_attr(e, "by", p->tmp), p->jid);
}

static void own_children(const struct elem *message, const struct portable *p, struct buf *out)
{
    struct elem e;
    for (bool more = elem_first(message, &e); more; more = elem_next(&e, &e))
        if (!is_added(&e, p))
            elem_extract(&e, out);
}

/* XEP-0203; 0: it does not say when. */
static uint64_t stamp_of(const struct elem *delay, struct arena *tmp)
{
    int64_t us;
    return datetime_parse(elem_attr(delay, "stamp", tmp), &us) && us > 0 ? (uint64_t)us : 0;
}

static bool message_address(const struct elem *message, const char *attr, slice missing, slice *out,
                            struct arena *tmp)
{
    struct jid jid;
    slice text = elem_attr(message, attr, tmp);
    *out = missing;
    if (text.len == 0)
        return true;
    bool fine = jid_parse(&jid, text, tmp) == OK;
    if (fine)
        *out = jid.full;
    return fine;
}

/* NULL: it does not come along. at_us: 0: not said. */
static struct ported *port_message(struct port *t, const struct elem *e, uint64_t at_us)
{
    struct portable *p = t->to;
    slice from, to, id = elem_attr(e, "id", p->tmp);
    if (!elem_is(e, "message", NS_CLIENT) || !message_address(e, "from", p->jid, &from, p->tmp) ||
        !message_address(e, "to", p->jid, &to, p->tmp)) {
        p->lost(p, "a message without right addresses", (slice){ 0 });
        return NULL;
    }
    struct buf content, text;
    buf_init(&content, XML_STORED_MAX);
    own_children(e, p, &content);
    if (content.overflow || id.len > XML_PART_MAX ||
        content.len + id.len * ESCAPED_MAX > PORT_MESSAGE_BYTES) {
        p->lost(p, "a message longer than 15.9 MiB, or with an id longer than 1 MiB, from", from);
        buf_fini(&content);
        return NULL;
    }
    buf_init(&text, XML_STANZA_MAX);
    struct stanza *st =
        stanza_make(STANZA_MESSAGE, stanza_type_of(STANZA_MESSAGE, elem_attr(e, "type", p->tmp)),
                    from, to, id, buf_fit(&content));
    stanza_store(&text, st);
    bool sent = slice_eq(stanza_from_bare(st), p->jid) && !slice_eq(stanza_to_bare(st), p->jid);
    struct ported *m = arena_new(p->tmp, struct ported, 1);
    m->key = slice_of(arena_printf(p->tmp, "%.*s\n%.*s\n%.*s", SLICE_ARG(from), SLICE_ARG(id),
                                   SLICE_ARG(buf_fit(&content))));
    m->row = (struct archive_message){
        .at_us = at_us > 0 && at_us < p->now_us ? at_us : p->now_us,
        .flags = MESSAGE_IMPORTED | (message_notifies(st) ? 0u : MESSAGE_QUIET),
        .remote = slice_dup(p->tmp, sent ? stanza_to_bare(st) : stanza_from_bare(st)),
        .stanza = slice_dup(p->tmp, buf_fit(&text)),
    };
    m->sent = sent;
    m->id = m->row.at_us;
    if (sent)
        m->row.sender = p->id;
    else
        m->row.rcpt = p->id;
    stanza_unref(&st);
    buf_fini(&content);
    buf_fini(&text);
    ensure(m->row.stanza.len > 0);
    return m;
}

static void port_keep(struct port *t, struct ported *m)
{
    if (m == NULL)
        return;
    m->at = t->count++;
    *t->last = m;
    t->last = &m->next;
}

/* Other servers have such ids, too. One that is far from its time would not be found by times. */
static void port_keep_id(struct port *t, struct ported *m, slice id)
{
    int64_t n;
    if (m != NULL && slice_int(id, &n) && n > 0 && (uint64_t)n <= t->to->now_us &&
        (uint64_t)llabs(n - (int64_t)m->row.at_us) <= ARCHIVE_SLACK_US)
        m->id = (uint64_t)n;
}

static void port_archived(struct port *t, const struct elem *result)
{
    struct elem forwarded, delay, message;
    if (!elem_child(result, "forwarded", NS_FORWARD, &forwarded) ||
        !elem_child(&forwarded, "message", NS_CLIENT, &message)) {
        t->to->lost(t->to, "an entry of the archive that is no message", (slice){ 0 });
        return;
    }
    uint64_t at_us =
        elem_child(&forwarded, "delay", NS_DELAY, &delay) ? stamp_of(&delay, t->to->tmp) : 0;
    struct ported *m = port_message(t, &message, at_us);
    port_keep_id(t, m, elem_attr(result, "id", t->to->tmp));
    port_keep(t, m);
    if (m == NULL || m->sent)
        return;
    m->equal = map_get(&t->received, m->key);
    if (m->equal != NULL)
        map_del(&t->received, m->key);
    map_put(&t->received, m);
}

/* The entry of the archive that is an offline message of this key; it is none of another. NULL:
 * there is none, or what is equal came at another time. at_us: 0: not said. */
static struct ported *port_same(struct port *t, slice key, uint64_t at_us)
{
    struct ported *known = map_get(&t->received, key);
    if (known == NULL)
        return NULL;
    uint64_t then_us = known->row.at_us;
    if (at_us != 0 && (at_us > then_us ? at_us - then_us : then_us - at_us) > SAME_US)
        return NULL;
    map_del(&t->received, key);
    if (known->equal != NULL)
        map_put(&t->received, known->equal);
    return known;
}

static void port_offline(struct port *t, const struct elem *message)
{
    struct elem e;
    uint64_t at_us = 0;
    for (bool more = elem_first(message, &e); more; more = elem_next(&e, &e))
        if (elem_is(&e, "delay", NS_DELAY) && (at_us == 0 || is_added(&e, t->to)))
            at_us = stamp_of(&e, t->to->tmp);
    struct ported *m = port_message(t, message, at_us);
    if (m == NULL)
        return;
    if (m->sent || t->offline >= setting_int(&mailbox_unsettled_max)) {
        t->to->lost(t->to,
                    "an offline message from the user, or beyond mailbox.unsettled-max, from",
                    m->row.remote);
        return;
    }
    t->offline++;
    struct ported *known = port_same(t, m->key, at_us);
    if (known == NULL)
        port_keep(t, m);
    else
        m = known;
    m->row.flags |= ENTRY_OFFLINE;
}

static int ported_by_id(const void *one, const void *other)
{
    const struct ported *a = *(const struct ported *const *)one,
                        *b = *(const struct ported *const *)other;
    if (a->id == b->id)
        return a->at < b->at ? -1 : 1;
    return a->id < b->id ? -1 : 1;
}

static void port_message_store(struct store_batch *b, struct ported *m, uint64_t id)
{
    ensure(id > 0);
    if (m->sent)
        m->row.sender_entry = id;
    else
        m->row.rcpt_entry = id;
    archive_add(b, &m->row);
}

/* Archive ids rise, none twice. */
static void port_messages_store(struct port *t)
{
    uint32_t n = 0, rows = 0;
    uint64_t last = t->to->last_entry;
    size_t bytes = 0;
    struct ported **all = arena_new(t->to->tmp, struct ported *, t->count + 1);
    for (struct ported *m = t->first; m != NULL; m = m->next) {
        all[n++] = m;
        bytes += m->row.stanza.len;
    }
    ensure(n == t->count && t->to->id > 0 && t->to->id < ROOM_ID_MIN);
    qsort(all, n, sizeof *all, ported_by_id);
    bool apart = t->to->piece || n > PORT_BATCH_ROWS || bytes > PORT_BATCH_BYTES;
    struct store_batch *b = t->to->batch;
    for (uint32_t i = 0; i < n; i++) {
        if (apart && (i == 0 || rows == PORT_BATCH_ROWS ||
                      bytes + all[i]->row.stanza.len > PORT_BATCH_BYTES)) {
            b = t->to->before(t->to);
            rows = 0;
            bytes = 0;
        }
        last = all[i]->id > last ? all[i]->id : last + 1;
        port_message_store(b, all[i], last);
        bytes += all[i]->row.stanza.len;
        rows++;
    }
    t->to->last_entry = last;
}

static void messages_port_take(struct portable *p)
{
    struct port t = { .to = p, .offline = p->offline };
    struct elem e, child;
    t.last = &t.first;
    map_init(&t.received, map_key_slice);
    for (bool more = elem_first(p->user, &e); more; more = elem_next(&e, &e))
        for (bool has = elem_is(&e, "archive", NS_PIE_MAM) && elem_first(&e, &child); has;
             has = elem_next(&child, &child))
            port_archived(&t, &child);
    for (bool more = elem_first(p->user, &e); more; more = elem_next(&e, &e)) {
        bool offline =
            elem_is(&e, "offline-messages", NS_PIE) || elem_is(&e, "offline-messages", NS_PIE_OLD);
        for (bool has = offline && elem_first(&e, &child); has; has = elem_next(&child, &child))
            port_offline(&t, &child);
    }
    if (p->before != NULL)
        port_messages_store(&t);
    map_fini(&t.received);
    p->offline = t.offline;
}

/* Writing: of each page the archive, then what nobody has of it; `after` is the last id. */

static void messages_port_read(const struct portable_out *o, struct store_batch *b)
{
    store_read_late(b, o->id);
    STORE_ADD(b, &archive_load, STORE_ANY_ROWS, SV_I(o->id));
    STORE_ADD(b, &archive_given, STORE_ANY_ROWS, SV_I(o->id), SV_I(o->after), SV_I(o->rows));
}

/* A stored stanza says the namespace of its stream by nothing. */
static void give_message(struct portable_out *o, slice stanza, uint64_t at_us, slice delay_from)
{
    struct elem e, child;
    char stamp[CLOCK_STAMP_LEN];
    if (!elem_parse(&e, stanza, SLICE(NS_CLIENT)))
        return;
    xml_open(o->x, "message", NS_CLIENT);
    static const char *const attrs[] = { "from", "to", "type", "id" };
    for (unsigned i = 0; i < sizeof attrs / sizeof attrs[0]; i++)
        xml_attr_some(o->x, attrs[i], elem_attr(&e, attrs[i], o->tmp));
    for (bool more = elem_first(&e, &child); more; more = elem_next(&child, &child))
        elem_extract(&child, xml_content(o->x));
    if (delay_from.len > 0) {
        clock_stamp(stamp, at_us);
        xml_open_with(o->x, "delay", NS_DELAY, "from", delay_from);
        xml_attr(o->x, "stamp", slice_of(stamp));
        xml_close(o->x);
    }
    xml_close(o->x);
}

static void give_archived(struct portable_out *o, const struct store_batch *b, unsigned stmt,
                          uint32_t row)
{
    char stamp[CLOCK_STAMP_LEN];
    uint64_t at_us = (uint64_t)store_int(b, stmt, row, 2);
    clock_stamp(stamp, at_us);
    xml_open(o->x, "result", NS_MAM);
    xml_attr_int(o->x, "id", store_int(b, stmt, row, 0));
    xml_open(o->x, "forwarded", NS_FORWARD);
    xml_empty_with(o->x, "delay", NS_DELAY, "stamp", slice_of(stamp));
    give_message(o, store_text(b, stmt, row, 3), at_us, (slice){ 0 });
    xml_close(o->x);
    xml_close(o->x);
}

static bool is_open(const struct store_batch *b, unsigned first, uint32_t row, slice *settled)
{
    uint64_t id = (uint64_t)store_int(b, first + 1, row, 0);
    return (store_int(b, first + 1, row, 1) & ENTRY_OFFLINE) != 0 &&
           id > (uint64_t)store_int(b, first, 0, 0) && !mailbox_ranges_have(settled, id);
}

/* What a page has of one of the two is an element of its own: there may be several. */
static void give_page(struct portable_out *o, const struct store_batch *b, unsigned first,
                      bool offline)
{
    bool open = false;
    slice settled = store_text(b, first, 0, 2), host = jid_split(o->jid).domain;
    for (uint32_t i = 0; i < store_row_count(b, first + 1); i++) {
        bool hidden = (store_int(b, first + 1, i, 1) & ENTRY_HIDDEN) != 0;
        if (store_text(b, first + 1, i, 3).len == 0 ||
            (offline ? !is_open(b, first, i, &settled) : hidden))
            continue;
        if (!open)
            xml_open(o->x, offline ? "offline-messages" : "archive", offline ? NULL : NS_PIE_MAM);
        open = true;
        if (offline)
            give_message(o, store_text(b, first + 1, i, 3), (uint64_t)store_int(b, first + 1, i, 2),
                         host);
        else
            give_archived(o, b, first + 1, i);
    }
    if (open)
        xml_close(o->x);
}

static bool messages_port_give(struct portable_out *o, const struct store_batch *b, unsigned first)
{
    uint32_t count = store_row_count(b, first + 1);
    give_page(o, b, first, false);
    give_page(o, b, first, true);
    if (count > 0)
        o->after = (uint64_t)store_int(b, first + 1, count - 1, 0);
    return count == o->rows;
}

const struct portable_part messages_portable = {
    .takes = (const struct portable_name[]){ { "offline-messages", NS_PIE },
                                             { "offline-messages", NS_PIE_OLD },
                                             { "archive", NS_PIE_MAM },
                                             { 0 } },
    .in_pieces = true,
    .take = messages_port_take,
    .read = messages_port_read,
    .give = messages_port_give,
};
