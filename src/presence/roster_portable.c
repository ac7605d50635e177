#include "presence/roster_portable.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/map.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/portable.h"
#include "presence/roster.h"
#include "presence/roster_account.h"
#include "presence/roster_out.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"
#include "xmpp/stanza.h"
#include "xmpp/subscription.h"

struct ported {
    slice jid; /* first: the key */
    struct roster_delta item;
};

struct port {
    struct portable *to;
    struct map items;
    uint32_t listed, watchers;
};

static struct ported *ported_of(struct port *t, slice jid)
{
    struct ported *i = map_get(&t->items, jid);
    if (i != NULL)
        return i;
    i = arena_new(t->to->tmp, struct ported, 1);
    i->jid = jid;
    i->item = (struct roster_delta){ .op = ROSTER_PUT, .jid = jid, .item_version = 1 };
    map_put(&t->items, i);
    return i;
}

static bool ported_contact(struct port *t, const struct elem *e, const char *attr, slice *out)
{
    struct jid j;
    slice text = elem_attr(e, attr, t->to->tmp);
    if (text.len == 0 || jid_parse(&j, text, t->to->tmp) != OK || jid_bare(&j).len > UINT16_MAX) {
        t->to->lost(t->to, "a contact whose address is none", text);
        return false;
    }
    *out = jid_bare(&j);
    if (!slice_eq(*out, t->to->jid))
        return true;
    t->to->lost(t->to, "a contact that is the user", text);
    return false;
}

/* RFC 6121 §2.1.2. */
static uint8_t ported_state(const struct elem *e)
{
    slice sub = elem_attr_raw(e, "subscription");
    bool asks = slice_is(elem_attr_raw(e, "ask"), "subscribe");
    if (slice_is(sub, "both"))
        return SUB_BOTH;
    if (slice_is(sub, "to"))
        return SUB_TO;
    if (slice_is(sub, "from"))
        return asks ? SUB_FROM_PENDING_OUT : SUB_FROM;
    return asks ? SUB_NONE_PENDING_OUT : SUB_NONE;
}

static slice groups_of(struct port *t, const struct elem *item, slice contact)
{
    struct elem e;
    struct buf out;
    int64_t count = 0, most = setting_int(&roster_groups_max);
    int64_t bytes = setting_int(&roster_name_bytes);
    buf_init(&out, XML_STORED_MAX);
    for (bool more = elem_first(item, &e); more; more = elem_next(&e, &e)) {
        slice name = elem_is(&e, "group", NS_ROSTER) ? elem_text(&e, t->to->tmp) : (slice){ 0 };
        if (name.len == 0 || memchr(name.ptr, '\0', name.len) != NULL)
            continue;
        if ((int64_t)name.len > bytes || ++count > most) {
            t->to->lost(t->to, "a group beyond roster.name-bytes or roster.groups-max of contact",
                        contact);
            continue;
        }
        buf_add(&out, name);
        buf_append(&out, "", 1);
    }
    slice all = slice_dup(t->to->tmp, buf_fit(&out));
    buf_fini(&out);
    return all;
}

static void port_contact(struct port *t, const struct elem *e)
{
    slice jid;
    if (slice_is(elem_attr_raw(e, "subscription"), "remove") || !ported_contact(t, e, "jid", &jid))
        return;
    if (t->listed >= (uint64_t)setting_int(&roster_contacts_max)) {
        t->to->lost(t->to, "a contact beyond roster.contacts-max", jid);
        return;
    }
    struct ported *i = ported_of(t, jid);
    if ((i->item.flags & ROSTER_LISTED) != 0) {
        t->to->lost(t->to, "a contact for the second time", jid);
        return;
    }
    t->listed++;
    i->item.flags = ROSTER_LISTED;
    slice approved = elem_attr_raw(e, "approved"); /* RFC 6121 §2.1.2.1 */
    if (slice_is(approved, "true") || slice_is(approved, "1"))
        i->item.flags |= ROSTER_PREAPPROVED;
    i->item.state = ported_state(e);
    i->item.name = elem_attr(e, "name", t->to->tmp);
    if ((int64_t)i->item.name.len > setting_int(&roster_name_bytes)) {
        t->to->lost(t->to, "a name longer than roster.name-bytes, of contact", jid);
        i->item.name = (slice){ 0 };
    }
    i->item.groups = groups_of(t, e, jid);
    t->watchers += sub_is_seen((enum sub_state)i->item.state) != 0;
}

/* RFC 6121 §3.1.3: the request is kept until it is answered. */
static slice ported_request(struct port *t, const struct elem *e, slice jid)
{
    struct buf text;
    buf_init(&text, ROSTER_REQUEST_BYTES_MAX);
    struct elem child;
    struct buf inner;
    buf_init(&inner, ROSTER_REQUEST_BYTES_MAX);
    for (bool more = elem_first(e, &child); more; more = elem_next(&child, &child))
        elem_extract(&child, &inner);
    struct stanza *st = stanza_make(STANZA_PRESENCE, TYPE_SUBSCRIBE, jid, t->to->jid, (slice){ 0 },
                                    inner.overflow ? (slice){ 0 } : buf_slice(&inner));
    stanza_store(&text, st);
    slice out = text.overflow ? (slice){ 0 } : slice_dup(t->to->tmp, buf_slice(&text));
    if (inner.overflow || text.overflow)
        t->to->lost(t->to, "the words of a request, longer than 8 KiB, from", jid);
    stanza_unref(&st);
    buf_fini(&inner);
    buf_fini(&text);
    return out;
}

