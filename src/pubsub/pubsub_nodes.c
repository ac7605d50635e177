#include "pubsub/pubsub_nodes.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "home/here.h"
#include "pubsub/pubsub_access.h"
#include "pubsub/pubsub_config.h"
#include "pubsub/pubsub_contacts.h"
#include "pubsub/pubsub_event.h"
#include "pubsub/pubsub_model.h"
#include "pubsub/pubsub_op.h"
#include "pubsub/pubsub_request.h"
#include "pubsub/pubsub_store.h"
#include "store/store.h"
#include "xmpp/ns.h"

static struct store_batch *pubsub_nodes_write_batch(const struct ps_op *op)
{
    return store_write(worker_store(op->service->worker), (uint64_t)op->service->owner);
}

static bool pubsub_nodes_owns(struct ps_op *op)
{
    struct ps_actor who = ps_actor_of(op->node, op->from);
    struct ps_error e = ps_may_own(&who);
    if (e.error != SE_NONE)
        ps_fail_with(op, &e);
    return e.error == SE_NONE;
}

/* §8.1.3 */
static bool takes_form(struct ps_op *op)
{
    struct ps_limits limits = ps_limits_of(op->service);
    struct ps_config *c = &op->config;
    if (op->req.has_form && !ps_config_submit(c, &op->req.form, &limits)) {
        struct ps_error e = { .error = op->req.form.error, .text = op->req.form.text };
        if (e.error == SE_FEATURE_NOT_IMPLEMENTED) {
            e.condition = "unsupported";
            e.feature = "collections";
        }
        ps_fail_with(op, &e);
        return false;
    }
    return true;
}

/* The one who makes a node of a host owns it. */
static enum ps_affiliation of_creator(const struct ps_op *op)
{
    return ps_contacts_needed(op->node, &op->config) ? PS_OWNER_SHARING : PS_OWNER;
}

/* Creation (§8.1). */

/* An account may create nodes at its own service. At pubsub.<domain> the setting pubsub.create says
 * who may. */
static bool pubsub_nodes_may_create(const struct ps_op *op)
{
    const struct ps_service *s = op->service;
    if (s->account != NULL)
        return ps_is_owner_jid(s, ps_from_bare(op));
    return s->kind->may_create(s->worker, ps_from_bare(op));
}

static bool nodes_exceeded(const struct ps_op *op)
{
    const struct ps_service *s = op->service;
    if (s->node_count >= setting_int(s->kind->nodes_max))
        return true;
    const struct ps_maker *m = ps_maker(s, ps_from_bare(op));
    return s->kind->user_nodes_max != NULL && m != NULL &&
           m->nodes >= setting_int(s->kind->user_nodes_max);
}

static enum ps_step pubsub_nodes_run_create(struct ps_op *op)
{
    struct ps_node *n = op->node;
    if (!pubsub_nodes_may_create(op))
        return ps_fail(op, SE_FORBIDDEN, NULL, (slice){ 0 });
    if (n->nid != 0)
        return ps_fail(op, SE_CONFLICT, NULL, SLICE("the node exists"));
    if (nodes_exceeded(op))
        return ps_fail(op, SE_CONFLICT, "max-nodes-exceeded", (slice){ 0 });
    ps_config_default(&op->config, op->service->kind->kind);
    if (!takes_form(op))
        return PS_ANSWERED;
    if (!ps_maker_of_has_room(op->service, ps_from_bare(op), ps_config_bytes(&op->config)))
        return ps_no_room(op);
    op->create = true;
    op->batch = pubsub_nodes_write_batch(op);
    ps_node_begin(n, ps_from_bare(op), &op->config);
    ps_store_made(op->batch, n, &op->config);
    if (op->service->account == NULL)
        ps_store_affiliate(op->batch, n, ps_from_bare(op), of_creator(op));
    return PS_COMMIT;
}

/* The answer names the node: it may be an instant one (§8.1.2). */
static void apply_create(struct ps_op *op)
{
    struct buf out;
    struct xml_write x;
    ensure(op->node->nid != 0);
    if (op->service->account == NULL)
        ps_affiliate_put(op->node, ps_from_bare(op), of_creator(op));
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open(&x, "pubsub", NS_PUBSUB);
    xml_open_with(&x, "create", NULL, "node", op->node->name);
    ps_answer_xml(op, &x);
}

