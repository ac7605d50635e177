#include "pubsub/pubsub_event.h"
#include "account/account.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/rand.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "core/stage.h"
#include "home/fan.h"
#include "home/here.h"
#include "home/node.h"
#include "home/router.h"
#include "presence/caps.h"
#include "presence/roster_view.h"
#include "pubsub/pubsub.h"
#include "pubsub/pubsub_access.h"
#include "pubsub/pubsub_arrive.h"
#include "pubsub/pubsub_config.h"
#include "pubsub/pubsub_contacts.h"
#include "pubsub/pubsub_model.h"
#include "pubsub/pubsub_op.h"
#include "pubsub/pubsub_request.h"
#include "session/session.h"
#include "session/session_input.h"
#include "xmpp/form.h"
#include "xmpp/ns.h"

enum { BEHALF_MAX = 2 * JID_MAX + 3 };

struct metric ps_events = {
    .name = "muster_pubsub_events",
    .kind = METRIC_COUNTER,
    .help = "Notifications of publish-subscribe nodes, each counted once however many get it.",
};

/* Content. */

static void open_event(struct xml_write *x, const char *element, const struct ps_node *n)
{
    xml_open(x, "event", NS_PUBSUB_EVENT);
    xml_open_with(x, element, NULL, "node", n->name);
}

static void pubsub_event_write_item(struct xml_write *x, const struct ps_node *n,
                                    const struct ps_item *item)
{
    if (item == NULL)
        return;
    xml_open_with(x, "item", NULL, "id", item->id);
    xml_attr(x, "publisher", item->publisher);
    if (n->config.deliver_payloads)
        xml_raw(x, item->xml);
    xml_close(x);
}

static void reply_to(struct xml_write *x, slice jid)
{
    xml_open_with(x, "address", NULL, "type", SLICE("replyto"));
    xml_attr(x, "jid", jid);
    xml_close(x);
}

/* pubsub#itemreply: whom answers go to (XEP-0033 §4.2). */
static void pubsub_event_write_reply(struct xml_write *x, const struct ps_node *n,
                                     const struct ps_item *item)
{
    const struct ps_affiliate *a;
    if (item == NULL || n->config.itemreply == PS_REPLY_NONE)
        return;
    xml_open(x, "addresses", NS_ADDRESS);
    if (n->config.itemreply == PS_REPLY_PUBLISHER)
        reply_to(x, item->publisher);
    else if (n->service->account != NULL)
        reply_to(x, n->service->jid);
    else
        for (uint32_t i = 0; (a = map_next(&n->affiliates, &i)) != NULL;)
            if (a->affiliation == PS_OWNER)
                reply_to(x, (slice){ a->jid, a->len });
    xml_close(x);
}

static void write_event(struct buf *out, const struct ps_node *n, enum ps_event what,
                        const struct ps_item *item, slice text)
{
    struct xml_write x;
    ensure(what != PS_EVENT_RETRACT || item != NULL);
    xml_begin(&x, out, XML_STANZA_MAX);
    switch (what) {
    case PS_EVENT_ITEM:
        open_event(&x, "items", n);
        pubsub_event_write_item(&x, n, item);
        xml_close_all(&x);
        pubsub_event_write_reply(&x, n, item);
        break;
    case PS_EVENT_RETRACT:
        open_event(&x, "items", n);
        xml_open_with(&x, "retract", NULL, "id", item->id);
        break;
    case PS_EVENT_PURGE:
        open_event(&x, "purge", n);
        break;
    case PS_EVENT_DELETE:
        open_event(&x, "delete", n);
        if (text.len > 0) {
            xml_open_with(&x, "redirect", NULL, "uri", text);
        }
        break;
    case PS_EVENT_CONFIG:
        open_event(&x, "configuration", n);
        if (n->config.deliver_payloads)
            ps_config_write(&x, &n->config);
        break;
    }
    xml_close_all(&x);
}

static enum stanza_type pubsub_event_type_of(const struct ps_node *n)
{
    static const enum stanza_type types[] = {
        [PS_HEADLINE] = TYPE_HEADLINE, [PS_NORMAL] = TYPE_NORMAL, [PS_CHAT] = TYPE_CHAT
    };
    ensure(n->config.notification < sizeof types / sizeof types[0]);
    return types[n->config.notification];
}

