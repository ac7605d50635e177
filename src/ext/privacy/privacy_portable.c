#include "ext/privacy/privacy_portable.h"
#include "base/arena.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "ext/privacy/privacy_lists.h"
#include "ext/privacy/privacy_state.h"
#include "store/store.h"
#include "xmpp/jid.h"

#define NS_BLOCKING "urn:xmpp:blocking"

struct port {
    struct portable *to;
    struct privacy has; /* what was taken so far */
};

static void port_apply(struct port *t, const struct privacy_delta *d)
{
    if (t->to->batch != NULL)
        privacy_delta_store(t->to->batch, t->to->id, &t->has, d);
    struct rules *gone = privacy_apply(&t->has, d);
    rules_destroy(&gone);
}

static bool privacy_port_fits(struct port *t, uint32_t more, slice list)
{
    bool fits = (int64_t)privacy_rules(&t->has) + more <= setting_int(&privacy_rules_max) &&
                (privacy_list(&t->has, list) != NULL ||
                 privacy_lists(&t->has) < (uint64_t)setting_int(&privacy_lists_max));
    if (!fits)
        t->to->lost(t->to, "rules beyond privacy.rules-max or privacy.lists-max, of list", list);
    return fits;
}

static void port_list(struct port *t, const struct elem *e)
{
    struct privacy_delta d;
    slice why;
    if (!privacy_lists_read(t->to->tmp, e, &d, &why))
        t->to->lost(t->to, arena_printf(t->to->tmp, "a privacy list (%.*s):", SLICE_ARG(why)),
                    d.list);
    else if (d.count > 0 && privacy_port_fits(t, d.count, d.list))
        port_apply(t, &d);
}

static void port_default(struct port *t, const struct elem *query)
{
    struct elem e;
    slice name = elem_child(query, "default", NS_PRIVACY, &e) ? elem_attr(&e, "name", t->to->tmp)
                                                              : (slice){ 0 };
    if (name.len > 0 && privacy_list(&t->has, name) != NULL)
        port_apply(t, &(struct privacy_delta){ .op = PRIVACY_DEFAULT, .list = name });
}

/* XEP-0191 §3. */
static void port_block(struct port *t, slice text)
{
    struct portable *p = t->to;
    struct jid jid;
    struct rule old;
    if (jid_parse(&jid, text, p->tmp) != OK) {
        p->lost(p, "a block of what is no address:", text);
        return;
    }
    slice name = t->has.standard == NULL ? SLICE(PRIVACY_BLOCKLIST) : rules_name(t->has.standard);
    const struct rules *list = privacy_list(&t->has, name);
    if (rules_find_block(list, jid.full, INT64_MIN, &old) || !privacy_port_fits(t, 1, name))
        return;
    const struct rule rule = { .value = jid.full,
                               .order = rules_order_first(list),
                               .type = RULE_JID,
                               .action = RULE_DENY,
                               .kinds = RULE_ALL };
    name = slice_dup(p->tmp, name);
    port_apply(
        t, &(struct privacy_delta){ .op = PRIVACY_ADD, .list = name, .rules = &rule, .count = 1 });
    if (t->has.standard == NULL)
        port_apply(t, &(struct privacy_delta){ .op = PRIVACY_DEFAULT, .list = name });
}

static void privacy_port_take(struct portable *p)
{
    struct port t = { .to = p };
    struct elem e, child;
    for (bool more = elem_first(p->user, &e); more; more = elem_next(&e, &e)) {
        if (!elem_is(&e, "query", NS_PRIVACY))
            continue;
        for (bool has = elem_first(&e, &child); has; has = elem_next(&child, &child))
            if (elem_is(&child, "list", NS_PRIVACY))
                port_list(&t, &child);
        port_default(&t, &e);
    }
    for (bool more = elem_first(p->user, &e); more; more = elem_next(&e, &e))
        for (bool has = elem_is(&e, "blocklist", NS_BLOCKING) && elem_first(&e, &child); has;
             has = elem_next(&child, &child))
            if (elem_is(&child, "item", NS_BLOCKING))
                port_block(&t, elem_attr(&child, "jid", p->tmp));
    privacy_fini(&t.has);
}

static void privacy_port_read(const struct portable_out *o, struct store_batch *b)
{
    privacy_rows_read(b, o->id);
}

static bool privacy_port_give(struct portable_out *o, const struct store_batch *b, unsigned first)
{
    struct privacy p = privacy_rows(b, first);
    if (p.lists != NULL) {
        xml_open(o->x, "query", NS_PRIVACY);
        if (p.standard != NULL)
            xml_empty_with(o->x, "default", NULL, "name", rules_name(p.standard));
        for (const struct rules *r = p.lists; r != NULL; r = r->next)
            privacy_lists_write(o->x, r);
        xml_close(o->x);
    }
    privacy_fini(&p);
    return false;
}

const struct portable_part privacy_portable = {
    .takes = (const struct portable_name[]){ { "query", NS_PRIVACY },
                                             { "blocklist", NS_BLOCKING },
                                             { 0 } },
    .take = privacy_port_take,
    .read = privacy_port_read,
    .give = privacy_port_give,
};
