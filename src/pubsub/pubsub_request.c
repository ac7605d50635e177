#include "pubsub/pubsub_request.h"
#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_write.h"
#include "xmpp/ns.h"

struct parse {
    struct ps_request *r;
    struct ps_error *e;
    struct arena *tmp;
};

enum need { NEED_NODE = 1, NEED_JID = 2, NEED_ITEM = 4 };

static bool pubsub_request_fail(struct parse *p, enum stanza_error error, const char *condition,
                                slice text)
{
    *p->e = (struct ps_error){ .error = error, .condition = condition, .text = text };
    return false;
}

static bool take_form(struct parse *p, const struct elem *parent, const char *form_type)
{
    struct ps_request *r = p->r;
    if (!form_parse_child(&r->form, parent, p->tmp))
        return r->form.error == SE_NONE ||
               pubsub_request_fail(p, r->form.error, NULL, r->form.text);
    r->cancelled = r->form.kind == FORM_CANCEL;
    if (r->cancelled)
        return true;
    if (r->form.kind != FORM_SUBMIT ||
        (r->form.form_type.len > 0 && !slice_is(r->form.form_type, form_type)))
        return pubsub_request_fail(p, SE_BAD_REQUEST, "invalid-options",
                                   SLICE("this is not the form"));
    r->has_form = true;
    return true;
}

static bool take_form_of(struct parse *p, const char *name, const char *ns, const char *form_type)
{
    struct elem e;
    return !elem_child(&p->r->root, name, ns, &e) || take_form(p, &e, form_type);
}

static bool take_jid(struct parse *p, const struct elem *e, struct jid *out)
{
    slice text = elem_attr(e, "jid", p->tmp);
    if (text.len == 0)
        return pubsub_request_fail(p, SE_BAD_REQUEST, "jid-required", (slice){ 0 });
    if (jid_parse(out, text, p->tmp) != OK)
        return pubsub_request_fail(p, SE_BAD_REQUEST, "invalid-jid", (slice){ 0 });
    return true;
}

/* xs:positiveInteger */
static bool take_max_items(struct parse *p)
{
    int64_t n;
    slice text = elem_attr(&p->r->action, "max_items", p->tmp);
    if (text.ptr == NULL)
        return true;
    if (!slice_int(text, &n) || n < 1)
        return pubsub_request_fail(p, SE_BAD_REQUEST, NULL,
                                   SLICE("max_items is a positive number"));
    p->r->max_items = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    return true;
}

static bool parse_items(struct parse *p)
{
    struct ps_request *r = p->r;
    struct elem e;
    slice *ids = NULL;
    const char *why;
    if (!take_max_items(p))
        return false;
    r->has_page = elem_child(&r->root, "set", NS_RSM, &e);
    if (!rsm_parse(&r->page, &r->root, p->tmp, &why))
        return pubsub_request_fail(p, SE_BAD_REQUEST, NULL, slice_of(why));
    for (bool more = elem_first(&r->action, &e); more; more = elem_next(&e, &e)) {
        if (!elem_is(&e, "item", NS_PUBSUB))
            continue;
        if (r->id_count == PS_CHANGES_MAX)
            return pubsub_request_fail(p, SE_POLICY_VIOLATION, NULL,
                                       SLICE("too many items in one request"));
        if (ids == NULL)
            r->ids = ids = arena_new(p->tmp, slice, PS_CHANGES_MAX);
        ids[r->id_count] = elem_attr(&e, "id", p->tmp);
        if (ids[r->id_count++].len == 0)
            return pubsub_request_fail(p, SE_BAD_REQUEST, "item-required", (slice){ 0 });
    }
    return true;
}

/* §7.1.3.6: one payload element. */
static bool take_payload(struct parse *p, const struct elem *item)
{
    struct elem payload, second;
    struct buf xml;
    if (!elem_first(item, &payload))
        return true;
    second = payload;
    if (elem_next(&second, &second))
        return pubsub_request_fail(p, SE_BAD_REQUEST, "invalid-payload",
                                   SLICE("an item has one payload element"));
    buf_init(&xml, XML_STORED_MAX);
    elem_extract(&payload, &xml);
    bool fits = !xml.overflow || pubsub_request_fail(p, SE_NOT_ACCEPTABLE, "payload-too-big",
                                                     SLICE("the payload is too long"));
    p->r->payload = slice_dup(p->tmp, buf_fit(&xml));
    buf_fini(&xml);
    return fits;
}

