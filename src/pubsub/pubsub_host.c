/* pubsub_host: a publish-subscribe service for all (XEP-0060) at pubsub.<domain> of each of our
 * domains. Its state is at the home of that address; it is loaded at the first request and stays.
 */
#include "account/account.h"
#include "base/buf.h"
#include "base/setting.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/host.h"
#include "home/node.h"
#include "home/router.h"
#include "pubsub/pubsub_config.h"
#include "pubsub/pubsub_disco.h"
#include "pubsub/pubsub_model.h"
#include "pubsub/pubsub_op.h"
#include "pubsub/pubsub_store.h"
#include "pubsub/pubsub_subs.h"
#include "xmpp/form.h"
#include "xmpp/ns.h"

static struct setting enabled = {
    .name = "pubsub.enabled",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .min = 0,
    .max = 1,
    .doc = "Whether there is a publish-subscribe service (XEP-0060) at pubsub.<domain> of each "
           "domain.",
};
static const char *const create_choices[] = { "users", "nobody", NULL };
static struct setting create = {
    .name = "pubsub.create",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_CHOICE,
    .def = 0,
    .min = 0,
    .max = 1,
    .choices = create_choices,
    .doc = "Who may create nodes at pubsub.<domain>: the users of this server, or nobody.",
};
static struct setting nodes_max = {
    .name = "pubsub.nodes-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 10000,
    .min = 1,
    .max = 1000000,
    .unit = "nodes",
    .doc = "How many nodes pubsub.<domain> may have.",
};
static struct setting user_nodes_max = {
    .name = "pubsub.user-nodes-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 100,
    .min = 1,
    .max = 1000000,
    .unit = "nodes",
    .doc = "How many nodes of pubsub.<domain> one user may have created.",
};
static struct store_stmt items_beyond = {
    .name = "pubsub.items-beyond",
    .sql = PUBSUB_ITEMS_BEYOND("owner < 0"),
    .params = "i",
    .cols = "i",
};
static const struct setting_impact items_beyond_impact = { .stmt = &items_beyond,
                                                           .what = "items beyond it",
                                                           .deletes = true };
static struct setting items_max = {
    .name = "pubsub.items-max",
    .impact = &items_beyond_impact,
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 10000,
    .min = 1,
    .max = 100000,
    .unit = "items",
    .doc = "How many items a node of pubsub.<domain> may keep; what clients mean by `max`. "
           "The next item that is published to a node deletes the oldest beyond it.",
};
static struct setting item_bytes = {
    .name = "pubsub.item-bytes",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 256 << 10,
    .min = 1 << 10,
    .max = 4 << 20,
    .doc = "The largest payload of an item that is published to pubsub.<domain>. Stanzas have a "
           "limit of their own: c2s.stanza-bytes.",
};
static struct setting bytes_max = {
    .name = "pubsub.bytes-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 1ll << 30,
    .min = 1 << 20,
    .max = 1ll << 40,
    .doc = "How much all items of pubsub.<domain> may take together.",
};
static struct setting user_bytes = {
    .name = "pubsub.user-bytes",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 64 << 20,
    .min = 64 << 10,
    .max = 1ll << 40,
    .doc = "How much the nodes of pubsub.<domain> that one user has created may take: their items, "
           "the texts of their configurations, and the addresses that are subscribed to them or "
           "have an affiliation. So one user cannot use up pubsub.bytes-max.",
};
static struct setting subscriptions_max = {
    .name = "pubsub.subscriptions-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 10000,
    .min = 1,
    .max = 1000000,
    .unit = "addresses",
    .doc = "How many subscriptions, and how many affiliations, a node of pubsub.<domain> may have.",
};

static bool pubsub_host_may_create(struct worker *w, slice bare)
{
    slice local, domain;
    return setting_int(&create) == 0 && slice_cut(bare, '@', &local, &domain) &&
           node_serves(worker_node(w), domain);
}

static const struct ps_service_kind kind = {
    .kind = PS_HOST,
    .nodes_max = &nodes_max,
    .items_max = &items_max,
    .item_bytes = &item_bytes,
    .bytes_max = &bytes_max,
    .subscriptions_max = &subscriptions_max,
    .user_nodes_max = &user_nodes_max,
    .user_bytes = &user_bytes,
    .may_create = pubsub_host_may_create,
};

