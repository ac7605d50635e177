/* bookmarks: bookmarks of rooms are items of the account's node urn:xmpp:bookmarks:1 (XEP-0402).
 * Clients of both older forms read and write the same ones (§5.3): private XML (XEP-0048 1.0,
 * XEP-0049) is made from the items and taken apart into them; the node storage:bookmarks
 * (XEP-0048 1.1, XEP-0411) is written again when they change, and taken apart when a client writes
 * it. Only bookmarks that differ are published or retracted. The last bookmark that a client wrote
 * for a room is valid, whatever its form: in one <storage/> the later one, of two items the newer.
 *
 * Bookmarks of web pages stay what they were, private XML. Limit: BOOKMARKS_MAX rooms. */
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/map.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "core/portable.h"
#include "ext/ext.h"
#include "ext/xml_private.h"
#include "home/here.h"
#include "pubsub/pubsub.h"
#include "xmpp/ns.h"

#define NS_BOOKMARKS "urn:xmpp:bookmarks:1"
#define NS_STORAGE   "storage:bookmarks"

enum { BOOKMARKS_MAX = 1000 };

struct bookmark {
    slice jid; /* first: by_jid */
    slice name, nick, password;
    slice item;       /* the id as it was published, where it is an item: not always prepared */
    slice extensions; /* XML that only the new form has */
    bool autojoin;
    bool older; /* an item of a room that has a newer one */
};
struct bookmarks {
    struct bookmark *at;
    unsigned count;
    struct map by_jid; /* of each room the newest; gone with bookmarks_end() */
};

/* The conference element of either form. */
static struct bookmark read_conference(const struct elem *e, slice jid, const char *ns,
                                       struct arena *tmp)
{
    struct elem child;
    slice autojoin = elem_attr(e, "autojoin", tmp);
    struct bookmark b = { .jid = jid, .name = elem_attr(e, "name", tmp) };
    b.autojoin = slice_is(autojoin, "true") || slice_is(autojoin, "1");
    if (elem_child(e, "nick", ns, &child))
        b.nick = elem_text(&child, tmp);
    if (elem_child(e, "password", ns, &child))
        b.password = elem_text(&child, tmp);
    if (elem_child(e, "extensions", ns, &child)) {
        struct buf xml;
        buf_init(&xml, XML_STANZA_MAX);
        elem_extract(&child, &xml);
        b.extensions = slice_dup(tmp, buf_fit(&xml));
        buf_fini(&xml);
    }
    return b;
}

static void bookmarks_add(struct bookmarks *all, const struct bookmark *b, struct arena *tmp)
{
    if (all->at == NULL)
        all->at = arena_new(tmp, struct bookmark, BOOKMARKS_MAX);
    if (all->count == BOOKMARKS_MAX)
        return;
    struct bookmark *added = &all->at[all->count++];
    *added = *b;
    if (!b->older)
        map_put(&all->by_jid, added);
}

/* The newest for a room. */
static struct bookmark *bookmarks_find(const struct bookmarks *all, slice jid)
{
    return map_get(&all->by_jid, jid);
}

static void bookmarks_begin(struct bookmarks *all)
{
    *all = (struct bookmarks){ 0 };
    map_init(&all->by_jid, map_key_slice);
}

static void bookmarks_end(struct bookmarks *all) { map_fini(&all->by_jid); }

/* A room is named by its bare JID (XEP-0402 §3). */
static bool names_room(slice text, struct jid *jid, struct arena *tmp)
{
    return jid_parse(jid, text, tmp) == OK && jid_is_bare(jid);
}

static const char *item_rule(slice id, struct arena *tmp)
{
    struct jid jid;
    return names_room(id, &jid, tmp) ? NULL : "the id of a bookmark is the bare JID of its room";
}

/* Items come newest first. Those that are no bookmarks, or are damaged, are left out. */
static struct bookmarks bookmarks_read_items(const struct ps_item *items, unsigned count,
                                             struct arena *tmp)
{
    struct bookmarks all;
    bookmarks_begin(&all);
    for (unsigned i = 0; i < count; i++) {
        struct elem e;
        struct jid jid;
        if (!elem_parse(&e, items[i].xml, SLICE(NS_CLIENT)) ||
            !elem_is(&e, "conference", NS_BOOKMARKS) || !names_room(items[i].id, &jid, tmp))
            continue;
        struct bookmark b = read_conference(&e, jid.full, NS_BOOKMARKS, tmp);
        b.item = items[i].id;
        b.older = bookmarks_find(&all, b.jid) != NULL;
        bookmarks_add(&all, &b, tmp);
    }
    return all;
}

