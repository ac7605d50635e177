#include "pubsub/pubsub_store.h"
#include "account/account.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/setting.h"
#include "home/here.h"
#include "pubsub/pubsub.h"
#include "pubsub/pubsub_access.h"
#include "pubsub/pubsub_config.h"
#include "pubsub/pubsub_model.h"
#include "pubsub/pubsub_request.h"

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
STMT(ps_stmt_index_page, "pubsub.index_page",
     "SELECT id, at_us, publisher, bytes FROM pubsub_item WHERE owner = $1 AND nid = $2 "
     "AND id > $3 ORDER BY id LIMIT $4",
     "iiti", "titi");

#define LIST_PAGE "WHERE owner = $1 AND (nid, jid) > ($2, $3) ORDER BY nid, jid LIMIT $4"

/* The first two columns of a row are its place: the next page begins behind it. */
static STMT(stmt_nodes, "pubsub.nodes",
            "SELECT nid, node, creator, config FROM pubsub_node WHERE owner = $1 AND node > $2 "
            "ORDER BY node LIMIT $3",
            "iti", "ittt");
static STMT(stmt_affiliations, "pubsub.affiliations",
            "SELECT nid, jid, affiliation FROM pubsub_affiliation " LIST_PAGE, "iiti", "iti");
static STMT(stmt_subscriptions, "pubsub.subscriptions",
            "SELECT nid, jid, state, deliver, subid FROM pubsub_subscription " LIST_PAGE, "iiti",
            "itiit");
static STMT(stmt_sizes, "pubsub.sizes",
            "SELECT nid, max(id), CAST(sum(bytes) AS BIGINT), CAST(count(*) AS BIGINT) FROM "
            "(SELECT nid, id, bytes FROM pubsub_item WHERE owner = $1 AND (nid, id) > ($2, $3) "
            "ORDER BY nid, id LIMIT $4) AS page GROUP BY nid ORDER BY nid",
            "iiti", "itii");

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
/* All of an account, for one reader of the four: the same columns. */
static STMT(
    given_nodes, "pubsub.given_nodes",
    "SELECT nid, CAST(0 AS BIGINT), node, config FROM pubsub_node WHERE owner = $1 ORDER BY node",
    "i", "iitt");
static STMT(given_affiliations, "pubsub.given_affiliations",
            "SELECT nid, affiliation, jid, '' FROM pubsub_affiliation WHERE owner = $1 "
            "ORDER BY nid, jid",
            "i", "iitt");
static STMT(given_subscriptions, "pubsub.given_subscriptions",
            "SELECT nid, state, jid, subid FROM pubsub_subscription WHERE owner = $1 "
            "ORDER BY nid, jid",
            "i", "iitt");
static STMT(
    given_items, "pubsub.given_items",
    "SELECT nid, CAST(0 AS BIGINT), id, xml FROM pubsub_item WHERE owner = $1 ORDER BY nid, at_us",
    "i", "iitt");
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

int64_t ps_store_host(slice domain)
{
    static const struct hash_key key = { 0x6d75737465722070, 0x7562737562000001 };
    return (int64_t)(hash_with(&key, domain) | 1ull << 63);
}

/* Items whose ids are addresses: bookmarks (XEP-0402), and what was read (XEP-0490). */
#define NAMED_BY_ADDRESS                                                                           \
    "(owner, nid) IN (SELECT owner, nid FROM pubsub_node WHERE node IN ("                          \
    "'urn:xmpp:bookmarks:1', 'urn:xmpp:mds:displayed:0'))"
#define NUMBER_OF_HOST(table)                                                                      \
    {                                                                                              \
        table, "owner", .kind = STORE_NUMBER, .number = ps_store_host                              \
    }
static const struct store_address addresses[] = {
    { "pubsub_node", "owner", .kind = STORE_NUMBER, .number = ps_store_host, .there = true },
    NUMBER_OF_HOST("pubsub_item"),
    NUMBER_OF_HOST("pubsub_affiliation"),
    NUMBER_OF_HOST("pubsub_subscription"),
    { "pubsub_node", "creator", .kind = STORE_JID },
    { "pubsub_item", "publisher", .kind = STORE_JID },
    { "pubsub_item", "id", .kind = STORE_JID, .beside = "owner nid", .only = NAMED_BY_ADDRESS },
    { "pubsub_affiliation", "jid", .kind = STORE_JID, .beside = "owner nid", .own = "owner" },
    { "pubsub_subscription", "jid", .kind = STORE_JID, .beside = "owner nid" },
    { 0 },
};

