#include "ext/pubsub/pubsub_store.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/metric.h"
#include "base/setting.h"
#include "ext/pubsub/pubsub.h"
#include "ext/pubsub/pubsub_access.h"
#include "ext/pubsub/pubsub_arrive.h"
#include "ext/pubsub/pubsub_config.h"
#include "ext/pubsub/pubsub_contacts.h"
#include "ext/pubsub/pubsub_event.h"
#include "ext/pubsub/pubsub_leavers.h"
#include "ext/pubsub/pubsub_model.h"
#include "ext/pubsub/pubsub_op.h"
#include "ext/pubsub/pubsub_request.h"
#include "home/here.h"
#include "im/account.h"
#include "im/feature.h"

#define NODE_COLUMNS(i) "owner " i " NOT NULL, node TEXT NOT NULL, nid " i " NOT NULL, "
#define TABLES(i, tail)                                                                            \
    "CREATE TABLE pubsub_node(" NODE_COLUMNS(                                                      \
        i) "creator TEXT NOT NULL, config TEXT NOT NULL, "                                         \
           "PRIMARY KEY(owner, node))" tail ";"                                                    \
           "CREATE TABLE pubsub_item(owner " i " NOT NULL, nid " i " NOT NULL, id TEXT NOT NULL, " \
           "at_us " i " NOT NULL, bytes " i                                                        \
           " NOT NULL, publisher TEXT NOT NULL, xml TEXT NOT NULL, "                               \
           "PRIMARY KEY(owner, nid, id))" tail ";"                                                 \
           "CREATE TABLE pubsub_affiliation(owner " i " NOT NULL, nid " i " NOT NULL, "            \
           "jid TEXT NOT NULL, affiliation " i " NOT NULL, PRIMARY KEY(owner, nid, jid))" tail ";" \
           "CREATE TABLE pubsub_subscription(owner " i " NOT NULL, nid " i " NOT NULL, "           \
           "jid TEXT NOT NULL, state " i " NOT NULL, deliver " i                                   \
           " NOT NULL, subid TEXT NOT NULL, "                                                      \
           "PRIMARY KEY(owner, nid, jid))" tail

/* What an account has at nodes of others: asked when it is deleted. */
#define INDEXES                                                                                    \
    "CREATE INDEX pubsub_affiliation_jid ON pubsub_affiliation(jid);"                              \
    "CREATE INDEX pubsub_subscription_jid ON pubsub_subscription(jid);"

static const struct store_migration migrations[] = {
    { 1, TABLES("INTEGER", " WITHOUT ROWID"), TABLES("BIGINT", "") },
    { 2, INDEXES, INDEXES },
    { 0 },
};

#define STMT(var, stmt_name, text, stmt_params, stmt_cols)                                         \
    struct store_stmt var = {                                                                      \
        .name = stmt_name, .sql = text, .params = stmt_params, .cols = stmt_cols                   \
    }

/* Whether an account has nodes, and which, by its address: it need not be loaded. */
STMT(ps_stmt_any, "pubsub.nodes_of",
     "SELECT n.node FROM account a JOIN pubsub_node n ON n.owner = a.id "
     "WHERE a.jid = $1 AND a.disabled = 0",
     "t", "t");
STMT(ps_stmt_last, "pubsub.last",
     "SELECT id, at_us, publisher, xml FROM pubsub_item WHERE owner = $1 AND nid = $2 "
     "ORDER BY at_us DESC LIMIT 1",
     "ii", "titt");
STMT(ps_stmt_item, "pubsub.item",
     "SELECT id, at_us, publisher, xml FROM pubsub_item WHERE owner = $1 AND nid = $2 AND id = $3",
     "iit", "titt");
STMT(ps_stmt_items, "pubsub.items",
     "SELECT id, at_us, publisher, xml FROM pubsub_item WHERE owner = $1 AND nid = $2 "
     "ORDER BY at_us DESC",
     "ii", "titt");
