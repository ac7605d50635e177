#include "pubsub/pubsub_portable.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "pubsub/pubsub.h"
#include "pubsub/pubsub_own.h"
#include "pubsub/pubsub_request.h"
#include "pubsub/pubsub_store.h"
#include "xmpp/form.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"

struct ported {
    struct ported *next;
    slice name;
    int64_t nid;
    struct ps_config config;
    uint32_t items, listed;
};

struct port {
    struct portable *to;
    const struct ps_service_kind *kind;
    struct ported *nodes;
    uint32_t count;
    int64_t bytes;
};

static void store_node_of(struct portable *p, slice name, int64_t nid, const struct ps_config *c)
{
    if (p->batch != NULL)
        ps_store_ported(p->batch, p->id, &(struct ps_ported){ name, nid, p->jid, c });
}

/* NULL: no more nodes. */
static struct ported *ps_port_node_of(struct port *t, slice name)
{
    struct portable *p = t->to;
    for (struct ported *n = t->nodes; n != NULL; n = n->next)
        if (slice_eq(n->name, name))
            return n;
    if (name.len == 0 || name.len > PS_ID_MAX) {
        p->lost(p, "a node whose name is empty or too long", (slice){ 0 });
        return NULL;
    }
    if (t->count >= (uint64_t)setting_int(t->kind->nodes_max)) {
        p->lost(p, "a node beyond pep.nodes-max:", name);
        return NULL;
    }
    struct ported *n = arena_new(p->tmp, struct ported, 1);
    *n = (struct ported){ .next = t->nodes, .name = name, .nid = (int64_t)portable_tick(p) };
    ps_config_default(&n->config, PS_PEP);
    ensure(n->nid > 0);
    t->nodes = n;
    t->count++;
    return n;
}

/* Configuration, before its node is stored. */
static void port_configure(struct port *t, const struct elem *e)
{
    struct portable *p = t->to;
    struct form f;
    struct ported *n = ps_port_node_of(t, elem_attr(e, "node", p->tmp));
    struct ps_limits limits = { setting_int(t->kind->items_max), setting_int(t->kind->item_bytes) };
    if (n == NULL || !form_parse_child(&f, e, p->tmp))
        return;
    struct ps_config c = n->config;
    if (ps_config_submit(&c, &f, &limits))
        n->config = c;
    else
        p->lost(p, "the configuration, which is not one that this server has, of node", n->name);
}

/* Whether the list of the node, and the account, have room for one more address. */
static bool list_has_room(struct port *t, struct ported *n, slice jid)
{
    struct portable *p = t->to;
    int64_t bytes = t->bytes + ps_address_bytes(jid);
    if (n->listed >= (uint64_t)setting_int(t->kind->subscriptions_max) ||
        bytes > setting_int(t->kind->bytes_max)) {
        p->lost(p, "an address beyond pep.subscriptions-max or pep.bytes-max, at node", n->name);
        return false;
    }
    n->listed++;
    t->bytes = bytes;
    return true;
}

static void port_listed(struct port *t, struct ported *n, const struct elem *e)
{
    struct portable *p = t->to;
    struct jid jid;
    enum ps_affiliation a = PS_NONE;
    enum ps_state s = PS_UNSUBSCRIBED;
    bool subscription = slice_is(e->name, "subscription");
    slice text = elem_attr(e, "jid", p->tmp), subid = elem_attr(e, "subid", p->tmp);
    bool known = subscription ? ps_state_find(elem_attr(e, "subscription", p->tmp), &s)
                              : ps_affiliation_find(elem_attr(e, "affiliation", p->tmp), &a);
    if (!known || jid_parse(&jid, text, p->tmp) != OK || (subscription && s != PS_SUBSCRIBED) ||
        (!subscription && !jid_is_bare(&jid))) {
        p->lost(p, "an address that is none, or without what it may do, at node", n->name);
        return;
    }
    if ((!subscription && (a == PS_NONE || slice_eq(jid.full, p->jid))) ||
        !list_has_room(t, n, jid.full) || p->batch == NULL)
        return;
    if (!subscription) {
        ps_store_ported_affiliation(p->batch, p->id, n->nid, jid.full, a);
        return;
    }
    struct ps_subscriber *sub = ps_subscriber_make(jid.full, subid, s);
    ps_store_ported_subscriber(p->batch, p->id, n->nid, sub);
    mem_free(&sub);
}