/* Configuration (§8.2, §8.3). */

static enum ps_step answer_config(struct ps_op *op, const char *element, const struct ps_config *c)
{
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open(&x, "pubsub", NS_PUBSUB_OWNER);
    xml_open(&x, element, NULL);
    if (op->node != NULL)
        xml_attr(&x, "node", op->node->name);
    ps_config_ask(&x, c, op->service->kind->kind);
    return ps_answer_xml(op, &x);
}

static enum ps_step run_configure_get(struct ps_op *op)
{
    if (!pubsub_nodes_owns(op))
        return PS_ANSWERED;
    return answer_config(op, "configure", &op->node->config);
}

static enum ps_step run_configure_default(struct ps_op *op)
{
    struct ps_config c;
    if (op->service->account != NULL && !ps_is_owner_jid(op->service, ps_from_bare(op)))
        return ps_fail(op, SE_FORBIDDEN, NULL, (slice){ 0 });
    ps_config_default(&c, op->service->kind->kind);
    return answer_config(op, "default", &c);
}

static uint32_t fewer_items(const struct ps_op *op)
{
    const struct ps_node *n = op->node;
    if (!op->config.persist_items)
        return n->stub_count;
    return n->stub_count > op->config.max_items ? n->stub_count - op->config.max_items : 0;
}

static slice pubsub_nodes_stub_id(const struct ps_stub *s) { return (slice){ s->id, s->id_len }; }

static enum ps_step run_configure_set(struct ps_op *op)
{
    struct ps_node *n = op->node;
    ensure(op->batch == NULL);
    if (!pubsub_nodes_owns(op))
        return PS_ANSWERED;
    if (op->req.cancelled)
        return ps_answer(op, (slice){ 0 });
    op->config = n->config;
    if (!takes_form(op))
        return PS_ANSWERED;
    int64_t more = (int64_t)ps_config_bytes(&op->config) - ps_config_bytes(&n->config);
    if (!ps_maker_has_room(n, more))
        return ps_no_room(op);
    op->batch = pubsub_nodes_write_batch(op);
    ps_store_config(op->batch, n, &op->config);
    ps_sharing_store(op->batch, op->node, &op->config, ps_from_bare(op));
    op->drop = fewer_items(op);
    if (op->drop > 0 && op->drop == n->stub_count) {
        ps_store_purge(op->batch, n);
    } else {
        for (unsigned i = 0; i < op->drop && i < PS_CHANGES_MAX; i++)
            ps_store_delete_item(op->batch, n, pubsub_nodes_stub_id(n->stubs[i]));
    }
    return PS_COMMIT;
}

static void apply_configure(struct ps_op *op)
{
    struct ps_node *n = op->node;
    bool all = op->drop == n->stub_count;
    ensure(op->node->nid != 0);
    ps_sharing_apply(op->node, &op->config, ps_from_bare(op));
    ps_node_configure(n, &op->config);
    ps_stubs_drop(n, all || op->drop < PS_CHANGES_MAX ? op->drop : PS_CHANGES_MAX, (slice){ 0 });
    ps_answer(op, (slice){ 0 });
    if (n->config.notify_config)
        ps_notify(op, PS_EVENT_CONFIG, NULL, (slice){ 0 });
}

/* Deletion (§8.4). */

static enum ps_step run_delete(struct ps_op *op)
{
    ensure(op->batch == NULL);
    if (!pubsub_nodes_owns(op))
        return PS_ANSWERED;
    op->batch = pubsub_nodes_write_batch(op);
    ps_store_delete_node(op->batch, op->node);
    return PS_COMMIT;
}

static void apply_delete(struct ps_op *op)
{
    struct ps_node *n = op->node;
    ensure(op->node->nid != 0);
    ps_answer(op, (slice){ 0 });
    if (n->config.notify_delete)
        ps_notify(op, PS_EVENT_DELETE, NULL, op->req.redirect);
    ps_watches_run(op, NULL);
    ps_node_clear(n);
}

/* Affiliations (§5.7, §8.9). */

static void write_affiliation(struct xml_write *x, const char *attribute, slice value,
                              enum ps_affiliation a)
{
    xml_open(x, "affiliation", NULL);
    xml_attr(x, attribute, value);
    xml_attr(x, "affiliation", slice_of(ps_affiliation_name(a)));
    xml_close(x);
}

