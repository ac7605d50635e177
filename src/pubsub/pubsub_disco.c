#include "pubsub/pubsub_disco.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/stage.h"
#include "home/here.h"
#include "presence/presence.h"
#include "pubsub/pubsub_access.h"
#include "pubsub/pubsub_config.h"
#include "pubsub/pubsub_contacts.h"
#include "pubsub/pubsub_model.h"
#include "pubsub/pubsub_op.h"
#include "pubsub/pubsub_store.h"
#include "session/session.h"
#include "session/sessions.h"
#include "store/store.h"
#include "talk/access.h"
#include "talk/iq.h"
#include "xmpp/form.h"
#include "xmpp/ns.h"

#define PS(name) NS_PUBSUB "#" name
#define COMMON                                                                                     \
    NS_PUBSUB, PS("access-authorize"), PS("access-open"), PS("access-presence"),                   \
        PS("access-roster"), PS("access-whitelist"), PS("config-node"), PS("config-node-max"),     \
        PS("create-and-configure"), PS("create-nodes"), PS("delete-items"), PS("delete-nodes"),    \
        PS("instant-nodes"), PS("item-ids"), PS("last-published"), PS("manage-subscriptions"),     \
        PS("member-affiliation"), PS("meta-data"), PS("modify-affiliations"), PS("multi-items"),   \
        PS("outcast-affiliation"), PS("persistent-items"), PS("publish"),                          \
        PS("publish-only-affiliation"), PS("publish-options"), PS("publisher-affiliation"),        \
        PS("purge-nodes"), PS("retract-items"), PS("retrieve-affiliations"),                       \
        PS("retrieve-default"), PS("retrieve-default-sub"), PS("retrieve-items"),                  \
        PS("retrieve-subscriptions"), PS("rsm"), PS("subscribe"),                                  \
        PS("subscription-notifications"), PS("subscription-options"),                              \
        "http://jabber.org/protocol/rsm"

const char *const ps_features_pep[] = {
    COMMON,
    PS("auto-create"),
    PS("auto-subscribe"),
    PS("filtered-notifications"),
    PS("presence-notifications"),
    PS("presence-subscribe"),
    NULL,
};
const char *const ps_features_host[] = { COMMON, NULL };

static bool is_info(const struct iq *iq) { return slice_is(iq->payload.ns_uri, NS_DISCO_INFO); }

static bool may_read(const struct ps_node *n, const struct ps_actor *who)
{
    return ps_may_read(&n->config, who).error == SE_NONE;
}

/* Nodes whose owner approves subscribers are shown, too: otherwise nobody could request a
 * subscription (§4.5, §5.2). */
static bool pubsub_disco_may_see(const struct ps_node *n, const struct stanza *st)
{
    struct ps_actor who = ps_actor_of(n, stanza_from(st));
    return may_read(n, &who) || (n->config.access == PS_AUTHORIZE &&
                                 ps_may_subscribe(&n->config, &who).error == SE_NONE);
}

static void open_query(struct xml_write *x, struct buf *out, const char *ns, slice node)
{
    xml_begin(x, out, XML_STANZA_MAX);
    xml_open(x, "query", ns);
    xml_attr_some(x, "node", node);
}

/* A node that is not there and one that strangers must not see look alike, and to strangers like a
 * node of an account that does not exist (XEP-0030 §8; ext/disco.c). */
static void answer_missing(struct iq *iq)
{
    struct buf out;
    struct xml_write x;
    bool told = iq->target == IQ_TO_HOST || access_presence(iq);
    if (told || is_info(iq)) {
        iq_error(iq, told ? SE_ITEM_NOT_FOUND : SE_SERVICE_UNAVAILABLE, (slice){ 0 });
        return;
    }
    open_query(&x, &out, NS_DISCO_ITEMS, elem_attr(&iq->payload, "node", iq->tmp));
    iq_result_xml(iq, &x);
}

/* §5.3, §5.4 */

static void put_affiliates(struct xml_write *x, const struct ps_node *n, const char *var,
                           enum ps_affiliation which)
{
    const struct ps_affiliate *a;
    form_put_open(x, var, FORM_JID_MULTI);
    if (which == PS_OWNER && n->service->account != NULL)
        form_value(x, n->service->jid);
    for (uint32_t i = 0; (a = map_next(&n->affiliates, &i)) != NULL;)
        if (a->affiliation == which)
            form_value(x, (slice){ a->jid, a->len });
    form_field_close(x);
}