/* Nodes of hosts (their owner is negative) whose only owner (affiliation 1 or 6) is $1. */
#define ORPHANS                                                                                    \
    " WHERE (owner, nid) IN (SELECT a.owner, a.nid FROM pubsub_affiliation a WHERE a.jid = $1 "    \
    "AND a.affiliation IN (1, 6) AND a.owner < 0 AND NOT EXISTS (SELECT 1 FROM "                   \
    "pubsub_affiliation o WHERE o.owner = a.owner AND o.nid = a.nid "                              \
    "AND o.affiliation IN (1, 6) AND o.jid <> $1))"
static STMT(leaver_items, "pubsub.leaver-items", "DELETE FROM pubsub_item" ORPHANS, "t", "");
static STMT(leaver_subscriptions, "pubsub.leaver-subscriptions",
            "DELETE FROM pubsub_subscription" ORPHANS, "t", "");
static STMT(leaver_nodes, "pubsub.leaver-nodes", "DELETE FROM pubsub_node" ORPHANS, "t", "");
static STMT(leaver_lists, "pubsub.leaver-lists", "DELETE FROM pubsub_affiliation" ORPHANS, "t", "");
static STMT(leaver_affiliations, "pubsub.leaver-affiliations",
            "DELETE FROM pubsub_affiliation WHERE jid = $1", "t", "");
/* '0' is the character after '/': these are the full addresses. */
static STMT(
    leaver_subscribed, "pubsub.leaver-subscribed",
    "DELETE FROM pubsub_subscription WHERE jid = $1 OR (jid > $1 || '/' AND jid < $1 || '0')", "t",
    "");

const struct store_schema ps_schema = {
    .feature = "pubsub",
    .migrations = migrations,
    .addresses = addresses,
    .stmts = (struct store_stmt *const[]){ &ps_stmt_any,
                                           &ps_stmt_last,
                                           &ps_stmt_item,
                                           &ps_stmt_items,
                                           &ps_stmt_index,
                                           &ps_stmt_index_page,
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
                                           &given_nodes,
                                           &given_affiliations,
                                           &given_subscriptions,
                                           &given_items,
                                           &leaver_items,
                                           &leaver_subscriptions,
                                           &leaver_nodes,
                                           &leaver_lists,
                                           &leaver_affiliations,
                                           &leaver_subscribed,
                                           NULL },
};

static void store_node_as(struct store_batch *b, const struct store_stmt *stmt, int64_t owner,
                          enum ps_kind kind, const struct ps_ported *n)
{
    struct buf text;
    ensure(n->nid != 0);
    buf_init(&text, PS_CONFIG_MAX);
    ps_config_store(&text, n->config, kind);
    STORE_ADD(b, stmt, 1, SV_I(owner), SV_T(n->name), SV_I(n->nid), SV_T(n->creator),
              SV_T(buf_fit(&text)));
    buf_fini(&text);
}

