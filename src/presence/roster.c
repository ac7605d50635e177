#include "presence/roster.h"
#include "account/account.h"
#include "auth/credentials.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "presence/roster_view.h"
#include "xmpp/ns.h"

/* The model: pure. */

static slice roster_item_key(const void *item) { return roster_item_jid(item); }

void roster_init(struct roster *r)
{
    *r = (struct roster){ 0 };
    map_init(&r->by_jid, roster_item_key);
}

void roster_fini(struct roster *r)
{
    for (uint32_t i = 0; i < r->count; i++)
        mem_free(&r->items[i]);
    mem_free(&r->items);
    map_fini(&r->by_jid);
}

static struct roster_item *roster_find_item(const struct roster *r, slice jid)
{
    return r == NULL ? NULL : map_get(&r->by_jid, jid);
}

const struct roster_item *roster_find(const struct roster *r, slice jid)
{
    return roster_find_item(r, jid);
}

static struct roster_item *item_create(const struct roster_delta *d)
{
    const slice parts[] = { d->jid, d->name, d->groups, d->request };
    enum { PARTS = sizeof parts / sizeof *parts };
    size_t len = 0;
    for (size_t i = 0; i < PARTS; i++)
        len += parts[i].len;
    struct roster_item *item = mem_alloc(sizeof *item + len);
    *item = (struct roster_item){
        .version = d->item_version,
        .jid_len = (uint16_t)d->jid.len,
        .name_len = (uint16_t)d->name.len,
        .groups_len = (uint32_t)d->groups.len,
        .request_len = (uint16_t)d->request.len,
        .state = d->state,
        .flags = d->flags,
    };
    char *at = item->text;
    for (size_t i = 0; i < PARTS; i++) {
        if (parts[i].len > 0)
            memcpy(at, parts[i].ptr, parts[i].len);
        at += parts[i].len;
    }
    return item;
}

static void roster_place(struct roster *r, struct roster_item *item, uint32_t at)
{
    r->items[at] = item;
    item->at = at;
}

/* An item that sees the owner goes to the end of the first part of the array, any other behind it.
 */
static void insert(struct roster *r, struct roster_item *item)
{
    if (r->count == r->cap) {
        r->cap = r->cap == 0 ? 4 : r->cap * 2;
        r->items = mem_realloc(r->items, r->cap * sizeof(struct roster_item *));
    }
    if (sub_is_seen(item->state)) {
        if (r->seen < r->count)
            roster_place(r, r->items[r->seen], r->count);
        roster_place(r, item, r->seen++);
    } else {
        roster_place(r, item, r->count);
    }
    r->count++;
    r->pending += sub_state_pending_in(item->state) ? 1 : 0;
    r->listed += (item->flags & ROSTER_LISTED) != 0 ? 1 : 0;
    map_put(&r->by_jid, item);
}

/* The hole is filled from the end of its part, and what that leaves from the end of the array. */
static void roster_take_out(struct roster *r, struct roster_item *item)
{
    uint32_t hole = item->at;
    map_del(&r->by_jid, roster_item_jid(item));
    if (sub_is_seen(item->state)) {
        roster_place(r, r->items[--r->seen], hole);
        hole = r->seen;
    }
    r->count--;
    if (hole < r->count)
        roster_place(r, r->items[r->count], hole);
    r->pending -= sub_state_pending_in(item->state) ? 1 : 0;
    r->listed -= (item->flags & ROSTER_LISTED) != 0 ? 1 : 0;
}

void roster_apply(struct roster *r, const struct roster_delta *d)
{
    struct roster_item *old = d->op == ROSTER_MARK ? NULL : roster_find_item(r, d->jid);
    struct roster_item *new =
        d->op == ROSTER_PUT ? item_create(d) : NULL; /* d may borrow from old */
    if (old != NULL)
        roster_take_out(r, old);
    mem_free(&old);
    if (new != NULL)
        insert(r, new);
    r->version = d->version;
    r->removed = d->removed;
    ensure_debug(r->seen <= r->count && r->listed <= r->count);
}

struct roster_delta roster_edit(const struct roster *r, slice jid)
{
    const struct roster_item *item = roster_find_item(r, jid);
    struct roster_delta d = { .op = ROSTER_PUT, .jid = jid, .state = SUB_NONE };
    if (item == NULL)
        return d;
    d.state = item->state;
    d.flags = item->flags;
    d.name = roster_item_name(item);
    d.groups = roster_item_groups(item);
    d.request = roster_item_request(item);
    d.item_version = item->version;
    return d;
}

void roster_seal(const struct roster *r, struct roster_delta *d, enum roster_view view)
{
    if (d->state == SUB_NONE && d->flags == 0)
        d->op = ROSTER_DELETE;
    if (!sub_state_pending_in(d->state))
        d->request = (slice){ 0 };
    d->version = r == NULL ? 0 : r->version;
    d->removed = r == NULL ? 0 : r->removed;
    if (view == ROSTER_HIDDEN)
        return;
    d->item_version = ++d->version;
    if ((d->flags & ROSTER_LISTED) == 0)
        d->removed = d->version;
}

bool roster_delta_is_new(const struct roster *r, const struct roster_delta *d)
{
    const struct roster_item *item = roster_find_item(r, d->jid);
    return (d->flags & ROSTER_LISTED) != 0 && (item == NULL || (item->flags & ROSTER_LISTED) == 0);
}

void roster_query_open(struct xml_write *x, const struct account *a, uint64_t version)
{
    char ver[ROSTER_VER_BYTES];
    (void)roster_ver(ver, a, version);
    xml_open(x, "query", NS_ROSTER);
    xml_attr(x, "ver", slice_of(ver));
}

void roster_item_open(struct xml_write *x, slice jid, slice name, uint8_t state, uint8_t flags)
{
    xml_open(x, "item", NULL);
    xml_attr(x, "jid", jid);
    xml_attr_some(x, "name", name);
    xml_attr(x, "subscription", slice_of(sub_state_subscription(state)));
    if (sub_state_ask(state))
        xml_attr(x, "ask", SLICE("subscribe")); /* §2.1.2.2 */
    if ((flags & ROSTER_PREAPPROVED) != 0)
        xml_attr(x, "approved", SLICE("true")); /* §2.1.2.1 */
}

void roster_item_write(struct xml_write *x, const struct roster_item *i)
{
    slice groups = roster_item_groups(i), group;
    roster_item_open(x, roster_item_jid(i), roster_item_name(i), i->state, i->flags);
    while (groups.len > 0 && slice_cut(groups, '\0', &group, &groups))
        xml_element(x, "group", group);
    xml_close(x);
}

unsigned roster_count(const struct account *a) { return a->roster == NULL ? 0 : a->roster->listed; }
