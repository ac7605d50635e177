#include "ext/privacy/privacy_lists.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "ext/privacy/privacy.h"
#include "ext/privacy/privacy_blocking.h"
#include "ext/privacy/privacy_policy.h"
#include "ext/privacy/privacy_stages.h"
#include "ext/privacy/privacy_state.h"
#include "home/here.h"
#include "presence/roster.h"
#include "presence/roster_view.h"
#include "session/session.h"
#include <stdlib.h>

static const char *const types[] = { NULL, "jid", "group", "subscription" };
static const char *const subscriptions[] = { "none", "to", "from", "both" };
static const struct {
    const char *name;
    enum rule_kind kind;
} kinds[] = {
    { "message", RULE_MESSAGE },
    { "presence-in", RULE_PRESENCE_IN },
    { "presence-out", RULE_PRESENCE_OUT },
    { "iq", RULE_IQ },
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* Get (§2.3). */

static void write_name(struct xml_write *x, const char *element, const struct rules *r)
{
    if (r == NULL)
        return;
    xml_empty_with(x, element, NULL, "name", rules_name(r));
}

static void answer_names(struct iq *iq)
{
    const struct privacy *p = privacy_of(iq->account);
    const struct privacy_session *ps = iq->session == NULL ? NULL : privacy_session(iq->session);
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open(&x, "query", NS_PRIVACY);
    write_name(&x, "active", ps == NULL ? NULL : ps->active);
    write_name(&x, "default", p == NULL ? NULL : p->standard);
    for (const struct rules *r = p == NULL ? NULL : p->lists; r != NULL; r = r->next)
        write_name(&x, "list", r);
    iq_result_xml(iq, &x);
}

static void write_rule(struct xml_write *x, const struct rule *r, int64_t order)
{
    xml_open(x, "item", NULL);
    if (r->type != RULE_EVERYONE) {
        xml_attr(x, "type", slice_of(types[r->type]));
        xml_attr(x, "value", r->value);
    }
    xml_attr(x, "action", r->action == RULE_DENY ? SLICE("deny") : SLICE("allow"));
    xml_attr_int(x, "order", order);
    for (unsigned i = 0; i < KINDS; i++)
        if (r->kinds != RULE_ALL && (r->kinds & kinds[i].kind) != 0)
            xml_empty(x, kinds[i].name, NULL);
    xml_close(x);
}

void privacy_lists_write(struct xml_write *x, const struct rules *r)
{
    bool renumber = rules_at(r, 0).order < 0;
    xml_open_with(x, "list", NULL, "name", rules_name(r));
    for (uint32_t i = 0; i < rules_count(r); i++) {
        struct rule rule = rules_at(r, i);
        write_rule(x, &rule, renumber ? (int64_t)i + 1 : rule.order);
    }
    xml_close(x);
}

static void answer_list(struct iq *iq, const struct rules *r)
{
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open(&x, "query", NS_PRIVACY);
    privacy_lists_write(&x, r);
    iq_result_xml(iq, &x);
}

static void lists_get(struct iq *iq)
{
    struct elem list, other;
    if (!elem_first(&iq->payload, &list)) {
        answer_names(iq);
        return;
    }
    if (!elem_is(&list, "list", NS_PRIVACY) || elem_next(&list, &other)) {
        iq_error(iq, SE_BAD_REQUEST, SLICE("one list may be asked for at a time"));
        return;
    }
    slice name = elem_attr(&list, "name", iq->tmp);
    const struct rules *r = name.len == 0 ? NULL : privacy_list(privacy_of(iq->account), name);
    if (r == NULL)
        iq_error(iq, SE_ITEM_NOT_FOUND, SLICE("there is no list of this name"));
    else
        answer_list(iq, r);
}

/* Set. */

enum what { SET_ACTIVE, SET_DEFAULT, SET_LIST };
struct request {
    enum what what;
    slice name; /* empty: declined */
    struct rule *rules;
    uint32_t count;
    /* Names of groups in the list of contacts. They are gathered once a request, and no more of
     * them than an item asks for. */
    enum { GROUPS_NONE, GROUPS_OWN, GROUPS_ALL } known;
    struct map groups;
};

static bool privacy_lists_refuse(struct privacy_change *c, enum stanza_error e, slice text)
{
    c->why.error = e;
    c->why.text = text;
    return false;
}

static void know_group(struct privacy_change *c, slice name)
{
    struct request *r = c->request;
    if (map_get(&r->groups, name) != NULL)
        return;
    slice *group = arena_new(c->arena, slice, 1);
    *group = name;
    map_put(&r->groups, group);
}

static void know_own_groups(struct privacy_change *c)
{
    const struct roster *r = c->iq->account->roster;
    for (uint32_t i = 0; r != NULL && i < r->count; i++) {
        slice groups = roster_item_groups(r->items[i]), group;
        while (slice_cut(groups, '\0', &group, &groups))
            know_group(c, group);
    }
}

static void know_shared_groups(struct privacy_change *c)
{
    const struct account *a = c->iq->account;
    slice contact, group;
    for (struct roster_at at = { 0 }; roster_next_shared(a, &at, &contact);)
        for (struct roster_group_at by = { 0 }; roster_next_group(a, contact, &by, &group);)
            know_group(c, group);
}

static bool group_exists(struct privacy_change *c, slice name)
{
    static void (*const know[])(struct privacy_change *) = { know_own_groups, know_shared_groups };
    struct request *r = c->request;
    while (map_get(&r->groups, name) == NULL) {
        if (r->known == GROUPS_ALL)
            return false;
        know[r->known++](c);
    }
    return true;
}

/* §2.1: the value, by type. */
static bool parse_value(struct privacy_change *c, struct rule *rule)
{
    struct jid jid;
    switch ((enum rule_type)rule->type) {
    case RULE_EVERYONE:
        rule->value = (slice){ 0 };
        return true;
    case RULE_JID:
        if (jid_parse(&jid, rule->value, c->arena) != OK)
            return privacy_lists_refuse(c, SE_JID_MALFORMED,
                                        SLICE("the value of an item is not an address"));
        rule->value = jid.full;
        return true;
    case RULE_GROUP:
        if (c->iq == NULL || group_exists(c, rule->value))
            return true;
        return privacy_lists_refuse(c, SE_ITEM_NOT_FOUND,
                                    SLICE("no contact is in a group of this name"));
    case RULE_SUBSCRIPTION:
        for (unsigned i = 0; i < sizeof subscriptions / sizeof subscriptions[0]; i++)
            if (slice_is(rule->value, subscriptions[i]))
                return true;
        return privacy_lists_refuse(c, SE_BAD_REQUEST,
                                    SLICE("a subscription is none, to, from or both"));
    }
    return false;
}

static bool parse_kinds(struct privacy_change *c, const struct elem *item, struct rule *rule)
{
    struct elem child;
    for (bool any = elem_first(item, &child); any; any = elem_next(&child, &child)) {
        unsigned i = 0;
        while (i < KINDS && !elem_is(&child, kinds[i].name, NS_PRIVACY))
            i++;
        if (i == KINDS)
            return privacy_lists_refuse(
                c, SE_BAD_REQUEST,
                SLICE("an item may have message, presence-in, presence-out and iq"));
        rule->kinds |= (uint8_t)kinds[i].kind;
    }
    if (rule->kinds == 0)
        rule->kinds = RULE_ALL;
    return true;
}

static bool privacy_lists_parse_item(struct privacy_change *c, const struct elem *item,
                                     struct rule *rule)
{
    slice type = elem_attr(item, "type", c->arena), action = elem_attr(item, "action", c->arena);
    if (!elem_is(item, "item", NS_PRIVACY))
        return privacy_lists_refuse(c, SE_BAD_REQUEST, SLICE("a list has items only"));
    if (!slice_is(action, "allow") && !slice_is(action, "deny"))
        return privacy_lists_refuse(c, SE_BAD_REQUEST,
                                    SLICE("an item has an action: allow or deny"));
    if (!slice_int(elem_attr(item, "order", c->arena), &rule->order) || rule->order < 0 ||
        rule->order > UINT32_MAX)
        return privacy_lists_refuse(c, SE_BAD_REQUEST,
                                    SLICE("an item has an order: a number from nought on"));
    rule->action = slice_is(action, "deny") ? RULE_DENY : RULE_ALLOW;
    rule->value = elem_attr(item, "value", c->arena);
    rule->type = RULE_EVERYONE;
    for (unsigned i = RULE_JID; type.ptr != NULL && i <= RULE_SUBSCRIPTION; i++)
        if (slice_is(type, types[i]))
            rule->type = (uint8_t)i;
    if (type.ptr != NULL && rule->type == RULE_EVERYONE)
        return privacy_lists_refuse(c, SE_BAD_REQUEST,
                                    SLICE("a type is jid, group or subscription"));
    if (rule->type != RULE_EVERYONE && rule->value.len == 0)
        return privacy_lists_refuse(c, SE_BAD_REQUEST, SLICE("an item of this type has a value"));
    return parse_value(c, rule) && parse_kinds(c, item, rule);
}

/* §2.1: orders are unique. Sorted, so that a repeat is next to its like. */
static int by_order(const void *one, const void *other)
{
    int64_t a = ((const struct rule *)one)->order, b = ((const struct rule *)other)->order;
    return a < b ? -1 : a > b;
}

/* The items of a list as they are written; their orders may be equal. */
static bool privacy_lists_parse_items(struct privacy_change *c, const struct elem *list,
                                      struct request *r)
{
    struct elem item;
    uint32_t count = 0;
    for (bool any = elem_first(list, &item); any; any = elem_next(&item, &item))
        count++;
    if (count > setting_int(&privacy_rules_max))
        return privacy_lists_refuse(c, SE_RESOURCE_CONSTRAINT,
                                    SLICE("more items than privacy.rules-max"));
    r->rules = arena_new(c->arena, struct rule, count + 1);
    for (bool any = elem_first(list, &item); any; any = elem_next(&item, &item))
        if (!privacy_lists_parse_item(c, &item, &r->rules[r->count++]))
            return false;
    return true;
}

static bool parse_list(struct privacy_change *c, const struct elem *list, struct request *r)
{
    map_init(&r->groups, map_key_slice);
    bool fine = privacy_lists_parse_items(c, list, r);
    map_fini(&r->groups);
    if (!fine)
        return false;
    qsort(r->rules, r->count, sizeof r->rules[0], by_order);
    for (uint32_t i = 1; i < r->count; i++)
        if (r->rules[i].order == r->rules[i - 1].order)
            return privacy_lists_refuse(c, SE_BAD_REQUEST, SLICE("two items of one order"));
    return true;
}

static bool privacy_lists_parse_set(struct privacy_change *c)
{
    static const char *const names[] = { "active", "default", "list" };
    struct request *r = arena_new(c->arena, struct request, 1);
    struct elem child, other;
    c->request = r;
    if (!elem_first(&c->iq->payload, &child) || elem_next(&child, &other))
        return privacy_lists_refuse(c, SE_BAD_REQUEST, SLICE("one of active, default and list"));
    for (r->what = SET_ACTIVE; r->what < SET_LIST; r->what++)
        if (elem_is(&child, names[r->what], NS_PRIVACY))
            break;
    if (!elem_is(&child, names[r->what], NS_PRIVACY))
        return privacy_lists_refuse(c, SE_BAD_REQUEST, SLICE("one of active, default and list"));
    slice name = elem_attr(&child, "name", c->arena);
    r->name = name.len == 0 ? SLICE("") : name;
    if (name.len > PRIVACY_NAME_BYTES)
        return privacy_lists_refuse(c, SE_NOT_ACCEPTABLE,
                                    SLICE("a name is at most 256 bytes long"));
    if (name.len == 0 && (name.ptr != NULL || r->what == SET_LIST))
        return privacy_lists_refuse(c, SE_BAD_REQUEST, SLICE("a list has a name"));
    return r->what != SET_LIST || parse_list(c, &child, r);
}

/* Other servers write equal orders: ejabberd gives each block (XEP-0191) the order 0. Those of one
 * order stay as they are written. Orders are below 2^32, counts below 2^31. */
static void rules_number(struct rule *rules, uint32_t count)
{
    bool equal = false;
    for (uint32_t i = 0; i < count; i++)
        rules[i].order = rules[i].order * count + i;
    qsort(rules, count, sizeof rules[0], by_order);
    for (uint32_t i = 0; i < count; i++)
        rules[i].order /= count;
    for (uint32_t i = 1; i < count; i++)
        equal = equal || rules[i].order == rules[i - 1].order;
    for (uint32_t i = 0; equal && i < count; i++)
        rules[i].order = i;
}

bool privacy_lists_read(struct arena *tmp, const struct elem *list, struct privacy_delta *out,
                        slice *why)
{
    struct privacy_change c = { .arena = tmp };
    struct request r = { .what = SET_LIST, .name = elem_attr(list, "name", tmp) };
    bool fine = r.name.len > 0 && r.name.len <= PRIVACY_NAME_BYTES;
    *why = SLICE("its name is empty or too long");
    if (fine && !privacy_lists_parse_items(&c, list, &r)) {
        *why = c.why.text;
        fine = false;
    }
    if (fine)
        rules_number(r.rules, r.count);
    *out = (struct privacy_delta){
        .op = PRIVACY_REPLACE, .list = r.name, .rules = r.rules, .count = r.count
    };
    return fine;
}

static struct session *privacy_lists_asker(const struct privacy_change *c)
{
    const struct stanza *st = c->iq->st;
    return account_session(c->iq->account, slice_from(stanza_from(st), st->from_bare_len + 1u));
}

/* §2.2: whether another session of the account is under this list. */
static bool used_elsewhere(const struct privacy_change *c, const struct privacy *p,
                           const struct rules *list)
{
    const struct session *me = privacy_lists_asker(c);
    SESSIONS_EACH (s, c->iq->account) {
        if (s != me && privacy_in_force(p, s) == list)
            return true;
    }
    return false;
}

static void plan_default(struct privacy_change *c, const struct privacy *p)
{
    const struct request *r = c->request;
    const struct rules *list = r->name.len == 0 ? NULL : privacy_list(p, r->name);
    const struct rules *old = p == NULL ? NULL : p->standard;
    if (r->name.len > 0 && list == NULL)
        (void)privacy_lists_refuse(c, SE_ITEM_NOT_FOUND, SLICE("there is no list of this name"));
    else if (list == old)
        return;
    else if (old != NULL && used_elsewhere(c, p, old))
        (void)privacy_lists_refuse(c, SE_CONFLICT,
                                   SLICE("the default list applies to another resource"));
    else
        c->delta[c->count++] = (struct privacy_delta){ .op = PRIVACY_DEFAULT, .list = r->name };
}

static void plan_list(struct privacy_change *c, const struct privacy *p)
{
    const struct request *r = c->request;
    const struct rules *list = privacy_list(p, r->name);
    int64_t most = setting_int(&privacy_lists_max);
    if (r->count == 0 && list == NULL) {
        (void)privacy_lists_refuse(c, SE_ITEM_NOT_FOUND, SLICE("there is no list of this name"));
        return;
    }
    if (r->count == 0 && used_elsewhere(c, p, list)) {
        (void)privacy_lists_refuse(c, SE_CONFLICT, SLICE("the list applies to another resource"));
        return;
    }
    if (list == NULL && privacy_lists(p) >= most) {
        (void)privacy_lists_refuse(
            c, SE_RESOURCE_CONSTRAINT,
            slice_of(
                arena_printf(c->arena, "privacy.lists-max (%lld) is reached", (long long)most)));
        return;
    }
    if (!privacy_has_room(c, p, r->count, rules_count(list)))
        return;
    if (r->count == 0 && p->standard == list)
        c->delta[c->count++] = (struct privacy_delta){ .op = PRIVACY_DEFAULT };
    c->delta[c->count++] = (struct privacy_delta){
        .op = PRIVACY_REPLACE, .list = r->name, .rules = r->rules, .count = r->count
    };
}

/* An active list is the session's own: nothing is stored. */
static void plan_active(struct privacy_change *c, const struct privacy *p)
{
    const struct request *r = c->request;
    if (privacy_lists_asker(c) == NULL)
        (void)privacy_lists_refuse(c, SE_UNEXPECTED_REQUEST,
                                   SLICE("an active list belongs to a session"));
    else if (r->name.len > 0 && privacy_list(p, r->name) == NULL)
        (void)privacy_lists_refuse(c, SE_ITEM_NOT_FOUND, SLICE("there is no list of this name"));
}

static void active_done(struct privacy_change *c, enum err e)
{
    const struct request *r = c->request;
    ensure(c->iq->held && account_is_pinned(c->iq->account));
    if (e == OK)
        privacy_activate(privacy_lists_asker(c),
                         r->name.len == 0 ? NULL
                                          : privacy_list(privacy_of(c->iq->account), r->name));
    privacy_change_answer(c, e);
}

/* §2.2: all connected resources learn that the list was changed, by its name. */
static void list_done(struct privacy_change *c, enum err e)
{
    const struct request *r = c->request;
    struct buf out;
    struct xml_write x;
    ensure(c->iq->held && account_here(c->iq->account));
    if (e != OK) {
        privacy_change_answer(c, e);
        return;
    }
    xml_begin(&x, &out, XML_PART_MAX);
    xml_open(&x, "query", NS_PRIVACY);
    xml_open_with(&x, "list", NULL, "name", r->name);
    xml_close_all(&x);
    SESSIONS_EACH (s, c->iq->account)
        privacy_push(s, &out);
    buf_fini(&out);
    privacy_change_answer(c, e);
}

static void lists_set(struct iq *iq)
{
    static void (*const plans[])(struct privacy_change *,
                                 const struct privacy *) = { plan_active, plan_default, plan_list };
    struct privacy_change *c = privacy_change_new(iq);
    if (!privacy_lists_parse_set(c)) {
        privacy_change_answer(c, E_DENIED);
        return;
    }
    enum what what = ((struct request *)c->request)->what;
    ensure((unsigned)what < sizeof plans / sizeof plans[0]);
    c->plan = plans[what];
    if (what != SET_DEFAULT)
        c->done = what == SET_ACTIVE ? active_done : list_done;
    privacy_change_run(c->iq->account, c);
}

const struct iq_rule privacy_iq[] = {
    { TYPE_GET, "urn:xmpp:blocking", "blocklist", IQ_TO_SELF, blocking_get },
    { TYPE_SET, "urn:xmpp:blocking", "block", IQ_TO_SELF, blocking_block },
    { TYPE_SET, "urn:xmpp:blocking", "unblock", IQ_TO_SELF, blocking_unblock },
    { TYPE_GET, NS_PRIVACY, "query", IQ_TO_SELF, lists_get },
    { TYPE_SET, NS_PRIVACY, "query", IQ_TO_SELF, lists_set },
    { TYPE_GET, "urn:muster:policy:0", "policy", IQ_TO_SELF, policy_get },
    { TYPE_SET, "urn:muster:policy:0", "policy", IQ_TO_SELF, policy_edit },
    { 0 },
};