static void write_own_affiliation(struct xml_write *x, const struct ps_node *n, slice from)
{
    struct ps_actor who = ps_actor_of(n, from);
    if (who.affiliation != PS_NONE)
        write_affiliation(x, "node", n->name, who.affiliation);
}

static enum ps_step run_affiliations_of(struct ps_op *op)
{
    struct buf out;
    struct xml_write x;
    const struct ps_service *s = op->service;
    bool one = op->req.node.len > 0;
    const struct ps_node *n = one ? ps_node_find(s, op->req.node) : NULL;
    if (one && n == NULL)
        return ps_fail(op, SE_ITEM_NOT_FOUND, NULL, (slice){ 0 });
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open(&x, "pubsub", NS_PUBSUB);
    xml_open(&x, "affiliations", NULL);
    xml_attr_some(&x, "node", op->req.node);
    if (one) {
        write_own_affiliation(&x, n, op->from);
        return ps_answer_xml(op, &x);
    }
    ps_charge_look(s, op->from);
    for (uint32_t i = 0; (n = map_next(&s->nodes, &i)) != NULL;)
        if (n->nid != 0)
            write_own_affiliation(&x, n, op->from);
    return ps_answer_xml(op, &x);
}

static enum ps_step run_affiliates_get(struct ps_op *op)
{
    const struct ps_affiliate *a;
    struct ps_node *n = op->node;
    struct buf out;
    struct xml_write x;
    if (!pubsub_nodes_owns(op))
        return PS_ANSWERED;
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open(&x, "pubsub", NS_PUBSUB_OWNER);
    xml_open_with(&x, "affiliations", NULL, "node", n->name);
    if (op->service->account != NULL)
        write_affiliation(&x, "jid", op->service->jid, PS_OWNER);
    for (uint32_t i = 0; (a = map_next(&n->affiliates, &i)) != NULL;)
        write_affiliation(&x, "jid", (slice){ a->jid, a->len },
                          (enum ps_affiliation)a->affiliation);
    return ps_answer_xml(op, &x);
}

/* The last word on each address of a request counts. */
static const struct ps_change *last_change(const struct ps_request *r, slice bare)
{
    for (unsigned i = r->change_count; i > 0; i--)
        if (slice_eq(jid_bare(&r->changes[i - 1].jid), bare))
            return &r->changes[i - 1];
    return NULL;
}

/* A node must keep an owner; that of an account cannot lose its own. */
static bool keeps_owner(const struct ps_op *op)
{
    const struct ps_affiliate *a;
    const struct ps_request *r = &op->req;
    if (op->service->account != NULL)
        return last_change(r, op->service->jid) == NULL;
    for (unsigned i = 0; i < r->change_count; i++)
        if (last_change(r, jid_bare(&r->changes[i].jid))->affiliation == PS_OWNER)
            return true;
    for (uint32_t i = 0; (a = map_next(&op->node->affiliates, &i)) != NULL;)
        if (a->affiliation == PS_OWNER && last_change(r, (slice){ a->jid, a->len }) == NULL)
            return true;
    return false;
}

/* Entries of a full list can still be changed and removed. */
static bool pubsub_nodes_too_many(const struct ps_op *op)
{
    int64_t count = op->node->affiliates.count, more = 0, bytes = 0;
    for (unsigned i = 0; i < op->req.change_count; i++) {
        const struct ps_change *c = &op->req.changes[i];
        if (c->affiliation == PS_NONE || ps_affiliate(op->node, jid_bare(&c->jid)) != NULL)
            continue;
        more++;
        bytes += ps_address_bytes(jid_bare(&c->jid));
    }
    if (!ps_maker_has_room(op->node, bytes))
        return true;
    return more > 0 && count + more > setting_int(op->service->kind->subscriptions_max);
}

/* What it makes of an affiliation. One that is an owner already remains what it is. */
static enum ps_affiliation changed_to(const struct ps_op *op, const struct ps_change *c)
{
    const struct ps_affiliate *old = ps_affiliate(op->node, jid_bare(&c->jid));
    bool shares = c->affiliation == PS_OWNER && old != NULL && old->shares;
    return shares ? PS_OWNER_SHARING : c->affiliation;
}