STMT(ps_stmt_index, "pubsub.index",
     "SELECT id, at_us, publisher, bytes FROM pubsub_item WHERE owner = $1 AND nid = $2 "
     "ORDER BY at_us",
     "ii", "titi");

static STMT(stmt_nodes, "pubsub.nodes",
            "SELECT node, nid, creator, config FROM pubsub_node WHERE owner = $1", "i", "titt");
static STMT(stmt_affiliations, "pubsub.affiliations",
            "SELECT nid, jid, affiliation FROM pubsub_affiliation WHERE owner = $1", "i", "iti");
static STMT(stmt_subscriptions, "pubsub.subscriptions",
            "SELECT nid, jid, state, deliver, subid FROM pubsub_subscription WHERE owner = $1", "i",
            "itiit");
static STMT(stmt_sizes, "pubsub.sizes",
            "SELECT nid, CAST(sum(bytes) AS BIGINT) FROM pubsub_item WHERE owner = $1 "
            "GROUP BY nid",
            "i", "ii");
#define NODE_PUT                                                                                   \
    "INSERT INTO pubsub_node(owner, node, nid, creator, config) VALUES($1, $2, $3, $4, $5) "       \
    "ON CONFLICT(owner, node) DO UPDATE SET config = excluded.config"
/* There may be a row already: of a creation that was committed when it was given up. */
static STMT(stmt_node_make, "pubsub.node_make",
            NODE_PUT ", nid = excluded.nid, creator = excluded.creator", "ititt", "");
static STMT(stmt_node_put, "pubsub.node_put", NODE_PUT, "ititt", "");
static STMT(stmt_node_delete, "pubsub.node_delete",
            "DELETE FROM pubsub_node WHERE owner = $1 AND node = $2", "it", "");
static STMT(stmt_item_put, "pubsub.item_put",
            "INSERT INTO pubsub_item(owner, nid, id, at_us, bytes, publisher, xml) "
            "VALUES($1, $2, $3, $4, $5, $6, $7) ON CONFLICT(owner, nid, id) DO UPDATE SET "
            "at_us = excluded.at_us, bytes = excluded.bytes, publisher = excluded.publisher, "
            "xml = excluded.xml",
            "iitiitt", "");
static STMT(stmt_item_delete, "pubsub.item_delete",
            "DELETE FROM pubsub_item WHERE owner = $1 AND nid = $2 AND id = $3", "iit", "");
static STMT(stmt_purge, "pubsub.purge", "DELETE FROM pubsub_item WHERE owner = $1 AND nid = $2",
            "ii", "");
static STMT(stmt_affiliation_put, "pubsub.affiliation_put",
            "INSERT INTO pubsub_affiliation(owner, nid, jid, affiliation) VALUES($1, $2, $3, $4) "
            "ON CONFLICT(owner, nid, jid) DO UPDATE SET affiliation = excluded.affiliation",
            "iiti", "");
static STMT(stmt_affiliation_delete, "pubsub.affiliation_delete",
            "DELETE FROM pubsub_affiliation WHERE owner = $1 AND nid = $2 AND jid = $3", "iit", "");
static STMT(stmt_affiliations_delete, "pubsub.affiliations_delete",
            "DELETE FROM pubsub_affiliation WHERE owner = $1 AND nid = $2", "ii", "");
static STMT(stmt_subscription_put, "pubsub.subscription_put",
            "INSERT INTO pubsub_subscription(owner, nid, jid, state, deliver, subid) "
            "VALUES($1, $2, $3, $4, $5, $6) ON CONFLICT(owner, nid, jid) DO UPDATE SET "
            "state = excluded.state, deliver = excluded.deliver, subid = excluded.subid",
            "iitiit", "");
static STMT(stmt_subscription_delete, "pubsub.subscription_delete",
            "DELETE FROM pubsub_subscription WHERE owner = $1 AND nid = $2 AND jid = $3", "iit",
            "");
static STMT(stmt_subscriptions_delete, "pubsub.subscriptions_delete",
            "DELETE FROM pubsub_subscription WHERE owner = $1 AND nid = $2", "ii", "");