/* The rooms of a <storage/>; what is no bare JID is left out. */
static struct bookmarks read_storage(const struct elem *storage, struct arena *tmp)
{
    struct bookmarks all;
    struct elem e;
    bookmarks_begin(&all);
    for (bool more = elem_first(storage, &e); more; more = elem_next(&e, &e)) {
        struct jid jid;
        if (!elem_is(&e, "conference", NS_STORAGE) ||
            !names_room(elem_attr(&e, "jid", tmp), &jid, tmp))
            continue;
        struct bookmark b = read_conference(&e, jid.full, NS_STORAGE, tmp);
        struct bookmark *earlier = bookmarks_find(&all, jid.full);
        if (earlier != NULL)
            *earlier = b;
        else
            bookmarks_add(&all, &b, tmp);
    }
    return all;
}

static bool bookmarks_same(const struct bookmark *a, const struct bookmark *b)
{
    return a->autojoin == b->autojoin && slice_eq(a->name, b->name) && slice_eq(a->nick, b->nick) &&
           slice_eq(a->password, b->password);
}

/* Writing. */

static void write_inside(struct xml_write *x, const struct bookmark *b)
{
    xml_attr_some(x, "name", b->name);
    xml_attr(x, "autojoin", b->autojoin ? SLICE("true") : SLICE("false"));
    xml_element_some(x, "nick", b->nick);
    xml_element_some(x, "password", b->password);
}

static void write_storage(struct xml_write *x, const struct bookmarks *all)
{
    for (unsigned i = 0; i < all->count; i++) {
        if (all->at[i].older)
            continue;
        xml_open_with(x, "conference", NULL, "jid", all->at[i].jid);
        write_inside(x, &all->at[i]);
        xml_close(x);
    }
}

#define OPTION(var, value) "<field var='pubsub#" var "'><value>" value "</value></field>"
#define OPTIONS(kind)                                                                              \
    "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>" NS_PUBSUB kind         \
    "</value></field>" OPTION("access_model", "whitelist")

/* The old node is for the account alone, else it is not written (XEP-0411 §6). */
static void publish_storage(struct account *a, const struct bookmarks *all)
{
    struct buf xml;
    struct xml_write x;
    xml_begin(&x, &xml, XML_STANZA_MAX);
    xml_open(&x, "pubsub", NS_PUBSUB);
    xml_open_with(&x, "publish", NULL, "node", SLICE(NS_STORAGE));
    xml_open_with(&x, "item", NULL, "id", SLICE("current"));
    xml_open(&x, "storage", NS_STORAGE);
    write_storage(&x, all);
    xml_close(&x);
    xml_close(&x);
    xml_close(&x);
    xml_raw(&x, SLICE("<publish-options>" OPTIONS("#publish-options")
                          OPTION("persist_items", "true") "</x></publish-options>"));
    xml_close(&x);
    ps_own_buf(a, &xml, NULL, NULL);
}

static void collated(void *arg, enum stanza_error e, const struct ps_item *items, unsigned count)
{
    struct account *a = arg;
    ensure(account_here(a) && account_is_pinned(a));
    if (e == SE_NONE) {
        struct bookmarks all =
            bookmarks_read_items(items, count, loop_scratch(worker_loop(a->worker)));
        publish_storage(a, &all);
        bookmarks_end(&all);
    }
    account_unpin(a);
}

static void collate(struct account *a)
{
    account_pin(a);
    ps_own_items(a, SLICE(NS_BOOKMARKS), (slice){ 0 }, collated, a);
}

/* Taking a <storage/> apart: requests to the node, one after another. */

typedef void sync_fn(void *arg, enum stanza_error e);

struct sync {
    struct account *account; /* pinned */
    struct arena *tmp;
    struct elem storage;
    slice *requests;
    unsigned count, next, first; /* first: 1: the first one makes the node */
    sync_fn *done;               /* NULL: nobody waits */
    void *arg;
};