static bool take_item(struct parse *p)
{
    struct ps_request *r = p->r;
    struct elem item, second;
    r->has_item = elem_child(&r->action, "item", NS_PUBSUB, &item);
    if (!r->has_item)
        return true;
    second = item;
    if (elem_next(&second, &second))
        return pubsub_request_fail(p, SE_BAD_REQUEST, "invalid-payload",
                                   SLICE("one item a request"));
    r->item_id = elem_attr(&item, "id", p->tmp);
    if (r->item_id.len > PS_ID_MAX)
        return pubsub_request_fail(p, SE_NOT_ACCEPTABLE, NULL,
                                   SLICE("an item id has at most 1023 bytes"));
    return r->verb == PS_RETRACT || take_payload(p, &item);
}

static bool parse_publish(struct parse *p)
{
    return take_item(p) &&
           take_form_of(p, "publish-options", NS_PUBSUB, NS_PUBSUB "#publish-options");
}

static bool parse_retract(struct parse *p)
{
    slice notify = elem_attr(&p->r->action, "notify", p->tmp);
    p->r->notify = slice_is(notify, "true") || slice_is(notify, "1");
    if (!take_item(p))
        return false;
    if (!p->r->has_item || p->r->item_id.len == 0)
        return pubsub_request_fail(p, SE_BAD_REQUEST, "item-required", (slice){ 0 });
    return true;
}

static bool parse_create(struct parse *p)
{
    return take_form_of(p, "configure", NS_PUBSUB, NS_PUBSUB "#node_config");
}

static bool parse_subscribe(struct parse *p)
{
    return take_form_of(p, "options", NS_PUBSUB, NS_PUBSUB "#subscribe_options");
}

static bool pubsub_request_parse_options(struct parse *p)
{
    if (!take_form(p, &p->r->action, NS_PUBSUB "#subscribe_options"))
        return false;
    return p->r->has_form || p->r->cancelled ||
           pubsub_request_fail(p, SE_BAD_REQUEST, "invalid-options", (slice){ 0 });
}

static bool parse_configure(struct parse *p)
{
    if (!take_form(p, &p->r->action, NS_PUBSUB "#node_config"))
        return false;
    return p->r->has_form || p->r->cancelled ||
           pubsub_request_fail(p, SE_BAD_REQUEST, NULL, SLICE("there is no form"));
}

static bool parse_delete(struct parse *p)
{
    struct elem e;
    if (elem_child(&p->r->action, "redirect", NS_PUBSUB_OWNER, &e))
        p->r->redirect = elem_attr(&e, "uri", p->tmp);
    return p->r->redirect.len <= PS_ID_MAX ||
           pubsub_request_fail(p, SE_NOT_ACCEPTABLE, NULL,
                               SLICE("the address of the redirect is too long"));
}

static bool take_change(struct parse *p, const struct elem *e, struct ps_change *c)
{
    bool known;
    if (!take_jid(p, e, &c->jid))
        return false;
    if (p->r->verb == PS_AFFILIATES_SET)
        known = ps_affiliation_find(elem_attr(e, "affiliation", p->tmp), &c->affiliation);
    else
        known = ps_state_find(elem_attr(e, "subscription", p->tmp), &c->state);
    return known || pubsub_request_fail(p, SE_BAD_REQUEST, NULL, SLICE("there is no such value"));
}

static bool parse_changes(struct parse *p)
{
    struct ps_request *r = p->r;
    const char *name = r->verb == PS_AFFILIATES_SET ? "affiliation" : "subscription";
    struct ps_change *changes = NULL;
    struct elem e;
    for (bool more = elem_first(&r->action, &e); more; more = elem_next(&e, &e)) {
        if (!elem_is(&e, name, NS_PUBSUB_OWNER))
            continue;
        if (r->change_count == PS_CHANGES_MAX)
            return pubsub_request_fail(p, SE_POLICY_VIOLATION, NULL,
                                       SLICE("too many changes in one request"));
        if (changes == NULL)
            r->changes = changes = arena_new(p->tmp, struct ps_change, PS_CHANGES_MAX);
        if (!take_change(p, &e, &changes[r->change_count++]))
            return false;
    }
    return r->change_count > 0 ||
           pubsub_request_fail(p, SE_BAD_REQUEST, NULL, SLICE("there is no change"));
}

struct rule {
    enum stanza_type type;
    const char *ns, *name;
    enum ps_verb verb;
    unsigned need;
    bool (*parse)(struct parse *p);
};