/* Without `to`: it is written with each receiver's own. NULL: too long. Ends the buffer. */
static struct stanza *make_typed(const struct ps_node *n, enum stanza_type type,
                                 struct buf *content)
{
    char id[17];
    rand_hex(id, 8);
    return stanza_make_buf(STANZA_MESSAGE, type, n->service->jid, (slice){ 0 }, slice_of(id),
                           content);
}

static struct stanza *make_message(const struct ps_node *n, struct buf *content)
{
    return make_typed(n, pubsub_event_type_of(n), content);
}

/* To whom. */

struct spread {
    struct ps_node *node;
    struct stanza *st;
    struct worker *worker;
};

static bool pubsub_event_is_bare(slice jid) { return memchr(jid.ptr, '/', jid.len) == NULL; }

/* XEP-0163 §4.3.3: nothing to whom the account has blocked. */
static bool pubsub_event_is_blocked(const struct ps_node *n, slice subscriber)
{
    const struct account *a = n->service->account;
    struct jid jid = jid_split(subscriber);
    return a != NULL && !slice_eq(jid_bare(&jid), a->jid) && !stage_show(a, jid_bare(&jid));
}

/* The users on whose behalf the service sends: a subscriber that has blocked one of them gets
 * nothing. */
static slice behalf_tag(const struct ps_node *n, slice by, char out[BEHALF_MAX])
{
    const slice who[] = { by, ps_creator(n) };
    size_t len = 1;
    out[0] = FAN_EXPLICIT;
    for (unsigned i = 0; i < 2; i++) {
        if (who[i].len == 0 || who[i].len > JID_MAX || (i > 0 && slice_eq(who[i], by)))
            continue;
        memcpy(out + len, who[i].ptr, who[i].len);
        out[len + who[i].len] = '\n';
        len += who[i].len + 1;
    }
    ensure(len <= BEHALF_MAX);
    return (slice){ out, len };
}

/* One body for all who are here; components get copies. */
static void pubsub_event_to_one(struct fan *f, slice jid)
{
    struct jid parts = jid_split(jid);
    if (fan_is_local(worker_node(f->worker), jid_bare(&parts)))
        fan_add_jid(f, jid);
    else
        route_send(f->worker, stanza_readdress(f->st, (slice){ 0 }, jid));
}

/* Explicit subscriptions; how many are told. */
static uint32_t to_subscribers(const struct spread *sp, slice by)
{
    const struct ps_node *n = sp->node;
    const struct ps_subscriber *s = NULL;
    char tag[BEHALF_MAX];
    uint32_t told = 0;
    struct fan f;
    if (n->subscriber_count == 0)
        return 0;
    fan_begin(&f, sp->worker, sp->st, behalf_tag(n, by, tag));
    for (uint32_t i = 0; (s = ps_subscriber_next(n, &i, s)) != NULL;) {
        slice jid = { s->jid, s->len };
        struct ps_actor who = ps_actor_of(n, jid);
        if (s->state != PS_SUBSCRIBED || !s->deliver ||
            ps_may_read(&n->config, &who).error != SE_NONE || pubsub_event_is_blocked(n, jid))
            continue;
        pubsub_event_to_one(&f, jid);
        told++;
    }
    fan_end(&f);
    return told;
}

/* To one address on somebody's behalf. Takes over st. */
static void pubsub_event_send_to(const struct ps_node *n, struct stanza *st, slice by, slice jid)
{
    char tag[BEHALF_MAX];
    struct fan f;
    if (st == NULL)
        return;
    fan_begin(&f, n->service->worker, st, behalf_tag(n, by, tag));
    pubsub_event_to_one(&f, jid);
    fan_end(&f);
    stanza_unref(&st);
}

/* §6.1: a contact that has subscribed explicitly is told once. */
static bool is_implicit(const struct ps_node *n, slice contact)
{
    const struct ps_subscriber *s = ps_subscriber(n, contact);
    if (s != NULL && s->state == PS_SUBSCRIBED)
        return false;
    struct ps_actor who = ps_actor_of(n, contact);
    return ps_may_read(&n->config, &who).error == SE_NONE;
}

