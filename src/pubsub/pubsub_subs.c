#include "pubsub/pubsub_subs.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "home/here.h"
#include "home/node.h"
#include "home/remote.h"
#include "ops/admins.h"
#include "presence/roster.h"
#include "pubsub/pubsub_access.h"
#include "pubsub/pubsub_config.h"
#include "pubsub/pubsub_contacts.h"
#include "pubsub/pubsub_event.h"
#include "pubsub/pubsub_items.h"
#include "pubsub/pubsub_model.h"
#include "pubsub/pubsub_op.h"
#include "pubsub/pubsub_request.h"
#include "pubsub/pubsub_store.h"
#include "store/store.h"
#include "xmpp/form.h"
#include "xmpp/ns.h"

static struct store_batch *pubsub_subs_write_batch(const struct ps_op *op)
{
    return store_write(worker_store(op->service->worker), (uint64_t)op->service->owner);
}

static slice subscriber_jid(const struct ps_subscriber *s) { return (slice){ s->jid, s->len }; }

/* §6.1.3.1: an entity subscribes itself: its bare address, or the one it asks from. */
static bool is_own(const struct ps_op *op, const struct jid *jid)
{
    if (!slice_eq(jid_bare(jid), ps_from_bare(op)))
        return false;
    return jid_is_bare(jid) || slice_eq(jid->full, op->from);
}

/* The same for the same subscriber each time, so that what is stored and what is made agree. */
static void make_subid(const struct ps_node *n, slice jid, char out[17])
{
    struct hash_key key = { (uint64_t)n->nid, 0x73756269 };
    uint64_t hash = hash_with(&key, jid);
    for (int i = 15; i >= 0; i--, hash >>= 4)
        out[i] = "0123456789abcdef"[hash & 15];
    out[16] = '\0';
}

static struct ps_subscriber *new_subscriber(const struct ps_node *n, slice jid, enum ps_state state)
{
    char subid[17];
    make_subid(n, jid, subid);
    return ps_subscriber_make(jid, slice_of(subid), state);
}

/* A subscription as it will be is stored first, and made when that is committed. */
static void store_as(struct ps_op *op, slice jid, slice subid, enum ps_state state, bool deliver)
{
    struct ps_subscriber *s = ps_subscriber_make(jid, subid, state);
    ensure(op->batch != NULL);
    s->deliver = deliver;
    ps_store_subscriber(op->batch, op->node, s);
    mem_free(&s);
}

/* Subscribing (§6.1). */

static enum ps_step invalid_options(struct ps_op *op)
{
    return ps_fail(op, SE_BAD_REQUEST, "invalid-options", op->req.form.text);
}

/* A subscription that an owner has offered needs no approval. */
static enum ps_state state_for(const struct ps_node *n, const struct ps_actor *who)
{
    if (who->state == PS_OFFERED)
        return PS_SUBSCRIBED;
    bool trusted = who->may_configure || who->affiliation != PS_NONE;
    return n->config.access == PS_AUTHORIZE && !trusted ? PS_PENDING : PS_SUBSCRIBED;
}

/* A user has as many sessions; with more addresses one alone would fill the list. They are looked
 * through one by one. */
enum { RESOURCES_MAX = 32 };

/* With those that the first `count` changes of a request add. */
static bool has_many(const struct ps_node *n, const struct jid *jid,
                     const struct ps_change *changes, unsigned change_count)
{
    const struct ps_subscriber *s = jid_is_bare(jid) ? NULL : ps_subscribers_of(n, jid_bare(jid));
    unsigned count = 0;
    for (; s != NULL; s = s->next)
        count += s->len > s->bare_len;
    for (unsigned i = 0; !jid_is_bare(jid) && i < change_count && count < RESOURCES_MAX; i++) {
        const struct jid *other = &changes[i].jid;
        count += changes[i].state != PS_UNSUBSCRIBED && !jid_is_bare(other) &&
                 slice_eq(jid_bare(other), jid_bare(jid)) && ps_subscriber(n, other->full) == NULL;
    }
    return count >= RESOURCES_MAX;
}