static void port_owner(struct port *t, const struct elem *pubsub)
{
    struct elem e, child;
    for (bool more = elem_first(pubsub, &e); more; more = elem_next(&e, &e))
        if (elem_is(&e, "configure", NS_PUBSUB_OWNER))
            port_configure(t, &e);
    for (bool more = elem_first(pubsub, &e); more; more = elem_next(&e, &e)) {
        bool lists = elem_is(&e, "affiliations", NS_PUBSUB_OWNER) ||
                     elem_is(&e, "subscriptions", NS_PUBSUB_OWNER);
        struct ported *n = lists ? ps_port_node_of(t, elem_attr(&e, "node", t->to->tmp)) : NULL;
        for (bool has = n != NULL && elem_first(&e, &child); has; has = elem_next(&child, &child))
            port_listed(t, n, &child);
    }
}

static uint32_t most_items(const struct port *t, const struct ported *n)
{
    int64_t limit = setting_int(t->kind->items_max);
    if (n->config.max_items < limit)
        limit = n->config.max_items > 0 ? n->config.max_items : 1;
    return (uint32_t)limit;
}

/* false: it is longer than any payload that can be stored. */
static bool payload_of(const struct elem *item, slice *payload, struct arena *tmp)
{
    struct elem e;
    struct buf xml;
    *payload = SLICE("");
    if (!elem_first(item, &e))
        return true;
    buf_init(&xml, XML_STORED_MAX);
    elem_extract(&e, &xml);
    bool fits = !xml.overflow;
    if (fits)
        *payload = slice_dup(tmp, buf_slice(&xml));
    buf_fini(&xml);
    return fits;
}

static void port_item_store(struct portable *p, int64_t nid, slice id, slice xml)
{
    const struct ps_item item = {
        .at_us = portable_tick(p), .id = id, .publisher = p->jid, .xml = xml
    };
    if (p->batch != NULL)
        ps_store_ported_item(p->batch, p->id, nid, &item);
}

static void ps_port_item_of(struct port *t, struct ported *n, const struct elem *e)
{
    struct portable *p = t->to;
    struct ps_item item = { .id = elem_attr(e, "id", p->tmp), .publisher = p->jid };
    bool fits = payload_of(e, &item.xml, p->tmp);
    int64_t bytes = t->bytes + ps_item_bytes(&item);
    if (!fits || item.id.len == 0 || item.id.len > PS_ID_MAX ||
        (int64_t)item.xml.len > setting_int(t->kind->item_bytes) ||
        bytes > setting_int(t->kind->bytes_max)) {
        p->lost(p, "an item without id, or beyond pep.item-bytes or pep.bytes-max, of node",
                n->name);
        return;
    }
    t->bytes = bytes;
    if (p->batch != NULL)
        port_item_store(p, n->nid, item.id, item.xml);
}

/* The oldest come first; where there are too many, these stay behind. */
static void port_items(struct port *t, const struct elem *items)
{
    struct elem e;
    uint32_t count = 0, at = 0;
    struct ported *n = ps_port_node_of(t, elem_attr(items, "node", t->to->tmp));
    if (n == NULL)
        return;
    for (bool more = elem_first(items, &e); more; more = elem_next(&e, &e))
        count += elem_is(&e, "item", NS_PUBSUB);
    uint32_t most = most_items(t, n), room = most > n->items ? most - n->items : 0;
    uint32_t skip = count > room ? count - room : 0;
    n->items += count - skip;
    if (skip > 0)
        t->to->lost(t->to, "the oldest items, beyond the most that it keeps, of node", n->name);
    for (bool more = elem_first(items, &e); more; more = elem_next(&e, &e))
        if (elem_is(&e, "item", NS_PUBSUB) && at++ >= skip)
            ps_port_item_of(t, n, &e);
}

static void port_owners(struct port *t, const struct elem *user)
{
    struct elem e;
    for (bool more = elem_first(user, &e); more; more = elem_next(&e, &e))
        if (elem_is(&e, "pubsub", NS_PUBSUB_OWNER))
            port_owner(t, &e);
}

static void port_contents(struct port *t, const struct elem *user)
{
    struct elem e, items;
    for (bool more = elem_first(user, &e); more; more = elem_next(&e, &e))
        for (bool has = elem_is(&e, "pubsub", NS_PUBSUB) && elem_first(&e, &items); has;
             has = elem_next(&items, &items))
            if (elem_is(&items, "items", NS_PUBSUB))
                port_items(t, &items);
}