static bool open_to_contacts(const struct ps_node *n)
{
    return n->affiliates.count == 0 && n->subscriber_count == 0 &&
           (n->config.access == PS_OPEN || n->config.access == PS_PRESENCE);
}

/* A contact elsewhere, by the capabilities in its presence. */
static void to_remote(slice jid, void *arg)
{
    const struct spread *sp = arg;
    const struct ps_node *n = sp->node;
    struct jid to = jid_split(jid);
    if (ps_actor_of(n, jid).presence && is_implicit(n, jid_bare(&to)))
        route_send(sp->worker, stanza_readdress(sp->st, (slice){ 0 }, jid));
}

/* XEP-0163 §4.1: contacts that see the presence of the account, and the account itself; each home
 * delivers to the sessions whose clients want it. */
static void pubsub_event_to_contacts(const struct spread *sp, slice tag)
{
    const struct ps_node *n = sp->node;
    const struct account *a = n->service->account;
    slice contact;
    bool all = open_to_contacts(n);
    struct fan f;
    fan_begin(&f, sp->worker, sp->st, tag);
    fan_add(&f, a->jid);
    for (struct roster_at at = { 0 }; roster_next(a, ROSTER_IS_SEEN, &at, &contact);)
        if (stage_show(a, contact) && (all || is_implicit(n, contact)))
            fan_add(&f, contact);
    fan_end(&f);
    caps_remotes_each(a, n->name, to_remote, &(struct spread){ sp->node, sp->st, sp->worker });
}

static slice tag_of(const struct ps_node *n, char out[PS_ID_MAX + 1])
{
    out[0] = FAN_PEP_EVENT;
    memcpy(out + 1, n->name.ptr, n->name.len);
    return (slice){ out, n->name.len + 1 };
}

static void spread(const struct ps_op *op, struct stanza *st)
{
    struct ps_node *n = op->node;
    struct spread sp = { n, st, n->service->worker };
    char tag[PS_ID_MAX + 1];
    ensure(worker_is_here(sp.worker));
    metric_add(&ps_events, 1);
    uint32_t told = to_subscribers(&sp, ps_from_bare(op));
    if (told > 0)
        session_charge(sp.worker, op->from, (uint64_t)told * st->bytes);
    if (n->service->account != NULL)
        pubsub_event_to_contacts(&sp, tag_of(n, tag));
}

void ps_notify(const struct ps_op *op, enum ps_event what, const struct ps_item *item, slice text)
{
    struct ps_node *n = op->node;
    struct buf content;
    if (!n->config.deliver_notifications)
        return;
    write_event(&content, n, what, item, text);
    struct stanza *st = make_message(n, &content);
    if (st == NULL)
        return;
    spread(op, st);
    stanza_unref(&st);
}

/* §6.1.7: the last item, with the time it was published. To a contact that has not subscribed it
 * goes like other events: its home knows which clients want it. */
void ps_send_last(struct ps_node *n, const struct ps_item *item, slice to)
{
    struct buf content;
    struct xml_write x;
    char stamp[CLOCK_STAMP_LEN], tag[PS_ID_MAX + 1];
    struct worker *w = n->service->worker;
    bool implicit =
        n->service->account != NULL && pubsub_event_is_bare(to) && ps_subscriber(n, to) == NULL;
    ensure(item != NULL && worker_is_here(w));
    write_event(&content, n, PS_EVENT_ITEM, item, (slice){ 0 });
    clock_stamp(stamp, item->at_us);
    xml_write_to(&x, &content);
    xml_empty_with(&x, "delay", NS_DELAY, "stamp", slice_of(stamp));
    struct stanza *st = make_message(n, &content);
    if (!implicit) {
        pubsub_event_send_to(n, st, item->publisher, to);
        return;
    }
    if (st == NULL)
        return;
    fan_one(w, st, tag_of(n, tag), to);
    stanza_unref(&st);
}

/* Subscriptions. */