static void sync_end(struct sync *s, enum stanza_error e)
{
    struct account *a = s->account;
    if (s->done != NULL)
        s->done(s->arg, e);
    if (e == SE_NONE)
        collate(a);
    arena_destroy(&s->tmp);
    mem_free(&s);
    account_unpin(a);
}

static void sync_next(void *arg, enum stanza_error e)
{
    struct sync *s = arg;
    bool making = s->next == 1 && s->first == 1; /* it may be there */
    ensure(account_is_pinned(s->account) && s->next <= s->count);
    if (e != SE_NONE && !(making && e == SE_CONFLICT))
        sync_end(s, e);
    else if (s->next == s->count)
        sync_end(s, SE_NONE);
    else
        ps_own(s->account, s->requests[s->next++], sync_next, s);
}

/* A request that is too long is empty, and fails. */
static void add_request(struct sync *s, struct buf *xml)
{
    s->requests[s->count++] = slice_dup(s->tmp, buf_fit(xml));
    buf_fini(xml);
}

static void add_publish(struct sync *s, const struct bookmark *b)
{
    struct buf xml;
    struct xml_write x;
    xml_begin(&x, &xml, XML_STANZA_MAX);
    xml_open(&x, "pubsub", NS_PUBSUB);
    xml_open_with(&x, "publish", NULL, "node", SLICE(NS_BOOKMARKS));
    xml_open(&x, "item", NULL);
    xml_attr(&x, "id", b->item.len > 0 ? b->item : b->jid);
    xml_open(&x, "conference", NS_BOOKMARKS);
    write_inside(&x, b);
    xml_raw(&x, b->extensions);
    xml_close(&x);
    xml_close(&x);
    xml_close(&x);
    xml_raw(&x, SLICE("<publish-options>" OPTIONS("#publish-options") "</x></publish-options>"));
    xml_close(&x);
    add_request(s, &xml);
}

static void add_retract(struct sync *s, slice item)
{
    struct buf xml;
    struct xml_write x;
    xml_begin(&x, &xml, XML_STANZA_MAX);
    xml_open(&x, "pubsub", NS_PUBSUB);
    xml_open_with(&x, "retract", NULL, "node", SLICE(NS_BOOKMARKS));
    xml_attr(&x, "notify", SLICE("true"));
    xml_open_with(&x, "item", NULL, "id", item);
    xml_close_all(&x);
    add_request(s, &xml);
}

static bool lack_one(const struct bookmarks *have, const struct bookmarks *want)
{
    for (unsigned i = 0; i < want->count; i++)
        if (bookmarks_find(have, want->at[i].jid) == NULL)
            return true;
    return false;
}

static void sync_compare(void *arg, enum stanza_error e, const struct ps_item *items,
                         unsigned count)
{
    static const slice create =
        SLICE_INIT("<pubsub xmlns='" NS_PUBSUB "'><create node='" NS_BOOKMARKS
                   "'/><configure>" OPTIONS("#node_config") OPTION("persist_items", "true")
                       OPTION("max_items", "max")
                           OPTION("send_last_published_item", "never") "</x></configure></pubsub>");
    /* a client may have made it with room for one item (XEP-0402 §3: max_items) */
    static const slice widen =
        SLICE_INIT("<pubsub xmlns='" NS_PUBSUB_OWNER "'><configure node='" NS_BOOKMARKS
                   "'>" OPTIONS("#node_config") OPTION("persist_items", "true")
                       OPTION("max_items", "max") "</x></configure></pubsub>");
    struct sync *s = arg;
    ensure(account_is_pinned(s->account) && s->count == 0);
    if (e != SE_NONE) {
        sync_end(s, e);
        return;
    }
    struct bookmarks have = bookmarks_read_items(items, count, s->tmp),
                     want = read_storage(&s->storage, s->tmp);
    s->requests = arena_new(s->tmp, slice, have.count + want.count + 2);
    if (have.count == 0) {
        s->requests[s->count++] = create;
        s->first = 1;
    }
    if (lack_one(&have, &want))
        s->requests[s->count++] = widen;
    for (unsigned i = 0; i < want.count; i++) {
        const struct bookmark *old = bookmarks_find(&have, want.at[i].jid);
        if (old != NULL && bookmarks_same(old, &want.at[i]))
            continue;
        if (old != NULL) {
            want.at[i].item = old->item;
            want.at[i].extensions = old->extensions; /* the old form cannot say them */
        }
        add_publish(s, &want.at[i]);
    }
    for (unsigned i = 0; i < have.count; i++)
        if (have.at[i].older || bookmarks_find(&want, have.at[i].jid) == NULL)
            add_retract(s, have.at[i].item);
    bookmarks_end(&have);
    bookmarks_end(&want);
    sync_next(s, SE_NONE);
}