/* What features make of other elements, as a <user/> of its own. */
static bool port_made(struct portable *p, struct elem *user)
{
    struct buf xml;
    struct xml_write x;
    xml_begin(&x, &xml, XML_STANZA_MAX);
    xml_open(&x, "user", NULL);
    FEATURES_EACH (f, watches)
        for (const struct ps_watch *row = f->watches; row->node != NULL; row++)
            if (row->port != NULL)
                row->port(p, &x);
    xml_close(&x);
    ensure(x.depth == 0);
    if (xml.overflow)
        p->lost(p, "what is made of bookmarks, because it is longer than 128 MiB", (slice){ 0 });
    bool some = elem_parse(user, slice_dup(p->tmp, buf_fit(&xml)), SLICE(NS_CLIENT));
    buf_fini(&xml);
    return some;
}

static void ps_port_take(struct portable *p)
{
    struct port t = { .to = p, .kind = ps_accounts_kind() };
    struct elem made;
    if (t.kind == NULL)
        return;
    bool more = port_made(p, &made);
    port_owners(&t, p->user);
    if (more)
        port_owners(&t, &made);
    port_contents(&t, p->user);
    if (more)
        port_contents(&t, &made);
    ensure((t.count == 0) == (t.nodes == NULL));
    for (const struct ported *n = t.nodes; n != NULL; n = n->next)
        store_node_of(p, n->name, n->nid, &n->config);
}

/* Writing. */

static void ps_port_read(const struct portable_out *o, struct store_batch *b)
{
    ps_store_ported_read(b, o->id);
}

static void give_lists(struct portable_out *o, const struct store_batch *b, unsigned first,
                       int64_t nid, slice node)
{
    bool open = false;
    struct ps_given g;
    for (uint32_t i = 0; ps_store_given(b, first + 1, i, &g); i++) {
        if (g.nid != nid || g.number >= PS_AFFILIATIONS)
            continue;
        if (!open)
            xml_open_with(o->x, "affiliations", NULL, "node", node);
        open = true;
        xml_open_with(o->x, "affiliation", NULL, "jid", g.text);
        xml_attr(o->x, "affiliation", slice_of(ps_affiliation_name((enum ps_affiliation)g.number)));
        xml_close(o->x);
    }
    if (open)
        xml_close(o->x);
    open = false;
    for (uint32_t i = 0; ps_store_given(b, first + 2, i, &g); i++) {
        if (g.nid != nid || g.number != PS_SUBSCRIBED)
            continue;
        if (!open)
            xml_open_with(o->x, "subscriptions", NULL, "node", node);
        open = true;
        xml_open_with(o->x, "subscription", NULL, "jid", g.text);
        xml_attr(o->x, "subscription", slice_of(ps_state_name(PS_SUBSCRIBED)));
        xml_attr_some(o->x, "subid", g.more);
        xml_close(o->x);
    }
    if (open)
        xml_close(o->x);
}

static void give_items(struct portable_out *o, const struct store_batch *b, unsigned stmt,
                       const struct ps_given *node)
{
    struct ps_given g;
    xml_open_with(o->x, "items", NULL, "node", node->text);
    for (uint32_t i = 0; ps_store_given(b, stmt, i, &g); i++) {
        if (g.nid != node->nid)
            continue;
        xml_open_with(o->x, "item", NULL, "id", g.text);
        xml_raw(o->x, g.more);
        xml_close(o->x);
    }
    xml_close(o->x);
}

static bool ps_port_give(struct portable_out *o, const struct store_batch *b, unsigned first)
{
    struct ps_given g;
    struct ps_config c;
    if (store_row_count(b, first) == 0)
        return false;
    xml_open(o->x, "pubsub", NS_PUBSUB_OWNER);
    for (uint32_t i = 0; ps_store_given(b, first, i, &g); i++) {
        ps_config_load(&c, PS_PEP, g.more);
        xml_open_with(o->x, "configure", NULL, "node", g.text);
        ps_config_write(o->x, &c);
        xml_close(o->x);
        give_lists(o, b, first, g.nid, g.text);
    }
    xml_close(o->x);
    xml_open(o->x, "pubsub", NS_PUBSUB);
    for (uint32_t i = 0; ps_store_given(b, first, i, &g); i++)
        give_items(o, b, first + 3, &g);
    xml_close(o->x);
    return false;
}

const struct portable_part ps_portable = {
    .takes = (const struct portable_name[]){ { "pubsub", NS_PUBSUB },
                                             { "pubsub", NS_PUBSUB_OWNER },
                                             { 0 } },
    .take = ps_port_take,
    .read = ps_port_read,
    .give = ps_port_give,
};