static STMT(stmt_remove_nodes, "pubsub.remove_nodes", "DELETE FROM pubsub_node WHERE owner = $1",
            "i", "");
static STMT(stmt_remove_items, "pubsub.remove_items", "DELETE FROM pubsub_item WHERE owner = $1",
            "i", "");
static STMT(stmt_remove_affiliations, "pubsub.remove_affiliations",
            "DELETE FROM pubsub_affiliation WHERE owner = $1", "i", "");
static STMT(stmt_remove_subscriptions, "pubsub.remove_subscriptions",
            "DELETE FROM pubsub_subscription WHERE owner = $1", "i", "");

static const struct store_schema ps_schema = {
    .feature = "pubsub",
    .migrations = migrations,
    .addresses = (const struct store_address[]){ { "pubsub_node", "creator", .kind = STORE_JID },
                                                 { "pubsub_item", "publisher", .kind = STORE_JID },
                                                 { "pubsub_affiliation", "jid", .kind = STORE_JID,
                                                   .beside = "owner nid", .own = "owner" },
                                                 { "pubsub_subscription", "jid", .kind = STORE_JID,
                                                   .beside = "owner nid" },
                                                 { 0 } },
    .stmts = (struct store_stmt *const[]){ &ps_stmt_any,
                                           &ps_stmt_last,
                                           &ps_stmt_item,
                                           &ps_stmt_items,
                                           &ps_stmt_index,
                                           &stmt_nodes,
                                           &stmt_affiliations,
                                           &stmt_subscriptions,
                                           &stmt_sizes,
                                           &stmt_node_make,
                                           &stmt_node_put,
                                           &stmt_node_delete,
                                           &stmt_item_put,
                                           &stmt_item_delete,
                                           &stmt_purge,
                                           &stmt_affiliation_put,
                                           &stmt_affiliation_delete,
                                           &stmt_affiliations_delete,
                                           &stmt_subscription_put,
                                           &stmt_subscription_delete,
                                           &stmt_subscriptions_delete,
                                           &stmt_remove_nodes,
                                           &stmt_remove_items,
                                           &stmt_remove_affiliations,
                                           &stmt_remove_subscriptions,
                                           &ps_leaver_items,
                                           &ps_leaver_subscriptions,
                                           &ps_leaver_nodes,
                                           &ps_leaver_lists,
                                           &ps_leaver_affiliations,
                                           &ps_leaver_subscribed,
                                           NULL },
};

static void store_node(struct store_batch *b, const struct store_stmt *stmt,
                       const struct ps_node *n, const struct ps_config *c)
{
    const struct ps_service *s = n->service;
    struct buf text;
    ensure(n->nid != 0);
    buf_init(&text, PS_CONFIG_MAX);
    ps_config_store(&text, c, s->kind->kind);
    STORE_ADD(b, stmt, 1, SV_I(s->owner), SV_T(n->name), SV_I(n->nid), SV_T(ps_creator(n)),
              SV_T(buf_fit(&text)));
    buf_fini(&text);
}

void ps_store_made(struct store_batch *b, const struct ps_node *n, const struct ps_config *c)
{
    store_node(b, &stmt_node_make, n, c);
}

void ps_store_config(struct store_batch *b, const struct ps_node *n, const struct ps_config *c)
{
    store_node(b, &stmt_node_put, n, c);
}

void ps_store_delete_node(struct store_batch *b, const struct ps_node *n)
{
    int64_t owner = n->service->owner;
    STORE_ADD(b, &stmt_node_delete, STORE_ANY_ROWS, SV_I(owner), SV_T(n->name));
    STORE_ADD(b, &stmt_purge, STORE_ANY_ROWS, SV_I(owner), SV_I(n->nid));
    STORE_ADD(b, &stmt_affiliations_delete, STORE_ANY_ROWS, SV_I(owner), SV_I(n->nid));
    STORE_ADD(b, &stmt_subscriptions_delete, STORE_ANY_ROWS, SV_I(owner), SV_I(n->nid));
}