/* storage: XML text of a <storage/>. */
static void sync_start(struct account *a, slice storage, sync_fn *done, void *arg)
{
    struct sync *s = mem_new(struct sync);
    ensure(account_here(a));
    s->account = a;
    s->tmp = arena_create(4096);
    s->done = done;
    s->arg = arg;
    account_pin(a);
    if (elem_parse(&s->storage, slice_dup(s->tmp, storage), SLICE(NS_CLIENT)) &&
        elem_is(&s->storage, "storage", NS_STORAGE))
        ps_own_items(a, SLICE(NS_BOOKMARKS), (slice){ 0 }, sync_compare, s);
    else
        sync_end(s, SE_BAD_REQUEST);
}

/* Nodes: what the server writes itself needs no answer in the other form. */

static void bookmarks_changed(struct account *a, enum ps_by by, const struct ps_item *item)
{
    (void)item;
    if (by == PS_BY_CLIENT)
        collate(a);
}

static void storage_changed(struct account *a, enum ps_by by, const struct ps_item *item)
{
    if (by == PS_BY_CLIENT && item != NULL)
        sync_start(a, item->xml, NULL, NULL);
}

/* Private XML. */

/* The last <storage/> of a request; false: it has none. */
static bool find_storage(const struct iq *iq, struct elem *storage)
{
    struct elem e;
    bool found = false;
    for (bool more = elem_first(&iq->payload, &e); more; more = elem_next(&e, &e))
        if (elem_is(&e, "storage", NS_STORAGE)) {
            *storage = e;
            found = true;
        }
    return found;
}

/* What stays private XML: everything but rooms. */
static void write_others(struct buf *out, slice stored)
{
    struct elem storage, e;
    if (!elem_parse(&storage, stored, SLICE(NS_CLIENT)))
        return;
    for (bool more = elem_first(&storage, &e); more; more = elem_next(&e, &e))
        if (!elem_is(&e, "conference", NS_STORAGE))
            elem_extract(&e, out);
}

struct reading {
    struct iq *iq;
    slice stored;
};

/* XEP-0049 goes on with the bookmarks. Ends the buffer. */
static void bookmarks_hand_over(struct iq *held, struct buf *storage)
{
    ensure(held->held);
    if (storage->overflow)
        iq_result_buf(held, storage);
    else
        private_request_with(held, SLICE(NS_STORAGE), SLICE("storage"), buf_slice(storage));
    buf_fini(storage);
}

static void rooms_found(void *arg, enum stanza_error e, const struct ps_item *items, unsigned count)
{
    struct reading *r = arg;
    struct buf out;
    struct xml_write x;
    ensure(r->iq->held);
    if (e != SE_NONE) {
        iq_error(r->iq, e, (slice){ 0 });
        return;
    }
    struct bookmarks all = bookmarks_read_items(items, count, r->iq->tmp);
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open(&x, "storage", NS_STORAGE);
    write_storage(&x, &all);
    bookmarks_end(&all);
    write_others(xml_content(&x), r->stored);
    xml_close(&x);
    bookmarks_hand_over(r->iq, &out);
}

static void stored_found(void *arg, enum stanza_error e, slice xml)
{
    struct reading *r = arg;
    ensure(r->iq->held);
    if (e != SE_NONE) {
        iq_error(r->iq, e, (slice){ 0 });
        return;
    }
    r->stored = slice_dup(r->iq->tmp, xml);
    ps_own_items(r->iq->account, SLICE(NS_BOOKMARKS), (slice){ 0 }, rooms_found, r);
}

static void storage_get(struct iq *iq)
{
    struct iq *held = iq_hold(iq);
    struct reading *r = arena_new(held->tmp, struct reading, 1);
    r->iq = held;
    private_find(held->account, SLICE(NS_STORAGE), SLICE("storage"), stored_found, r);
}