static void port_request(struct port *t, const struct elem *e)
{
    slice jid;
    if (!slice_is(elem_attr_raw(e, "type"), "subscribe") || !ported_contact(t, e, "from", &jid))
        return;
    struct ported *i = ported_of(t, jid);
    switch (i->item.state) {
    case SUB_NONE:
        i->item.state = SUB_NONE_PENDING_IN;
        break;
    case SUB_NONE_PENDING_OUT:
        i->item.state = SUB_NONE_PENDING_OUT_IN;
        break;
    case SUB_TO:
        i->item.state = SUB_TO_PENDING_IN;
        break;
    default:
        return; /* it sees the user already */
    }
    if (++t->watchers > (uint64_t)setting_int(&roster_watchers_max)) {
        t->to->lost(t->to, "a request beyond roster.watchers-max, from", jid);
        i->item.state = i->item.state == SUB_TO_PENDING_IN         ? SUB_TO
                        : i->item.state == SUB_NONE_PENDING_OUT_IN ? SUB_NONE_PENDING_OUT
                                                                   : SUB_NONE;
        return;
    }
    i->item.request = ported_request(t, e, jid);
}

static void port_roster_store(struct port *t)
{
    const struct ported *i;
    ensure(t->to->id > 0 && t->listed <= t->items.count);
    for (uint32_t at = 0; (i = map_next(&t->items, &at)) != NULL;)
        if (i->item.flags != 0 || i->item.state != SUB_NONE)
            roster_item_store(t->to->batch, t->to->id, &i->item);
    if (t->items.count > 0)
        roster_versions_store(t->to->batch, t->to->id, &(struct roster_delta){ .version = 1 });
    roster_out_ask_anew(t->to->batch, t->to->jid, t->to->id, t->to->first_id);
}

static void port_query(struct port *t, const struct elem *query)
{
    struct elem item;
    for (bool has = elem_first(query, &item); has; has = elem_next(&item, &item))
        if (elem_is(&item, "item", NS_ROSTER))
            port_contact(t, &item);
}

static void roster_take(struct portable *p)
{
    struct port t = { .to = p };
    struct elem e;
    map_init(&t.items, map_key_slice);
    for (bool more = elem_first(p->user, &e); more; more = elem_next(&e, &e))
        if (elem_is(&e, "query", NS_ROSTER))
            port_query(&t, &e);
    for (bool more = elem_first(p->user, &e); more; more = elem_next(&e, &e))
        if (elem_is(&e, "presence", "jabber:client"))
            port_request(&t, &e);
    if (p->batch != NULL)
        port_roster_store(&t);
    map_fini(&t.items);
}

/* A request as it is kept: its children are the requester's words. */
static void give_request(struct xml_write *x, const struct roster_delta *d)
{
    struct elem st, child;
    xml_open(x, "presence", NS_CLIENT);
    xml_attr(x, "from", d->jid);
    xml_attr(x, "type", SLICE("subscribe"));
    if (d->request.len > 0 && elem_parse(&st, d->request, SLICE(NS_CLIENT)))
        for (bool more = elem_first(&st, &child); more; more = elem_next(&child, &child))
            elem_extract(&child, xml_content(x));
    xml_close(x);
}

static void roster_portable_read(const struct portable_out *o, struct store_batch *b)
{
    roster_rows_read(b, o->id);
}

static bool roster_give(struct portable_out *o, const struct store_batch *b, unsigned first)
{
    struct roster_delta d;
    struct roster r;
    roster_init(&r);
    for (uint32_t row = 0; row < store_row_count(b, first); row++)
        if (roster_row(b, first, row, &d))
            roster_apply(&r, &d);
    xml_open(o->x, "query", NS_ROSTER);
    for (uint32_t row = 0; row < store_row_count(b, first); row++)
        if (roster_row(b, first, row, &d) && (d.flags & ROSTER_LISTED) != 0)
            roster_item_write(o->x, roster_find(&r, d.jid));
    xml_close(o->x);
    for (uint32_t row = 0; row < store_row_count(b, first); row++)
        if (roster_row(b, first, row, &d) && sub_state_pending_in((enum sub_state)d.state))
            give_request(o->x, &d);
    roster_fini(&r);
    return false;
}

const struct portable_part roster_portable = {
    .takes = (const struct portable_name[]){ { "query", NS_ROSTER },
                                             { "presence", "jabber:client" },
                                             { 0 } },
    .take = roster_take,
    .read = roster_portable_read,
    .give = roster_give,
};