void ps_store_item(struct store_batch *b, const struct ps_node *n, const struct ps_item *item)
{
    ensure(n->nid != 0 && item->id.len > 0);
    STORE_ADD(b, &stmt_item_put, 1, SV_I(n->service->owner), SV_I(n->nid), SV_T(item->id),
              SV_I(item->at_us), SV_I(ps_item_bytes(item)), SV_T(item->publisher),
              SV_T(item->xml.len > 0 ? item->xml : SLICE("")));
}

void ps_store_delete_item(struct store_batch *b, const struct ps_node *n, slice id)
{
    STORE_ADD(b, &stmt_item_delete, STORE_ANY_ROWS, SV_I(n->service->owner), SV_I(n->nid),
              SV_T(id));
}

void ps_store_purge(struct store_batch *b, const struct ps_node *n)
{
    STORE_ADD(b, &stmt_purge, STORE_ANY_ROWS, SV_I(n->service->owner), SV_I(n->nid));
}

void ps_store_affiliate(struct store_batch *b, const struct ps_node *n, slice jid,
                        enum ps_affiliation a)
{
    int64_t owner = n->service->owner;
    if (a == PS_NONE)
        STORE_ADD(b, &stmt_affiliation_delete, STORE_ANY_ROWS, SV_I(owner), SV_I(n->nid),
                  SV_T(jid));
    else
        STORE_ADD(b, &stmt_affiliation_put, 1, SV_I(owner), SV_I(n->nid), SV_T(jid), SV_I(a));
}

void ps_store_subscriber(struct store_batch *b, const struct ps_node *n,
                         const struct ps_subscriber *s)
{
    STORE_ADD(b, &stmt_subscription_put, 1, SV_I(n->service->owner), SV_I(n->nid),
              SV_T(((slice){ s->jid, s->len })), SV_I(s->state), SV_I(s->deliver),
              SV_T(slice_of(s->subid)));
}

void ps_store_unsubscribe(struct store_batch *b, const struct ps_node *n, slice jid)
{
    STORE_ADD(b, &stmt_subscription_delete, STORE_ANY_ROWS, SV_I(n->service->owner), SV_I(n->nid),
              SV_T(jid));
}

void ps_store_remove(struct store_batch *b, int64_t owner)
{
    STORE_ADD(b, &stmt_remove_nodes, STORE_ANY_ROWS, SV_I(owner));
    STORE_ADD(b, &stmt_remove_items, STORE_ANY_ROWS, SV_I(owner));
    STORE_ADD(b, &stmt_remove_affiliations, STORE_ANY_ROWS, SV_I(owner));
    STORE_ADD(b, &stmt_remove_subscriptions, STORE_ANY_ROWS, SV_I(owner));
}

void ps_read_item(const struct store_batch *b, unsigned stmt, uint32_t row, struct ps_item *out)
{
    *out = (struct ps_item){ .id = store_text(b, stmt, row, 0),
                             .at_us = (uint64_t)store_int(b, stmt, row, 1),
                             .publisher = store_text(b, stmt, row, 2),
                             .xml = store_text(b, stmt, row, 3) };
}

/* Loading a service: its nodes first; the rows that belong to them are found by their number. */

static slice nid_key(const void *item)
{
    const struct ps_node *n = item;
    return (slice){ (const char *)&n->nid, sizeof n->nid };
}

static struct ps_node *by_nid(const struct map *m, int64_t nid)
{
    return map_get(m, (slice){ (const char *)&nid, sizeof nid });
}

static void load_nodes(struct ps_service *s, const struct store_batch *b, struct map *numbers)
{
    for (uint32_t i = 0; i < store_row_count(b, 0); i++) {
        struct ps_config config;
        slice name = store_text(b, 0, i, 0), creator = store_text(b, 0, i, 2);
        int64_t nid = store_int(b, 0, i, 1);
        if (nid <= 0 || name.len > PS_ID_MAX || by_nid(numbers, nid) != NULL)
            continue; /* damaged */
        struct ps_node *n = ps_node_get(s, name);
        ps_config_load(&config, s->kind->kind, store_text(b, 0, i, 3));
        ps_node_load(n, nid, creator, &config);
        map_put(numbers, n);
    }
}

