#include "xmpp/rules.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "xmpp/jid.h"

struct rule_item {
    struct rule_item *next; /* for the same address, of a higher order */
    int64_t order;
    uint16_t len;
    uint8_t type, action, kinds;
    char value[];
};

static slice item_value(const struct rule_item *i) { return (slice){ i->value, i->len }; }
static slice rules_item_key(const void *item) { return item_value(item); }

static struct rule rule_of(const struct rule_item *i)
{
    return (struct rule){ item_value(i), i->order, i->type, i->action, i->kinds };
}

struct rules *rules_create(slice name)
{
    ensure(name.len <= UINT16_MAX);
    struct rules *r = mem_zalloc(sizeof *r + name.len);
    r->name_len = (uint16_t)name.len;
    if (name.len > 0)
        memcpy(r->name, name.ptr, name.len);
    map_init(&r->by_jid, rules_item_key);
    return r;
}

void rules_clear(struct rules *r)
{
    for (uint32_t i = 0; i < r->all.count; i++)
        mem_free(&r->all.items[i]);
    mem_free(&r->all.items);
    mem_free(&r->others.items);
    r->all = r->others = (struct rule_row){ 0 };
    map_fini(&r->by_jid);
    map_init(&r->by_jid, rules_item_key);
    r->domains = 0;
}

void rules_destroy(struct rules **r)
{
    if (*r != NULL)
        rules_clear(*r);
    mem_free(r);
}