static enum ps_step run_subscribe(struct ps_op *op)
{
    struct ps_node *n = op->node;
    struct ps_actor who = ps_actor_of(n, op->from);
    const struct ps_subscriber *old = ps_subscriber(n, op->req.jid.full);
    bool deliver = old == NULL || old->deliver;
    char subid[17];
    ensure(op->batch == NULL);
    if (!is_own(op, &op->req.jid))
        return ps_fail(op, SE_BAD_REQUEST, "invalid-jid", (slice){ 0 });
    struct ps_error e = ps_may_subscribe(&n->config, &who);
    if (e.error != SE_NONE)
        return ps_fail_with(op, &e);
    if (old != NULL && old->state == PS_PENDING)
        return ps_fail(op, SE_NOT_AUTHORIZED, "pending-subscription", (slice){ 0 });
    if (op->req.has_form && !ps_options_submit(&deliver, &op->req.form))
        return invalid_options(op);
    if (old == NULL && (n->subscriber_count >= setting_int(op->service->kind->subscriptions_max) ||
                        has_many(n, &op->req.jid, NULL, 0) ||
                        !ps_maker_has_room(n, ps_address_bytes(op->req.jid.full))))
        return ps_fail(op, SE_POLICY_VIOLATION, "too-many-subscriptions", (slice){ 0 });
    make_subid(n, op->req.jid.full, subid);
    op->item.id = old != NULL ? slice_of(old->subid) : slice_dup(op->tmp, slice_of(subid));
    op->deliver = deliver;
    bool is_new = old == NULL || old->state == PS_OFFERED;
    op->state = is_new ? state_for(n, &who) : (enum ps_state)old->state;
    op->batch = pubsub_subs_write_batch(op);
    store_as(op, op->req.jid.full, op->item.id, op->state, deliver);
    return PS_COMMIT;
}

static enum ps_step answer_subscription(struct ps_op *op, const struct ps_subscriber *s)
{
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open(&x, "pubsub", NS_PUBSUB);
    ps_write_subscription(&x, op->node, subscriber_jid(s), s);
    return ps_answer_xml(op, &x);
}

static void apply_subscribe(struct ps_op *op)
{
    struct ps_node *n = op->node;
    const struct ps_subscriber *old = ps_subscriber(n, op->req.jid.full);
    bool is_new = old == NULL || old->state == PS_OFFERED;
    struct ps_subscriber *s = ps_subscriber_make(op->req.jid.full, op->item.id, op->state);
    s->deliver = op->deliver;
    ps_subscriber_put(n, s);
    answer_subscription(op, s);
    if (!is_new)
        return;
    if (s->state == PS_PENDING) {
        ps_ask_owners(n, s);
        return;
    }
    if (n->config.notify_sub)
        ps_tell_owners(n, s);
    if (n->config.send_last != PS_NEVER && s->deliver)
        ps_give_last(n, subscriber_jid(s));
}

/* The subscription a request is about; the error is answered if there is none. */
static struct ps_subscriber *pubsub_subs_named(struct ps_op *op)
{
    struct ps_subscriber *s = ps_subscriber(op->node, op->req.jid.full);
    struct ps_actor who = ps_actor_of(op->node, op->from);
    bool owner = ps_may_own(&who).error == SE_NONE;
    ensure(op->node != NULL && op->node->nid != 0);
    if (!owner && !slice_eq(jid_bare(&op->req.jid), ps_from_bare(op)))
        ps_fail(op, SE_FORBIDDEN, NULL, (slice){ 0 });
    else if (s == NULL)
        ps_fail(op, SE_UNEXPECTED_REQUEST, "not-subscribed", (slice){ 0 });
    else if (op->req.subid.len > 0 && !slice_is(op->req.subid, s->subid))
        ps_fail(op, SE_NOT_ACCEPTABLE, "invalid-subid", (slice){ 0 });
    else
        return s;
    return NULL;
}

static enum ps_step run_unsubscribe(struct ps_op *op)
{
    ensure(op->batch == NULL);
    if (pubsub_subs_named(op) == NULL)
        return PS_ANSWERED;
    op->batch = pubsub_subs_write_batch(op);
    ps_store_unsubscribe(op->batch, op->node, op->req.jid.full);
    return PS_COMMIT;
}