/* The rooms have their node now. */
static void taken_apart(void *arg, enum stanza_error e)
{
    struct iq *held = arg;
    struct elem storage;
    struct buf whole, rest;
    struct xml_write x;
    if (e != SE_NONE || !find_storage(held, &storage)) {
        iq_error(held, e, SLICE("the bookmarks could not be published"));
        return;
    }
    buf_init(&whole, XML_STANZA_MAX);
    elem_extract(&storage, &whole);
    xml_begin(&x, &rest, XML_STANZA_MAX);
    xml_open(&x, "storage", NS_STORAGE);
    write_others(xml_content(&x), buf_slice(&whole));
    xml_close(&x);
    rest.overflow |= whole.overflow;
    buf_fini(&whole);
    bookmarks_hand_over(held, &rest);
}

static void storage_set(struct iq *iq)
{
    struct elem storage;
    struct buf xml;
    struct iq *held = iq_hold(iq);
    (void)find_storage(held, &storage); /* it is there */
    buf_init(&xml, XML_STANZA_MAX);
    elem_extract(&storage, &xml);
    if (xml.overflow)
        iq_error(held, SE_RESOURCE_CONSTRAINT, SLICE("the bookmarks are too long"));
    else
        sync_start(held->account, buf_slice(&xml), taken_apart, held);
    buf_fini(&xml);
}

static void storage_request(struct iq *iq)
{
    if (iq->st->type == TYPE_GET)
        storage_get(iq);
    else
        storage_set(iq);
}

/* Accounts that come (core/portable.h): rooms of the older forms become items, unless the account
 * brings an item for them. What both older forms have is as the node says. */

static slice storage_rest(slice xml, struct arena *tmp)
{
    struct buf rest;
    struct xml_write x;
    xml_begin(&x, &rest, XML_STANZA_MAX);
    xml_open(&x, "storage", NS_STORAGE);
    size_t before = xml_content(&x)->len;
    write_others(xml_content(&x), xml);
    bool some = rest.len > before;
    xml_close(&x);
    slice text = some ? slice_dup(tmp, buf_fit(&rest)) : (slice){ 0 };
    buf_fini(&rest);
    return text;
}

typedef void bookmarks_port_fn(void *arg, const struct elem *item);

/* Each item that the account brings of a node, oldest first. */
static void bookmarks_each_item(const struct portable *p, const char *node, bookmarks_port_fn *fn,
                                void *arg)
{
    struct elem e, items, item;
    for (bool more = elem_first(p->user, &e); more; more = elem_next(&e, &e))
        for (bool has = elem_is(&e, "pubsub", NS_PUBSUB) && elem_first(&e, &items); has;
             has = elem_next(&items, &items))
            for (bool some =
                     slice_is(elem_attr(&items, "node", p->tmp), node) && elem_first(&items, &item);
                 some; some = elem_next(&item, &item))
                fn(arg, &item);
}

struct bookmarks_port {
    struct portable *to;
    struct map has; /* rooms that have an item, or get one: slices */
    slice current;  /* of the node storage:bookmarks: its <storage/>; empty: none */
    struct bookmarks found;
};

static void bookmarks_port_room(struct bookmarks_port *t, slice jid)
{
    slice *room = arena_new(t->to->tmp, slice, 1);
    *room = jid;
    map_put(&t->has, room);
}

static void bookmarks_port_has(void *arg, const struct elem *item)
{
    struct bookmarks_port *t = arg;
    struct jid jid;
    if (names_room(elem_attr(item, "id", t->to->tmp), &jid, t->to->tmp) &&
        map_get(&t->has, jid.full) == NULL)
        bookmarks_port_room(t, jid.full);
}

static void bookmarks_port_current(void *arg, const struct elem *item)
{
    struct bookmarks_port *t = arg;
    struct elem storage;
    struct buf xml;
    if (!elem_child(item, "storage", NS_STORAGE, &storage))
        return;
    buf_init(&xml, XML_STANZA_MAX);
    elem_extract(&storage, &xml);
    t->current = slice_dup(t->to->tmp, buf_fit(&xml));
    buf_fini(&xml);
}