static void store_node(struct store_batch *b, const struct store_stmt *stmt,
                       const struct ps_node *n, const struct ps_config *c)
{
    const struct ps_service *s = n->service;
    store_node_as(b, stmt, s->owner, s->kind->kind,
                  &(struct ps_ported){ n->name, n->nid, ps_creator(n), c });
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

void ps_store_ported(struct store_batch *b, int64_t owner, const struct ps_ported *n)
{
    store_node_as(b, &stmt_node_make, owner, PS_PEP, n);
}

void ps_store_ported_item(struct store_batch *b, int64_t owner, int64_t nid,
                          const struct ps_item *item)
{
    ensure(nid != 0 && item->id.len > 0);
    STORE_ADD(b, &stmt_item_put, 1, SV_I(owner), SV_I(nid), SV_T(item->id), SV_I(item->at_us),
              SV_I(ps_item_bytes(item)), SV_T(item->publisher),
              SV_T(item->xml.len > 0 ? item->xml : SLICE("")));
}

void ps_store_item(struct store_batch *b, const struct ps_node *n, const struct ps_item *item)
{
    ps_store_ported_item(b, n->service->owner, n->nid, item);
}

void ps_store_ported_read(struct store_batch *b, int64_t owner)
{
    STORE_ADD(b, &given_nodes, STORE_ANY_ROWS, SV_I(owner));
    STORE_ADD(b, &given_affiliations, STORE_ANY_ROWS, SV_I(owner));
    STORE_ADD(b, &given_subscriptions, STORE_ANY_ROWS, SV_I(owner));
    STORE_ADD(b, &given_items, STORE_ANY_ROWS, SV_I(owner));
}

bool ps_store_given(const struct store_batch *b, unsigned stmt, uint32_t row, struct ps_given *out)
{
    if (row >= store_row_count(b, stmt))
        return false;
    *out = (struct ps_given){ store_int(b, stmt, row, 0), store_int(b, stmt, row, 1),
                              store_text(b, stmt, row, 2), store_text(b, stmt, row, 3) };
    return true;
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

void ps_store_ported_affiliation(struct store_batch *b, int64_t owner, int64_t nid, slice jid,
                                 enum ps_affiliation a)
{
    STORE_ADD(b, &stmt_affiliation_put, 1, SV_I(owner), SV_I(nid), SV_T(jid), SV_I(a));
}

void ps_store_affiliate(struct store_batch *b, const struct ps_node *n, slice jid,
                        enum ps_affiliation a)
{
    int64_t owner = n->service->owner;
    if (a == PS_NONE)
        STORE_ADD(b, &stmt_affiliation_delete, STORE_ANY_ROWS, SV_I(owner), SV_I(n->nid),
                  SV_T(jid));
    else
        ps_store_ported_affiliation(b, owner, n->nid, jid, a);
}

void ps_store_ported_subscriber(struct store_batch *b, int64_t owner, int64_t nid,
                                const struct ps_subscriber *s)
{
    STORE_ADD(b, &stmt_subscription_put, 1, SV_I(owner), SV_I(nid),
              SV_T(((slice){ s->jid, s->len })), SV_I(s->state), SV_I(s->deliver),
              SV_T(slice_of(s->subid)));
}

void ps_store_subscriber(struct store_batch *b, const struct ps_node *n,
                         const struct ps_subscriber *s)
{
    ps_store_ported_subscriber(b, n->service->owner, n->nid, s);
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

/* Reading a service into memory, in pages: its lists may be larger than what one batch returns. */

struct load {
    struct ps_service *service;
    struct map numbers;   /* its nodes by number: what belongs to them is found by it */
    unsigned part, count; /* the part that is being read; parts in the batch */
    int64_t nid;          /* where the last page of the part ended, */
    slice *text;          /* NULL: it has had none */
};

static slice nid_key(const void *item)
{
    const struct ps_node *n = item;
    return (slice){ (const char *)&n->nid, sizeof n->nid };
}

static struct ps_node *by_nid(const struct load *l, int64_t nid)
{
    return map_get(&l->numbers, (slice){ (const char *)&nid, sizeof nid });
}

/* Rows that are damaged are left out. */

static bool is_jid_len(slice jid) { return jid.len > 0 && jid.len <= JID_MAX; }

static uint32_t load_node(struct load *l, const struct store_batch *b, unsigned stmt, uint32_t row)
{
    struct ps_service *s = l->service;
    struct ps_config config;
    int64_t nid = store_int(b, stmt, row, 0);
    slice name = store_text(b, stmt, row, 1);
    if (nid <= 0 || name.len > PS_ID_MAX || by_nid(l, nid) != NULL)
        return 1;
    struct ps_node *n = ps_node_get(s, name);
    ps_config_load(&config, s->kind->kind, store_text(b, stmt, row, 3));
    ps_node_load(n, nid, store_text(b, stmt, row, 2), &config);
    map_put(&l->numbers, n);
    return 1;
}

static uint32_t load_affiliation(struct load *l, const struct store_batch *b, unsigned stmt,
                                 uint32_t row)
{
    struct ps_node *n = by_nid(l, store_int(b, stmt, row, 0));
    slice jid = store_text(b, stmt, row, 1);
    int64_t a = store_int(b, stmt, row, 2);
    int64_t last = l->service->account == NULL ? PS_OWNER_SHARING : PS_AFFILIATIONS - 1;
    if (n != NULL && a > PS_NONE && a <= last && is_jid_len(jid))
        ps_affiliate_put(n, jid, (enum ps_affiliation)a);
    return 1;
}

static uint32_t load_subscription(struct load *l, const struct store_batch *b, unsigned stmt,
                                  uint32_t row)
{
    struct ps_node *n = by_nid(l, store_int(b, stmt, row, 0));
    slice jid = store_text(b, stmt, row, 1);
    int64_t state = store_int(b, stmt, row, 2);
    if (n == NULL || state <= PS_UNSUBSCRIBED || state >= PS_STATES || !is_jid_len(jid))
        return 1;
    struct ps_subscriber *sub =
        ps_subscriber_make(jid, store_text(b, stmt, row, 4), (enum ps_state)state);
    sub->deliver = store_int(b, stmt, row, 3) != 0;
    ps_subscriber_put(n, sub);
    return 1;
}

/* Of the items of a node as far as they are on the page. */
static uint32_t load_size(struct load *l, const struct store_batch *b, unsigned stmt, uint32_t row)
{
    struct ps_node *n = by_nid(l, store_int(b, stmt, row, 0));
    int64_t bytes = store_int(b, stmt, row, 2);
    if (n != NULL && bytes >= 0)
        ps_node_grew(n, bytes);
    return (uint32_t)store_int(b, stmt, row, 3);
}

/* A page of each, with the longest texts that are stored, is one batch: see
 * STORE_RESULT_BYTES_MAX. */
static const struct part {
    struct store_stmt *stmt;
    uint32_t page; /* rows */
    uint32_t (*take)(struct load *l, const struct store_batch *b, unsigned stmt, uint32_t row);
} parts[] = { /* nodes first */
              { &stmt_nodes, 128, load_node },
              { &stmt_affiliations, 2000, load_affiliation },
              { &stmt_subscriptions, 2000, load_subscription },
              { &stmt_sizes, 4000, load_size }
};
enum { PARTS = sizeof parts / sizeof parts[0] };

/* Whether that was the last page of the part. */
static bool take_page(struct load *l, const struct store_batch *b, unsigned stmt)
{
    const struct part *p = &parts[l->part];
    uint32_t rows = store_row_count(b, stmt), taken = 0;
    for (uint32_t i = 0; i < rows; i++)
        taken += p->take(l, b, stmt, i);
    mem_free(&l->text);
    if (taken < p->page)
        return true;
    l->nid = store_int(b, stmt, rows - 1, 0);
    l->text = slice_box(store_text(b, stmt, rows - 1, 1));
    return false;
}

static void load_end(struct load *l, enum err e)
{
    struct ps_service *s = l->service;
    struct ps_node *n;
    for (uint32_t i = 0; e != OK && (n = map_next(&s->nodes, &i)) != NULL;) {
        ps_node_clear(n); /* it may be loaded again */
        ps_node_release(n);
    }
    map_fini(&l->numbers);
    mem_free(&l->text);
    mem_free(&l);
    actor_loaded(&s->actor, e);
}

static void read_pages(struct load *l);

static void pages_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct load *l = arg;
    const struct ps_service *s = l->service;
    ensure(worker_is_here(s->worker) && s->state == ACTOR_LOADING);
    enum err e = s->actor.ended ? E_NOTFOUND : err_of_store(result);
    for (unsigned i = 0; e == OK && i < l->count && take_page(l, b, i); i++)
        l->part++;
    if (e == OK && l->part < PARTS)
        read_pages(l);
    else
        load_end(l, e);
}

/* The next page of a part that has more; else the first of all parts that are left. */
static void read_pages(struct load *l)
{
    const struct ps_service *s = l->service;
    struct store_batch *b = store_read(worker_store(s->worker), (uint64_t)s->owner);
    slice text = l->text == NULL ? SLICE("") : *l->text;
    int64_t nid = l->text == NULL ? 0 : l->nid;
    l->count = l->text == NULL ? PARTS - l->part : 1;
    for (unsigned i = l->part; i < l->part + l->count; i++) {
        if (parts[i].stmt == &stmt_nodes)
            STORE_ADD(b, parts[i].stmt, STORE_ANY_ROWS, SV_I(s->owner), SV_T(text),
                      SV_I(parts[i].page));
        else
            STORE_ADD(b, parts[i].stmt, STORE_ANY_ROWS, SV_I(s->owner), SV_I(nid), SV_T(text),
                      SV_I(parts[i].page));
    }
    store_submit(b, worker_loop(s->worker), 0, pages_read, l);
}

void ps_load_service(struct actor *a)
{
    struct load *l = mem_zalloc(sizeof *l);
    ensure(!a->ended && ps_service_of(a)->nodes.count == 0);
    l->service = ps_service_of(a);
    map_init(&l->numbers, nid_key);
    read_pages(l);
}

/* In this order: the lists tell which nodes are orphans. */
void ps_store_leaver(struct account *a, struct store_batch *b)
{
    struct store_stmt *const all[] = { &leaver_items, &leaver_subscriptions, &leaver_nodes,
                                       &leaver_lists, &leaver_affiliations,  &leaver_subscribed };
    for (size_t i = 0; account_is_served(a) && i < sizeof all / sizeof all[0]; i++)
        STORE_ADD(b, all[i], STORE_ANY_ROWS, SV_T(a->jid));
}