static void apply_unsubscribe(struct ps_op *op)
{
    struct ps_node *n = op->node;
    struct ps_subscriber *s = ps_subscriber(n, op->req.jid.full);
    if (s != NULL)
        s->state = PS_UNSUBSCRIBED;
    ps_answer(op, (slice){ 0 });
    if (s != NULL && n->config.notify_sub)
        ps_tell_owners(n, s);
    ps_subscriber_del(n, op->req.jid.full);
}

/* Options (§6.3, §6.4). */

static void open_options(struct xml_write *x, struct buf *out, const struct ps_op *op,
                         const char *element)
{
    xml_begin(x, out, XML_STANZA_MAX);
    xml_open(x, "pubsub", NS_PUBSUB);
    xml_open(x, element, NULL);
    xml_attr_some(x, "node", op->req.node);
}

static enum ps_step run_options_get(struct ps_op *op)
{
    struct buf out;
    struct xml_write x;
    const struct ps_subscriber *s = pubsub_subs_named(op);
    if (s == NULL)
        return PS_ANSWERED;
    open_options(&x, &out, op, "options");
    xml_attr(&x, "jid", subscriber_jid(s));
    xml_attr(&x, "subid", slice_of(s->subid));
    ps_options_write(&x, s->deliver);
    return ps_answer_xml(op, &x);
}

static enum ps_step run_options_set(struct ps_op *op)
{
    const struct ps_subscriber *s = pubsub_subs_named(op);
    ensure(op->batch == NULL);
    if (s == NULL)
        return PS_ANSWERED;
    if (op->req.cancelled)
        return ps_answer(op, (slice){ 0 });
    op->deliver = s->deliver;
    if (!ps_options_submit(&op->deliver, &op->req.form))
        return invalid_options(op);
    op->batch = pubsub_subs_write_batch(op);
    store_as(op, op->req.jid.full, slice_of(s->subid), s->state, op->deliver);
    return PS_COMMIT;
}

static void apply_options(struct ps_op *op)
{
    struct ps_subscriber *s = ps_subscriber(op->node, op->req.jid.full);
    if (s != NULL)
        s->deliver = op->deliver;
    ps_answer(op, (slice){ 0 });
}

static enum ps_step run_options_default(struct ps_op *op)
{
    struct buf out;
    struct xml_write x;
    if (op->req.node.len > 0 && ps_node_find(op->service, op->req.node) == NULL)
        return ps_fail(op, SE_ITEM_NOT_FOUND, NULL, (slice){ 0 });
    open_options(&x, &out, op, "default");
    ps_options_write(&x, true);
    return ps_answer_xml(op, &x);
}

/* What an entity is subscribed to (§5.6). */

static void write_own(struct xml_write *x, const struct ps_node *n, slice bare)
{
    const struct ps_subscriber *s = ps_subscribers_of(n, bare);
    for (; s != NULL; s = s->next)
        ps_write_subscription(x, n, subscriber_jid(s), s);
}

static enum ps_step run_subscriptions(struct ps_op *op)
{
    struct buf out;
    struct xml_write x;
    const struct ps_service *s = op->service;
    bool one = op->req.node.len > 0;
    const struct ps_node *n = one ? ps_node_find(s, op->req.node) : NULL;
    if (one && n == NULL)
        return ps_fail(op, SE_ITEM_NOT_FOUND, NULL, (slice){ 0 });
    open_options(&x, &out, op, "subscriptions");
    if (one) {
        write_own(&x, n, ps_from_bare(op));
        return ps_answer_xml(op, &x);
    }
    ps_charge_look(s, op->from);
    for (uint32_t i = 0; (n = map_next(&s->nodes, &i)) != NULL;)
        write_own(&x, n, ps_from_bare(op));
    return ps_answer_xml(op, &x);
}

/* What an owner sees and changes (§8.8). */

static bool pubsub_subs_owns(struct ps_op *op)
{
    struct ps_actor who = ps_actor_of(op->node, op->from);
    struct ps_error e = ps_may_own(&who);
    if (e.error != SE_NONE)
        ps_fail_with(op, &e);
    return e.error == SE_NONE;
}