static void pubsub_disco_answer_info(struct iq *iq, const struct ps_node *n)
{
    struct buf out;
    struct xml_write x;
    char stamp[CLOCK_STAMP_LEN];
    open_query(&x, &out, NS_DISCO_INFO, n->name);
    xml_raw(&x, SLICE("<identity category='pubsub' type='leaf'/><feature var='" NS_PUBSUB "'/>"
                      "<feature var='" NS_DISCO_INFO "'/><feature var='" NS_DISCO_ITEMS "'/>"));
    form_open(&x, FORM_RESULT, NS_PUBSUB "#meta-data");
    ps_config_write_meta(&x, &n->config);
    clock_stamp(stamp, (uint64_t)n->nid); /* a node's number is when it was made, in us */
    form_put(&x, "pubsub#creation_date", slice_of(stamp));
    form_put(&x, "pubsub#creator", ps_creator(n));
    put_affiliates(&x, n, "pubsub#owner", PS_OWNER);
    put_affiliates(&x, n, "pubsub#publisher", PS_PUBLISHER);
    form_put_int(&x, "pubsub#num_subscribers", n->subscriber_count);
    form_close(&x);
    iq_result_xml(iq, &x);
}

/* §5.2 */

struct resources {
    struct xml_write *x;
    slice viewer;
};

static void write_resource(struct session *s, void *arg)
{
    const struct resources *r = arg;
    if (!stage_view(s, r->viewer))
        return;
    xml_empty_with(r->x, "item", NULL, "jid", session_jid(s));
}

static void answer_nodes(struct iq *iq, const struct ps_service *s)
{
    struct buf out;
    struct xml_write x;
    const struct ps_node *n;
    ps_charge_look(s, stanza_from(iq->st));
    open_query(&x, &out, NS_DISCO_ITEMS, (slice){ 0 });
    if (s->account != NULL && access_presence(iq))
        sessions_each(s->account, SESSIONS_AVAILABLE, write_resource,
                      &(struct resources){ &x, stanza_from_bare(iq->st) });
    for (uint32_t i = 0; (n = map_next(&s->nodes, &i)) != NULL;) {
        if (n->nid == 0 || !pubsub_disco_may_see(n, iq->st))
            continue;
        xml_open_with(&x, "item", NULL, "jid", s->jid);
        xml_attr(&x, "node", n->name);
        xml_attr_some(&x, "name", n->config.text[PS_TITLE]);
        xml_close(&x);
    }
    iq_result_xml(iq, &x);
}

/* §5.5 */

struct listing {
    struct iq *iq;
    uint64_t before; /* what is older has expired */
};

static void items_found(void *arg, enum store_result result, const struct store_batch *b)
{
    const struct listing *l = arg;
    struct iq *iq = l->iq;
    struct buf out;
    struct xml_write x;
    if (result != STORE_OK) {
        iq_error(iq, stanza_error_of(err_of_store(result)), (slice){ 0 });
        return;
    }
    open_query(&x, &out, NS_DISCO_ITEMS, elem_attr(&iq->payload, "node", iq->tmp));
    for (uint32_t i = store_row_count(b, 0); i > 0; i--) {
        if ((uint64_t)store_int(b, 0, i - 1, 1) < l->before)
            continue;
        xml_open_with(&x, "item", NULL, "jid", stanza_to_bare(iq->st));
        xml_attr(&x, "name", store_text(b, 0, i - 1, 0));
        xml_close(&x);
    }
    iq_result_xml(iq, &x);
}

static void pubsub_disco_read_items(struct iq *iq, const struct ps_node *n)
{
    const struct ps_service *s = n->service;
    struct store_batch *b = store_read(worker_store(s->worker), (uint64_t)s->owner);
    STORE_ADD(b, &ps_stmt_index, STORE_ANY_ROWS, SV_I(s->owner), SV_I(n->nid));
    struct listing *l = arena_new(iq->tmp, struct listing, 1);
    *l = (struct listing){ iq, ps_expired_before(n, loop_wall_us(worker_loop(s->worker))) };
    store_submit(b, worker_loop(s->worker), 0, items_found, l);
}