static bool is_jid_len(slice jid) { return jid.len > 0 && jid.len <= JID_MAX; }

static void pubsub_store_load_affiliations(const struct store_batch *b, const struct map *numbers)
{
    for (uint32_t i = 0; i < store_row_count(b, 1); i++) {
        struct ps_node *n = by_nid(numbers, store_int(b, 1, i, 0));
        int64_t a = store_int(b, 1, i, 2);
        slice jid = store_text(b, 1, i, 1);
        if (n != NULL && a > PS_NONE && a <= PS_OWNER_SHARING && is_jid_len(jid))
            ps_affiliate_put(n, jid, (enum ps_affiliation)a);
    }
}

static void load_subscriptions(const struct store_batch *b, const struct map *numbers)
{
    for (uint32_t i = 0; i < store_row_count(b, 2); i++) {
        struct ps_node *n = by_nid(numbers, store_int(b, 2, i, 0));
        int64_t state = store_int(b, 2, i, 2);
        slice jid = store_text(b, 2, i, 1);
        if (n == NULL || state <= PS_UNSUBSCRIBED || state >= PS_STATES || !is_jid_len(jid))
            continue;
        struct ps_subscriber *sub =
            ps_subscriber_make(jid, store_text(b, 2, i, 4), (enum ps_state)state);
        sub->deliver = store_int(b, 2, i, 3) != 0;
        ps_subscriber_put(n, sub);
    }
}

static void service_loaded(void *arg, enum store_result result, const struct store_batch *b)
{
    struct ps_service *s = arg;
    ensure(worker_is_here(s->worker) && s->state == ACTOR_LOADING);
    if (result == STORE_OK && !s->actor.ended) {
        struct map numbers;
        map_init(&numbers, nid_key);
        load_nodes(s, b, &numbers);
        pubsub_store_load_affiliations(b, &numbers);
        load_subscriptions(b, &numbers);
        for (uint32_t i = 0; i < store_row_count(b, 3); i++) {
            struct ps_node *n = by_nid(&numbers, store_int(b, 3, i, 0));
            int64_t bytes = store_int(b, 3, i, 1);
            if (n == NULL || bytes < 0)
                continue;
            ps_node_grew(n, bytes);
        }
        map_fini(&numbers);
    }
    actor_loaded(&s->actor, s->actor.ended ? E_NOTFOUND : err_of_store(result));
}

void ps_load_service(struct actor *a)
{
    struct ps_service *s = ps_service_of(a);
    ensure(s->nodes.count == 0 && !a->ended);
    struct store_batch *b = store_read(worker_store(s->worker), (uint64_t)s->owner);
    STORE_ADD(b, &stmt_nodes, STORE_ANY_ROWS, SV_I(s->owner));
    STORE_ADD(b, &stmt_affiliations, STORE_ANY_ROWS, SV_I(s->owner));
    STORE_ADD(b, &stmt_subscriptions, STORE_ANY_ROWS, SV_I(s->owner));
    STORE_ADD(b, &stmt_sizes, STORE_ANY_ROWS, SV_I(s->owner));
    store_submit(b, worker_loop(s->worker), 0, service_loaded, s);
}

const struct feature pubsub_feature = {
    .name = "pubsub",
    .schema = &ps_schema,
    .settings = (struct setting *const[]){ &ps_offline_bytes, NULL },
    .metrics = (struct metric *const[]){ &ps_events, &ps_services_loaded, NULL },
    .fans = (const struct fan_tag[]){ { '*', ps_explicit_arrived }, { 0 } },
    .worker.slot = &ps_services_slot,
    .worker.ended = ps_services_stop,
    .account.remove = ps_leaver_remove,
    .account.deleted = ps_services_forget,
    .messages = ps_contacts_messages,
};