static enum ps_step run_subscribers_get(struct ps_op *op)
{
    const struct ps_subscriber *s = NULL;
    struct buf out;
    struct xml_write x;
    if (!pubsub_subs_owns(op))
        return PS_ANSWERED;
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open(&x, "pubsub", NS_PUBSUB_OWNER);
    xml_open_with(&x, "subscriptions", NULL, "node", op->node->name);
    for (uint32_t i = 0; (s = ps_subscriber_next(op->node, &i, s)) != NULL;) {
        xml_open_with(&x, "subscription", NULL, "jid", subscriber_jid(s));
        xml_attr(&x, "subid", slice_of(s->subid));
        xml_attr(&x, "subscription", slice_of(ps_state_name((enum ps_state)s->state)));
        xml_close(&x);
    }
    return ps_answer_xml(op, &x);
}

/* Entries of a full list can still be changed and removed. */
static bool pubsub_subs_too_many(const struct ps_op *op)
{
    int64_t count = op->node->subscriber_count, more = 0, bytes = 0;
    for (unsigned i = 0; i < op->req.change_count; i++) {
        const struct ps_change *c = &op->req.changes[i];
        if (c->state == PS_UNSUBSCRIBED || ps_subscriber(op->node, c->jid.full) != NULL)
            continue;
        if (has_many(op->node, &c->jid, op->req.changes, i))
            return true;
        more++;
        bytes += ps_address_bytes(c->jid.full);
    }
    if (!ps_maker_has_room(op->node, bytes))
        return true;
    return more > 0 && count + more > setting_int(op->service->kind->subscriptions_max);
}

/* It is who logged in here: others who send for an account have its bare address. */
static bool is_administrator(const struct ps_op *op)
{
    const struct stanza *st = op->iq == NULL ? NULL : op->iq->st;
    slice by = ps_from_bare(op);
    return st != NULL && st->from_len > st->from_bare_len &&
           node_serves(worker_node(op->service->worker), jid_split(by).domain) && admins_has(by);
}

/* §8.8.4 leaves it to the service whether an owner may subscribe somebody else. Here the other user
 * must agree by subscribing, so that nobody gets unwanted notifications. Consent is assumed if the
 * address is the owner's, has requested or made a subscription, or sees the presence of the account
 * whose node it is (XEP-0163 §4.1). Administrators need no consent, and components act for the
 * addresses of their domain. */
static bool has_agreed(const struct ps_op *op, const struct jid *jid,
                       const struct ps_subscriber *old)
{
    const struct ps_service *s = op->service;
    slice by = ps_from_bare(op), bare = jid_bare(jid);
    struct jid owner = jid_split(by);
    if (slice_eq(bare, by) || is_administrator(op) || (old != NULL && old->state != PS_OFFERED))
        return true;
    if (s->account != NULL && roster_is_seen(s->account, bare))
        return true;
    return slice_eq(owner.domain, jid->domain) && remote_known(s->worker, jid->domain);
}

/* The state that a change by an owner leads to. */
static enum ps_state agreed_state(const struct ps_op *op, const struct ps_change *c)
{
    const struct ps_subscriber *old = ps_subscriber(op->node, c->jid.full);
    bool asks = c->state == PS_SUBSCRIBED || c->state == PS_PENDING;
    return asks && !has_agreed(op, &c->jid, old) ? PS_OFFERED : c->state;
}

static enum ps_step run_subscribers_set(struct ps_op *op)
{
    struct ps_node *n = op->node;
    if (!pubsub_subs_owns(op))
        return PS_ANSWERED;
    if (pubsub_subs_too_many(op))
        return ps_fail(op, SE_POLICY_VIOLATION, "too-many-subscriptions", (slice){ 0 });
    op->batch = pubsub_subs_write_batch(op);
    for (unsigned i = 0; i < op->req.change_count; i++) {
        struct ps_change *c = &op->req.changes[i];
        const struct ps_subscriber *old = ps_subscriber(n, c->jid.full);
        c->state = agreed_state(op, c);
        if (c->state == PS_UNSUBSCRIBED) {
            ps_store_unsubscribe(op->batch, n, c->jid.full);
            continue;
        }
        struct ps_subscriber *s = new_subscriber(n, c->jid.full, c->state);
        if (old != NULL)
            memcpy(s->subid, old->subid, sizeof s->subid);
        s->deliver = old == NULL || old->deliver;
        ps_store_subscriber(op->batch, n, s);
        mem_free(&s);
    }
    return PS_COMMIT;
}