/* Where the first rule of this order or a higher one is. */
static uint32_t rules_place_of(const struct rule_row *row, int64_t order)
{
    uint32_t low = 0, high = row->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (row->items[mid]->order < order)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void row_put(struct rule_row *row, struct rule_item *item)
{
    if (row->count == row->cap) {
        row->cap = row->cap == 0 ? 4 : row->cap * 2;
        row->items = mem_realloc(row->items, row->cap * sizeof row->items[0]);
    }
    uint32_t at = rules_place_of(row, item->order);
    memmove(&row->items[at + 1], &row->items[at], (row->count - at) * sizeof row->items[0]);
    row->items[at] = item;
    row->count++;
}

/* NULL: there is none of this order. */
static struct rule_item *row_take(struct rule_row *row, int64_t order)
{
    uint32_t at = rules_place_of(row, order);
    if (at == row->count || row->items[at]->order != order)
        return NULL;
    struct rule_item *item = row->items[at];
    row->count--;
    memmove(&row->items[at], &row->items[at + 1], (row->count - at) * sizeof row->items[0]);
    return item;
}

static bool rules_is_domain(slice jid)
{
    return memchr(jid.ptr, '@', jid.len) == NULL && memchr(jid.ptr, '/', jid.len) == NULL;
}

static void index_put(struct rules *r, struct rule_item *item)
{
    struct rule_item *head = map_get(&r->by_jid, item_value(item));
    if (head == NULL || item->order < head->order) {
        if (head != NULL)
            map_del(&r->by_jid, item_value(item));
        item->next = head;
        map_put(&r->by_jid, item);
        return;
    }
    while (head->next != NULL && head->next->order < item->order)
        head = head->next;
    item->next = head->next;
    head->next = item;
}

static void index_drop(struct rules *r, struct rule_item *item)
{
    struct rule_item *head = map_get(&r->by_jid, item_value(item));
    if (head == item) {
        map_del(&r->by_jid, item_value(item));
        if (item->next != NULL)
            map_put(&r->by_jid, item->next);
        return;
    }
    while (head->next != item)
        head = head->next;
    head->next = item->next;
}

bool rules_drop(struct rules *r, int64_t order)
{
    struct rule_item *item = row_take(&r->all, order);
    if (item == NULL)
        return false;
    if (item->type != RULE_JID)
        (void)row_take(&r->others, order);
    else
        index_drop(r, item);
    r->domains -= item->type == RULE_JID && rules_is_domain(item_value(item)) ? 1 : 0;
    mem_free(&item);
    return true;
}

void rules_put(struct rules *r, const struct rule *rule)
{
    ensure(rule->value.len <= UINT16_MAX);
    struct rule_item *item = mem_zalloc(sizeof *item + rule->value.len);
    item->order = rule->order;
    item->type = rule->type;
    item->action = rule->action;
    item->kinds = rule->kinds;
    item->len = (uint16_t)rule->value.len;
    if (rule->value.len > 0)
        memcpy(item->value, rule->value.ptr, rule->value.len); /* before the old one goes */
    (void)rules_drop(r, rule->order);
    row_put(&r->all, item);
    if (item->type != RULE_JID)
        row_put(&r->others, item);
    else
        index_put(r, item);
    r->domains += item->type == RULE_JID && rules_is_domain(item_value(item)) ? 1 : 0;
}

struct rule rules_at(const struct rules *r, uint32_t i)
{
    ensure(i < r->all.count);
    return rule_of(r->all.items[i]);
}

int64_t rules_order_first(const struct rules *r)
{
    return rules_count(r) == 0 || r->all.items[0]->order > 0 ? 0 : r->all.items[0]->order - 1;
}

/* The first rule for exactly this address and kind, if it comes before `best`. */
static const struct rule_item *better(const struct rules *r, slice key, unsigned kind,
                                      const struct rule_item *best)
{
    const struct rule_item *item = map_get(&r->by_jid, key);
    while (item != NULL && (item->kinds & kind) == 0)
        item = item->next;
    return item != NULL && (best == NULL || item->order < best->order) ? item : best;
}

/* XEP-0016 §2.1: user@domain/resource, user@domain, domain/resource, domain with its subdomains. */
static const struct rule_item *match_jid(const struct rules *r, slice text, unsigned kind)
{
    struct jid jid = jid_split(text);
    const struct rule_item *best = better(r, jid.full, kind, NULL);
    if (!jid_is_bare(&jid))
        best = better(r, jid_bare(&jid), kind, best);
    if (r->domains == 0)
        return best;
    for (slice domain = jid.domain, label; domain.len > 0;) {
        best = better(r, domain, kind, best);
        if (!slice_cut(domain, '.', &label, &domain))
            break;
    }
    return best;
}

static bool in_group(slice groups, slice name)
{
    slice group;
    while (slice_cut(groups, '\0', &group, &groups))
        if (slice_eq(group, name))
            return true;
    return false;
}

static bool rules_fits(const struct rule_item *item, const struct rule_peer *peer)
{
    switch ((enum rule_type)item->type) {
    case RULE_EVERYONE:
        return true;
    case RULE_GROUP:
        return in_group(peer->groups, item_value(item));
    case RULE_SUBSCRIPTION:
        return slice_eq(peer->subscription, item_value(item));
    case RULE_JID:
        break;
    }
    return false;
}

static const struct rule_item *rules_match_peer(const struct rules *r, const struct rule_peer *peer,
                                                unsigned kind)
{
    if (rules_count(r) == 0)
        return NULL;
    const struct rule_item *best = r->by_jid.count == 0 ? NULL : match_jid(r, peer->jid, kind);
    for (uint32_t i = 0; i < r->others.count; i++) {
        const struct rule_item *item = r->others.items[i];
        if (best != NULL && best->order < item->order)
            break;
        if ((item->kinds & kind) != 0 && rules_fits(item, peer))
            return item;
    }
    return best;
}

bool rules_match(const struct rules *r, const struct rule_peer *peer, enum rule_kind kind,
                 struct rule *out)
{
    const struct rule_item *item = rules_match_peer(r, peer, kind);
    if (item != NULL)
        *out = rule_of(item);
    return item != NULL;
}

bool rules_deny(const struct rules *r, const struct rule_peer *peer, enum rule_kind kind)
{
    const struct rule_item *item = rules_match_peer(r, peer, kind);
    return item != NULL && item->action == RULE_DENY;
}

bool rules_find_block(const struct rules *r, slice jid, int64_t after, struct rule *out)
{
    if (rules_count(r) == 0)
        return false;
    for (const struct rule_item *i = map_get(&r->by_jid, jid); i != NULL; i = i->next) {
        *out = rule_of(i);
        if (i->order > after && rule_blocks(out))
            return true;
    }
    return false;
}
