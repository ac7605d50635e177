#include "xmpp/rules.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "xmpp/jid.h"

struct rule_item {
    struct rule_item *next; /* of the same type and value, of a higher order */
    /* The next of these that can decide: it is about a kind that none before it is about. A match
     * visits these only, which are at most one for each kind. */
    struct rule_item *next_deciding;
    struct rule_item *last; /* of these; only the first one knows it */
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
    for (unsigned i = 0; i < RULE_TYPES; i++)
        map_init(&r->by_value[i], rules_item_key);
    return r;
}

void rules_clear(struct rules *r)
{
    for (uint32_t i = 0; i < r->count; i++)
        mem_free(&r->items[i]);
    mem_free(&r->items);
    for (unsigned i = 0; i < RULE_TYPES; i++)
        map_fini(&r->by_value[i]);
    r->count = r->cap = r->domains = 0;
}

void rules_destroy(struct rules **r)
{
    if (*r != NULL)
        rules_clear(*r);
    mem_free(r);
}

/* Where the first rule of this order or a higher one is. */
static uint32_t rules_place_of(const struct rules *r, int64_t order)
{
    uint32_t low = 0, high = r->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (r->items[mid]->order < order)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void row_put(struct rules *r, struct rule_item *item)
{
    if (r->count == r->cap) {
        r->cap = r->cap == 0 ? 4 : r->cap * 2;
        r->items = mem_realloc(r->items, r->cap * sizeof r->items[0]);
    }
    uint32_t at = rules_place_of(r, item->order);
    memmove(&r->items[at + 1], &r->items[at], (r->count - at) * sizeof r->items[0]);
    r->items[at] = item;
    r->count++;
}

/* NULL: there is none of this order. */
static struct rule_item *row_take(struct rules *r, int64_t order)
{
    uint32_t at = rules_place_of(r, order);
    if (at == r->count || r->items[at]->order != order)
        return NULL;
    struct rule_item *item = r->items[at];
    r->count--;
    memmove(&r->items[at], &r->items[at + 1], (r->count - at) * sizeof r->items[0]);
    return item;
}

static bool rules_is_domain(slice jid)
{
    return memchr(jid.ptr, '@', jid.len) == NULL && memchr(jid.ptr, '/', jid.len) == NULL;
}

/* Takes out what cannot decide. */
static void keep_deciding(struct rule_item *head)
{
    struct rule_item *last = head;
    unsigned kinds = head->kinds;
    for (struct rule_item *i = head->next_deciding; i != NULL; i = i->next_deciding) {
        if ((i->kinds & ~kinds) == 0)
            continue;
        kinds |= i->kinds;
        last = last->next_deciding = i;
    }
    last->next_deciding = NULL;
}

/* Behind the head. Lists mostly come by order, so the place is looked for at the end first. */
static void chain_put(struct rule_item *head, struct rule_item *item)
{
    struct rule_item *before = head->last->order < item->order ? head->last : head;
    while (before->next != NULL && before->next->order < item->order)
        before = before->next;
    item->next = before->next;
    before->next = item;
    if (item->next == NULL)
        head->last = item;
    before = head;
    while (before->next_deciding != NULL && before->next_deciding->order < item->order)
        before = before->next_deciding;
    item->next_deciding = before->next_deciding;
    before->next_deciding = item;
    keep_deciding(head);
}

static void index_put(struct rules *r, struct rule_item *item)
{
    struct map *m = &r->by_value[item->type];
    struct rule_item *head = map_get(m, item_value(item));
    if (head != NULL && head->order < item->order) {
        chain_put(head, item);
        return;
    }
    if (head != NULL)
        map_del(m, item_value(item));
    item->next = item->next_deciding = head;
    item->last = head == NULL ? item : head->last;
    map_put(m, item);
    keep_deciding(item);
}

static void index_drop(struct rules *r, struct rule_item *item)
{
    struct map *m = &r->by_value[item->type];
    struct rule_item *head = map_get(m, item_value(item)), *before = head;
    if (head == item) {
        map_del(m, item_value(item));
        if (item->next == NULL)
            return;
        head = item->next;
        head->last = item->last;
        map_put(m, head);
    } else {
        while (before->next != item)
            before = before->next;
        before->next = item->next;
        if (item->next == NULL)
            head->last = before;
    }
    for (struct rule_item *i = head; i != NULL; i = i->next)
        i->next_deciding = i->next;
    keep_deciding(head);
}

bool rules_drop(struct rules *r, int64_t order)
{
    struct rule_item *item = row_take(r, order);
    if (item == NULL)
        return false;
    index_drop(r, item);
    r->domains -= item->type == RULE_JID && rules_is_domain(item_value(item)) ? 1 : 0;
    mem_free(&item);
    return true;
}

void rules_put(struct rules *r, const struct rule *rule)
{
    ensure(rule->value.len <= UINT16_MAX && rule->type < RULE_TYPES);
    struct rule_item *item = mem_zalloc(sizeof *item + rule->value.len);
    item->order = rule->order;
    item->type = rule->type;
    item->action = rule->action;
    item->kinds = rule->kinds;
    item->len = (uint16_t)rule->value.len;
    if (rule->value.len > 0)
        memcpy(item->value, rule->value.ptr, rule->value.len); /* before the old one goes */
    (void)rules_drop(r, rule->order);
    row_put(r, item);
    index_put(r, item);
    r->domains += item->type == RULE_JID && rules_is_domain(item_value(item)) ? 1 : 0;
}

struct rule rules_at(const struct rules *r, uint32_t i)
{
    ensure(i < r->count);
    return rule_of(r->items[i]);
}

int64_t rules_order_first(const struct rules *r)
{
    return rules_count(r) == 0 || r->items[0]->order > 0 ? 0 : r->items[0]->order - 1;
}

/* The first rule of exactly this type, value and kind, if it comes before `best`. */
static const struct rule_item *better(const struct rules *r, enum rule_type type, slice value,
                                      unsigned kind, const struct rule_item *best)
{
    const struct rule_item *item = map_get(&r->by_value[type], value);
    while (item != NULL && (item->kinds & kind) == 0)
        item = item->next_deciding;
    return item != NULL && (best == NULL || item->order < best->order) ? item : best;
}

/* XEP-0016 §2.1: user@domain/resource, user@domain, domain/resource, domain with its subdomains. */
static const struct rule_item *match_jid(const struct rules *r, slice text, unsigned kind,
                                         const struct rule_item *best)
{
    if (r->by_value[RULE_JID].count == 0)
        return best;
    struct jid jid = jid_split(text);
    best = better(r, RULE_JID, jid.full, kind, best);
    if (!jid_is_bare(&jid))
        best = better(r, RULE_JID, jid_bare(&jid), kind, best);
    if (r->domains == 0)
        return best;
    for (slice domain = jid.domain, label; domain.len > 0;) {
        best = better(r, RULE_JID, domain, kind, best);
        if (!slice_cut(domain, '.', &label, &domain))
            break;
    }
    return best;
}

static const struct rule_item *match_groups(const struct rules *r, slice groups, unsigned kind,
                                            const struct rule_item *best)
{
    slice group;
    while (r->by_value[RULE_GROUP].count > 0 && slice_cut(groups, '\0', &group, &groups))
        best = better(r, RULE_GROUP, group, kind, best);
    return best;
}

static const struct rule_item *rules_match_peer(const struct rules *r, const struct rule_peer *peer,
                                                unsigned kind)
{
    if (rules_count(r) == 0)
        return NULL;
    const struct rule_item *best = better(r, RULE_EVERYONE, SLICE(""), kind, NULL);
    best = better(r, RULE_SUBSCRIPTION, peer->subscription, kind, best);
    best = match_groups(r, peer->groups, kind, best);
    return match_jid(r, peer->jid, kind, best);
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
    for (const struct rule_item *i = map_get(&r->by_value[RULE_JID], jid); i != NULL; i = i->next) {
        *out = rule_of(i);
        if (i->order > after && rule_blocks(out))
            return true;
    }
    return false;
}