/* One change that is stored: applied, and told to whom it is about (§8.8.4). */
static void apply_change(struct ps_op *op, const struct ps_change *c)
{
    struct ps_node *n = op->node;
    slice jid = c->jid.full;
    enum ps_state state = c->state;
    struct ps_subscriber *s = ps_subscriber(n, jid);
    bool was = s != NULL && s->state == PS_SUBSCRIBED;
    if (state == PS_UNSUBSCRIBED) {
        bool known = s != NULL && s->state != PS_OFFERED;
        ps_subscriber_del(n, jid);
        if (known)
            ps_send_state(op, jid, NULL);
        return;
    }
    if (s == NULL) {
        s = new_subscriber(n, jid, state);
        ps_subscriber_put(n, s);
    }
    s->state = (uint8_t)state;
    ps_send_state(op, jid, s);
    if (!was && state == PS_SUBSCRIBED && n->config.send_last != PS_NEVER)
        ps_give_last(n, jid);
}

static void apply_subscribers(struct ps_op *op)
{
    ps_answer(op, (slice){ 0 });
    for (unsigned i = 0; i < op->req.change_count; i++)
        apply_change(op, &op->req.changes[i]);
}

const struct ps_verb_row ps_subscription_verbs[] = {
    { PS_SUBSCRIBE, true, true, false, run_subscribe, apply_subscribe, NULL },
    { PS_UNSUBSCRIBE, true, true, false, run_unsubscribe, apply_unsubscribe, NULL },
    { PS_OPTIONS_GET, true, true, false, run_options_get, NULL, NULL },
    { PS_OPTIONS_SET, true, true, false, run_options_set, apply_options, NULL },
    { PS_OPTIONS_DEFAULT, false, false, false, run_options_default, NULL, NULL },
    { PS_SUBSCRIPTIONS, false, false, false, run_subscriptions, NULL, NULL },
    { PS_SUBSCRIBERS_GET, true, true, false, run_subscribers_get, NULL, NULL },
    { PS_SUBSCRIBERS_SET, true, true, false, run_subscribers_set, apply_subscribers, NULL },
    { 0 },
};

/* An owner's answer to a request for authorization (§8.6): a message with a form; it is done as the
 * change of a subscription that the owner could have asked for. */

bool ps_authorization_read(struct form *f, const struct stanza *st, struct arena *tmp)
{
    struct elem e;
    return stanza_child(st, KNOWN_DATA_FORM, &e) && form_parse(f, &e, tmp) &&
           f->kind == FORM_SUBMIT && slice_is(f->form_type, NS_PUBSUB "#subscribe_authorization");
}

void ps_authorize(struct ps_service *s, slice from, struct form *f)
{
    slice node = { 0 }, jid = { 0 };
    bool allow = false;
    struct buf xml;
    struct xml_write x;
    form_text(f, "pubsub#node", &node);
    form_text(f, "pubsub#subscriber_jid", &jid);
    form_bool(f, "pubsub#allow", &allow);
    if (f->error != SE_NONE || node.len == 0 || jid.len == 0)
        return;
    xml_begin(&x, &xml, XML_STANZA_MAX);
    xml_open(&x, "pubsub", NS_PUBSUB_OWNER);
    xml_open_with(&x, "subscriptions", NULL, "node", node);
    xml_open_with(&x, "subscription", NULL, "jid", jid);
    xml_attr(&x, "subscription", allow ? SLICE("subscribed") : SLICE("none"));
    xml_close_all(&x);
    slice request = buf_fit(&xml);
    if (request.len > 0)
        ps_request_from(s, from, request);
    buf_fini(&xml);
}