static bool pubsub_nodes_is_last(const struct ps_op *op, const struct ps_change *c)
{
    return last_change(&op->req, jid_bare(&c->jid)) == c;
}

static enum ps_step run_affiliates_set(struct ps_op *op)
{
    struct ps_node *n = op->node;
    if (!pubsub_nodes_owns(op))
        return PS_ANSWERED;
    if (!keeps_owner(op))
        return ps_fail(op, SE_NOT_ACCEPTABLE, NULL, SLICE("the node would have no owner"));
    if (pubsub_nodes_too_many(op))
        return ps_fail(op, SE_POLICY_VIOLATION, NULL, SLICE("too many affiliations"));
    op->batch = pubsub_nodes_write_batch(op);
    for (unsigned i = 0; i < op->req.change_count; i++) {
        const struct ps_change *c = &op->req.changes[i];
        if (!pubsub_nodes_is_last(op, c))
            continue;
        ps_store_affiliate(op->batch, n, jid_bare(&c->jid), changed_to(op, c));
        if (c->affiliation == PS_OUTCAST)
            ps_store_unsubscribe(op->batch, n, jid_bare(&c->jid));
    }
    return PS_COMMIT;
}

static void apply_affiliates(struct ps_op *op)
{
    struct ps_node *n = op->node;
    for (unsigned i = 0; i < op->req.change_count; i++) {
        const struct ps_change *c = &op->req.changes[i];
        if (!pubsub_nodes_is_last(op, c))
            continue;
        ps_affiliate_put(n, jid_bare(&c->jid), changed_to(op, c));
        if (c->affiliation == PS_OUTCAST)
            ps_subscriber_del(n, jid_bare(&c->jid));
    }
    ps_answer(op, (slice){ 0 });
}

/* The account of `from` was deleted. Its place in the lists of a node must not go to whoever gets
 * the address next. A node of a host without another owner goes with it (§4.1: a node has one). */

static bool has_another_owner(const struct ps_op *op)
{
    const struct ps_affiliate *a;
    if (op->service->account != NULL)
        return true;
    for (uint32_t i = 0; (a = map_next(&op->node->affiliates, &i)) != NULL;)
        if (a->affiliation == PS_OWNER && !slice_eq((slice){ a->jid, a->len }, op->from))
            return true;
    return false;
}

static enum ps_step run_forget(struct ps_op *op)
{
    const struct ps_subscriber *s;
    struct ps_node *n = op->node;
    op->batch = pubsub_nodes_write_batch(op);
    if (!has_another_owner(op)) {
        ps_store_delete_node(op->batch, n);
        return PS_COMMIT;
    }
    ps_store_affiliate(op->batch, n, op->from, PS_NONE);
    for (s = ps_subscribers_of(n, op->from); s != NULL; s = s->next)
        ps_store_unsubscribe(op->batch, n, (slice){ s->jid, s->len });
    return PS_COMMIT;
}

static void apply_forget(struct ps_op *op)
{
    const struct ps_subscriber *s;
    struct ps_node *n = op->node;
    if (!has_another_owner(op)) {
        apply_delete(op);
        return;
    }
    ps_affiliate_put(n, op->from, PS_NONE);
    while ((s = ps_subscribers_of(n, op->from)) != NULL)
        ps_subscriber_del(n, (slice){ s->jid, s->len });
    ps_answer(op, (slice){ 0 });
}

const struct ps_verb_row ps_node_verbs[] = {
    { PS_CREATE, true, false, false, pubsub_nodes_run_create, apply_create, NULL },
    { PS_CONFIGURE_GET, true, true, false, run_configure_get, NULL, NULL },
    { PS_CONFIGURE_SET, true, true, true, run_configure_set, apply_configure, NULL },
    { PS_CONFIGURE_DEFAULT, false, false, false, run_configure_default, NULL, NULL },
    { PS_DELETE, true, true, false, run_delete, apply_delete, NULL },
    { PS_AFFILIATIONS_OF, false, false, false, run_affiliations_of, NULL, NULL },
    { PS_AFFILIATES_GET, true, true, false, run_affiliates_get, NULL, NULL },
    { PS_AFFILIATES_SET, true, true, false, run_affiliates_set, apply_affiliates, NULL },
    { PS_FORGET, true, true, false, run_forget, apply_forget, NULL },
    { 0 },
};