void ps_write_subscription(struct xml_write *x, const struct ps_node *n, slice jid,
                           const struct ps_subscriber *s)
{
    enum ps_state state = s == NULL ? PS_UNSUBSCRIBED : (enum ps_state)s->state;
    xml_open_with(x, "subscription", NULL, "node", n->name);
    xml_attr(x, "jid", jid);
    xml_attr(x, "subscription", slice_of(ps_state_name(state)));
    if (s != NULL)
        xml_attr(x, "subid", slice_of(s->subid));
    xml_close(x);
}

/* About a subscriber, who is the one that speaks here. Takes over st. */
static void send_to_owners(const struct ps_node *n, struct stanza *st,
                           const struct ps_subscriber *s)
{
    const struct ps_affiliate *a;
    struct jid subscriber = jid_split((slice){ s->jid, s->len });
    char tag[BEHALF_MAX];
    struct fan f;
    if (st == NULL)
        return;
    fan_begin(&f, n->service->worker, st, behalf_tag(n, jid_bare(&subscriber), tag));
    if (n->service->account != NULL)
        pubsub_event_to_one(&f, n->service->jid);
    for (uint32_t i = 0; (a = map_next(&n->affiliates, &i)) != NULL;)
        if (a->affiliation == PS_OWNER)
            pubsub_event_to_one(&f, (slice){ a->jid, a->len });
    fan_end(&f);
    stanza_unref(&st);
}

static void subscription_event(struct buf *out, const struct ps_node *n, slice jid,
                               const struct ps_subscriber *s)
{
    struct xml_write x;
    xml_begin(&x, out, XML_STANZA_MAX);
    xml_open(&x, "event", NS_PUBSUB_EVENT);
    ps_write_subscription(&x, n, jid, s);
    xml_close(&x);
}

/* An offer is a headline: nothing is kept for those who have agreed to nothing. */
void ps_send_state(const struct ps_op *op, slice jid, const struct ps_subscriber *s)
{
    const struct ps_node *n = op->node;
    bool offer = s != NULL && s->state == PS_OFFERED;
    struct buf content;
    subscription_event(&content, n, jid, s);
    pubsub_event_send_to(n,
                         make_typed(n, offer ? TYPE_HEADLINE : pubsub_event_type_of(n), &content),
                         ps_from_bare(op), jid);
}

void ps_tell_owners(const struct ps_node *n, const struct ps_subscriber *s)
{
    struct buf content;
    subscription_event(&content, n, (slice){ s->jid, s->len }, s);
    send_to_owners(n, make_message(n, &content), s);
}

/* §8.6.1. It waits for an owner who is away, whatever the node's notifications are like. */
void ps_ask_owners(const struct ps_node *n, const struct ps_subscriber *s)
{
    static const struct form_row node_row = { .var = "pubsub#node", .label = "Node" },
                                 jid_row = { .var = "pubsub#subscriber_jid",
                                             .type = FORM_JID_SINGLE,
                                             .label = "Subscriber" },
                                 allow_row = { .var = "pubsub#allow",
                                               .type = FORM_BOOLEAN,
                                               .label = "Whether to allow the subscription" },
                                 subid_row = { .var = "pubsub#subid", .type = FORM_HIDDEN };
    struct buf content;
    struct xml_write x;
    xml_begin(&x, &content, XML_STANZA_MAX);
    form_open_titled(&x, FORM_FORM, NS_PUBSUB "#subscribe_authorization", "Subscription request",
                     NULL);
    form_ask_value(&x, &subid_row, slice_of(s->subid));
    form_ask_value(&x, &node_row, n->name);
    form_ask_value(&x, &jid_row, (slice){ s->jid, s->len });
    form_ask_value(&x, &allow_row, SLICE("0"));
    form_close(&x);
    send_to_owners(n, make_typed(n, TYPE_NORMAL, &content), s);
}

/* Extensions that follow a node. */

void ps_watches_run(const struct ps_op *op, const struct ps_item *item)
{
    struct ps_node *n = op->node;
    enum ps_by by = op->iq == NULL && op->st == NULL ? PS_BY_SERVER : PS_BY_CLIENT;
    ensure(n != NULL && n->service != NULL);
    if (n->service->account == NULL)
        return;
    FEATURES_EACH (f, watches)
        for (const struct ps_watch *row = f->watches; row->node != NULL; row++)
            if (row->changed != NULL && slice_is(n->name, row->node))
                row->changed(n->service->account, by, item);
}