#define GET TYPE_GET
#define SET TYPE_SET
static const struct rule rules[] = {
    { GET, NS_PUBSUB, "subscriptions", PS_SUBSCRIPTIONS, 0, NULL },
    { GET, NS_PUBSUB, "affiliations", PS_AFFILIATIONS_OF, 0, NULL },
    { SET, NS_PUBSUB, "subscribe", PS_SUBSCRIBE, NEED_NODE | NEED_JID, parse_subscribe },
    { SET, NS_PUBSUB, "unsubscribe", PS_UNSUBSCRIBE, NEED_NODE | NEED_JID, NULL },
    { GET, NS_PUBSUB, "options", PS_OPTIONS_GET, NEED_NODE | NEED_JID, NULL },
    { SET, NS_PUBSUB, "options", PS_OPTIONS_SET, NEED_NODE | NEED_JID,
      pubsub_request_parse_options },
    { GET, NS_PUBSUB, "default", PS_OPTIONS_DEFAULT, 0, NULL },
    { GET, NS_PUBSUB, "items", PS_ITEMS, NEED_NODE, parse_items },
    { SET, NS_PUBSUB, "publish", PS_PUBLISH, NEED_NODE, parse_publish },
    { SET, NS_PUBSUB, "retract", PS_RETRACT, NEED_NODE, parse_retract },
    { SET, NS_PUBSUB, "create", PS_CREATE, 0, parse_create },
    { GET, NS_PUBSUB_OWNER, "configure", PS_CONFIGURE_GET, NEED_NODE, NULL },
    { SET, NS_PUBSUB_OWNER, "configure", PS_CONFIGURE_SET, NEED_NODE, parse_configure },
    { GET, NS_PUBSUB_OWNER, "default", PS_CONFIGURE_DEFAULT, 0, NULL },
    { SET, NS_PUBSUB_OWNER, "delete", PS_DELETE, NEED_NODE, parse_delete },
    { SET, NS_PUBSUB_OWNER, "purge", PS_PURGE, NEED_NODE, NULL },
    { GET, NS_PUBSUB_OWNER, "subscriptions", PS_SUBSCRIBERS_GET, NEED_NODE, NULL },
    { SET, NS_PUBSUB_OWNER, "subscriptions", PS_SUBSCRIBERS_SET, NEED_NODE, parse_changes },
    { GET, NS_PUBSUB_OWNER, "affiliations", PS_AFFILIATES_GET, NEED_NODE, NULL },
    { SET, NS_PUBSUB_OWNER, "affiliations", PS_AFFILIATES_SET, NEED_NODE, parse_changes },
};
#undef GET
#undef SET

static const struct rule *pubsub_request_rule_of(const struct elem *e, enum stanza_type type)
{
    for (unsigned i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (rules[i].type == type && elem_is(e, rules[i].name, rules[i].ns))
            return &rules[i];
    }
    return NULL;
}

/* The child that is an action: of several, what comes first in the table, as what configures or
 * limits it may stand before it. */
static const struct rule *pubsub_request_find_rule(struct ps_request *r, enum stanza_type type)
{
    const struct rule *found = NULL;
    struct elem e;
    for (bool more = elem_first(&r->root, &e); more; more = elem_next(&e, &e)) {
        const struct rule *rule =
            slice_eq(e.ns_uri, r->root.ns_uri) ? pubsub_request_rule_of(&e, type) : NULL;
        if (rule != NULL && (found == NULL || rule < found)) {
            found = rule;
            r->action = e;
        }
    }
    return found;
}

static bool pubsub_request_take_names(struct parse *p, const struct rule *rule)
{
    struct ps_request *r = p->r;
    r->node = elem_attr(&r->action, "node", p->tmp);
    r->subid = elem_attr(&r->action, "subid", p->tmp);
    if (r->node.len == 0 && (rule->need & NEED_NODE) != 0)
        return pubsub_request_fail(p, SE_BAD_REQUEST, "nodeid-required", (slice){ 0 });
    if (r->node.len > PS_ID_MAX)
        return pubsub_request_fail(p, SE_NOT_ACCEPTABLE, NULL,
                                   SLICE("a node id has at most 1023 bytes"));
    return (rule->need & NEED_JID) == 0 || take_jid(p, &r->action, &r->jid);
}

bool ps_request_parse(struct ps_request *r, const struct elem *pubsub, enum stanza_type type,
                      struct arena *tmp, struct ps_error *e)
{
    struct parse p = { r, e, tmp };
    *r = (struct ps_request){ .max_items = UINT32_MAX, .root = *pubsub };
    *e = (struct ps_error){ 0 };
    const struct rule *rule = pubsub_request_find_rule(r, type);
    if (rule == NULL) {
        pubsub_request_fail(&p, SE_BAD_REQUEST, NULL, SLICE("there is no such request"));
        return false;
    }
    r->verb = rule->verb;
    return pubsub_request_take_names(&p, rule) && (rule->parse == NULL || rule->parse(&p));
}