static void bookmarks_port_storage(struct bookmarks_port *t, const struct elem *storage)
{
    struct portable *p = t->to;
    struct elem e;
    struct jid jid;
    for (bool more = elem_first(storage, &e); more; more = elem_next(&e, &e))
        if (elem_is(&e, "conference", NS_STORAGE) &&
            !names_room(elem_attr(&e, "jid", p->tmp), &jid, p->tmp))
            p->lost(p, "a bookmark of what is no address of a room:", elem_attr(&e, "jid", p->tmp));
    struct bookmarks all = read_storage(storage, p->tmp);
    for (unsigned i = 0; i < all.count; i++) {
        if (map_get(&t->has, all.at[i].jid) != NULL)
            continue;
        if (t->found.count == BOOKMARKS_MAX)
            p->lost(p, "a bookmark beyond the most that there may be:", all.at[i].jid);
        bookmarks_port_room(t, all.at[i].jid);
        bookmarks_add(&t->found, &all.at[i], p->tmp);
    }
    bookmarks_end(&all);
}

static void bookmarks_port_write(struct xml_write *x, const struct bookmarks *all)
{
    ensure(x->depth > 0 && all->count <= BOOKMARKS_MAX);
    xml_open(x, "pubsub", NS_PUBSUB_OWNER);
    xml_open_with(x, "configure", NULL, "node", SLICE(NS_BOOKMARKS));
    xml_raw(x, SLICE(OPTIONS("#node_config") OPTION("persist_items", "true") OPTION(
                   "max_items", "max") OPTION("send_last_published_item", "never") "</x>"));
    xml_close(x);
    xml_close(x);
    xml_open(x, "pubsub", NS_PUBSUB);
    xml_open_with(x, "items", NULL, "node", SLICE(NS_BOOKMARKS));
    for (unsigned i = 0; i < all->count; i++) {
        xml_open_with(x, "item", NULL, "id", all->at[i].jid);
        xml_open(x, "conference", NS_BOOKMARKS);
        write_inside(x, &all->at[i]);
        xml_close(x);
        xml_close(x);
    }
    xml_close(x);
    xml_close(x);
}

static void bookmarks_port(struct portable *p, struct xml_write *x)
{
    struct bookmarks_port t = { .to = p };
    struct elem e, storage;
    map_init(&t.has, map_key_slice);
    bookmarks_begin(&t.found);
    bookmarks_each_item(p, NS_BOOKMARKS, bookmarks_port_has, &t);
    bookmarks_each_item(p, NS_STORAGE, bookmarks_port_current, &t);
    if (elem_parse(&storage, t.current, SLICE(NS_CLIENT)))
        bookmarks_port_storage(&t, &storage);
    for (bool more = elem_first(p->user, &e); more; more = elem_next(&e, &e))
        if (elem_is(&e, "query", NS_PRIVATE) && elem_child(&e, "storage", NS_STORAGE, &storage))
            bookmarks_port_storage(&t, &storage);
    map_fini(&t.has);
    if (t.found.count > 0)
        bookmarks_port_write(x, &t.found);
    bookmarks_end(&t.found);
}

static const struct private_taker storage_taker = { NS_STORAGE, "storage", storage_request,
                                                    storage_rest };

static void bookmarks_start(void) { private_take(&storage_taker); }

const struct feature bookmarks_feature = {
    .name = "bookmarks",
    .parts = PART_MESSAGE | PART_ACCOUNT,
    .xeps =
        (const struct xep[]){
            { "0048", "1.2", "Bookmarks", "0.1.0", "services/test_bookmarks", NULL },
            { "0402", "1.1.4", "PEP Native Bookmarks", "0.1.0", "services/test_bookmarks", NULL },
            { "0411", "1.1.0", "Bookmarks Conversion", "0.1.0", "services/test_bookmarks", NULL },
            { "0492", "0.2.0", "Chat notification settings", "0.1.0", "services/test_bookmarks",
              "settings are kept with the bookmarks; clients apply them" },
            { 0 },
        },
    .disco_account = (const char *const[]){ NS_BOOKMARKS "#compat", NS_BOOKMARKS "#compat-pep",
                                            "urn:xmpp:bookmarks-conversion:0", NULL },
    .watches =
        (const struct ps_watch[]){ { NS_BOOKMARKS, bookmarks_changed, item_rule, bookmarks_port },
                                   { NS_STORAGE, storage_changed, NULL, NULL },
                                   { 0 } },
    .start = bookmarks_start,
};