/* `jid` is a domain: a service stays in memory. */
static struct ps_service *pubsub_host_service_of(struct worker *w, slice jid)
{
    struct ps_service *s = ps_service_find(w, jid);
    if (s == NULL) {
        s = ps_service_create(w, &kind, NULL, jid, ps_store_host(jid));
        actor_load(&s->actor);
    }
    return s;
}

static void host_request(struct iq *iq)
{
    ps_request(iq, pubsub_host_service_of(iq->worker, stanza_to_bare(iq->st)));
}

static bool pubsub_host_disco_any(struct iq *iq, slice node)
{
    if (iq->target != IQ_TO_HOST || !slice_is(slice_of(iq->host->label), "pubsub") ||
        !ps_disco_asks(iq, node))
        return false;
    ps_disco(iq, pubsub_host_service_of(iq->worker, stanza_to_bare(iq->st)));
    return true;
}

/* An owner's answer to a request for authorization. There is no service at addresses with a local
 * part, and other messages do not load the one of the domain. */
static bool takes_authorization(struct worker *w, const struct stanza *st)
{
    struct form f;
    if (st->kind != STANZA_MESSAGE || !stanza_to_is_bare(st) ||
        memchr(st->to, '@', st->to_bare_len) != NULL ||
        !ps_authorization_read(&f, st, loop_scratch(worker_loop(w))))
        return false;
    ps_authorize(pubsub_host_service_of(w, stanza_to_bare(st)), stanza_from(st), &f);
    return true;
}

static enum routed pubsub_host_receive(struct worker *w, const struct host *h, struct stanza *st,
                                       struct origin origin)
{
    (void)h;
    (void)origin;
    bool request = stanza_is_request(st);
    bool known = takes_authorization(w, st);
    if (request || (!known && st->kind == STANZA_MESSAGE && stanza_has(st, KNOWN(BODY))))
        route_error(w, st, SE_SERVICE_UNAVAILABLE, (slice){ 0 });
    stanza_unref(&st);
    return ROUTED;
}

static const struct iq_rule rules[] = {
    { TYPE_GET, NS_PUBSUB, "pubsub", IQ_TO_HOST, host_request },
    { TYPE_SET, NS_PUBSUB, "pubsub", IQ_TO_HOST, host_request },
    { TYPE_GET, NS_PUBSUB_OWNER, "pubsub", IQ_TO_HOST, host_request },
    { TYPE_SET, NS_PUBSUB_OWNER, "pubsub", IQ_TO_HOST, host_request },
    { 0 },
};

static const struct host hosts[] = {
    { .label = "pubsub",
      .category = "pubsub",
      .type = "service",
      .name = "Publish-Subscribe",
      .disco = ps_features_host,
      .enabled = &enabled,
      .iq = rules,
      .receive = pubsub_host_receive },
    { 0 },
};

static const struct store_schema pubsub_host_schema = {
    .feature = "pubsub_host",
    .migrations = (const struct store_migration[]){ { 0 } },
    .stmts = (struct store_stmt *const[]){ &items_beyond, NULL },
};

const struct feature pubsub_host_feature = {
    .name = "pubsub_host",
    .xeps =
        (const struct xep[]){
            { "0060", "1.26.0", "Publish-Subscribe", "0.1.0", "services/test_pubsub",
              "a full node deletes its oldest items; no collections; one subscription for each "
              "address and node; no leases; pending subscriptions are managed by their list; if an "
              "owner subscribes another address, that is pending until the address subscribes "
              "itself; only its publisher or an owner can replace an item; access models presence "
              "and roster mean the contacts of the owners that have chosen them" },
            { 0 },
        },
    .hosts = hosts,
    .schema = &pubsub_host_schema,
    .settings =
        (struct setting *const[]){ &enabled, &create, &nodes_max, &user_nodes_max, &user_bytes,
                                   &items_max, &item_bytes, &bytes_max, &subscriptions_max, NULL },
    .disco_any = pubsub_host_disco_any,
};