static void answer_about(struct iq *iq, struct ps_service *s)
{
    slice node = elem_attr(&iq->payload, "node", iq->tmp);
    if (node.len == 0) {
        answer_nodes(iq, s);
        return;
    }
    const struct ps_node *n = ps_node_find(s, node);
    if (n == NULL || !pubsub_disco_may_see(n, iq->st)) {
        answer_missing(iq);
        return;
    }
    struct ps_actor who = ps_actor_of(n, stanza_from(iq->st));
    if (is_info(iq))
        pubsub_disco_answer_info(iq, n);
    else if (!may_read(n, &who))
        iq_error(iq, SE_NOT_AUTHORIZED, (slice){ 0 });
    else
        pubsub_disco_read_items(iq, n);
}

/* Nodes that only contacts of their owners may see: their homes are asked about the asker first
 * (pubsub_contacts.c). Of more nodes than LOOK_NODES_MAX some are not listed. */

enum { LOOK_NODES_MAX = 256 };

struct looked {
    struct look *of;
    int64_t nid;
    slice name;
    struct ps_contacts *contacts;
};
struct look {
    struct iq *iq;
    struct ps_service *service; /* of a host: it stays */
    struct arena *arena;        /* holds this */
    unsigned count, left;
    enum stanza_error failed;
    struct looked node[LOOK_NODES_MAX];
};

static struct ps_node *looked_at(const struct looked *k)
{
    struct ps_node *n = ps_node_find(k->of->service, k->name);
    return n != NULL && n->nid == k->nid ? n : NULL; /* NULL: deleted meanwhile */
}

static void show_contacts(struct look *l, bool show)
{
    for (unsigned i = 0; i < l->count; i++) {
        struct ps_node *n = looked_at(&l->node[i]);
        if (n != NULL)
            n->contacts = show ? l->node[i].contacts : NULL;
    }
}

static void look_end(struct look *l)
{
    struct arena *arena = l->arena;
    show_contacts(l, true);
    if (l->failed == SE_NONE)
        answer_about(l->iq, l->service);
    else
        iq_error(l->iq, l->failed, SLICE("an owner's contact list cannot be read now"));
    show_contacts(l, false);
    for (unsigned i = 0; i < l->count; i++)
        ps_contacts_free(&l->node[i].contacts);
    arena_destroy(&arena);
}

static void looked(void *arg, enum stanza_error e)
{
    struct looked *k = arg;
    if (e != SE_NONE)
        k->of->failed = e;
    ensure(k->of->left > 0);
    if (--k->of->left == 0)
        look_end(k->of);
}

static void pubsub_disco_look_at(struct look *l, const struct ps_node *n)
{
    slice asker = stanza_from_bare(l->iq->st);
    if (l->count == LOOK_NODES_MAX || n->nid == 0 || !ps_contacts_needed(n, &n->config) ||
        ps_affiliate(n, asker) != NULL)
        return;
    struct looked *k = &l->node[l->count++];
    *k = (struct looked){ l, n->nid, slice_dup(l->arena, n->name), ps_contacts_create(1) };
    ps_contacts_add(k->contacts, asker);
    l->left++;
    ps_contacts_ask(k->contacts, n, &n->config, looked, k);
}

static void ready(struct ps_op *op, enum stanza_error e)
{
    struct iq *iq = op->arg;
    slice node = elem_attr(&iq->payload, "node", iq->tmp);
    struct ps_service *s = op->service;
    const struct ps_node *n = node.len > 0 ? ps_node_find(s, node) : NULL;
    if (e != SE_NONE) {
        iq_error(iq, e, (slice){ 0 });
        return;
    }
    if (s->account != NULL) {
        answer_about(iq, s);
        return;
    }
    struct arena *arena = arena_create(0);
    struct look *l = arena_new(arena, struct look, 1);
    *l = (struct look){ .iq = iq, .service = s, .arena = arena };
    if (n != NULL)
        pubsub_disco_look_at(l, n);
    for (uint32_t i = 0; node.len == 0 && (n = map_next(&s->nodes, &i)) != NULL;)
        pubsub_disco_look_at(l, n);
    if (l->left == 0)
        look_end(l);
}

bool ps_disco_asks(const struct iq *iq, slice node) { return node.len > 0 || !is_info(iq); }

void ps_disco(struct iq *iq, struct ps_service *s) { ps_when_ready(s, ready, iq_hold(iq)); }
