/* pubsub_store: the tables of pubsub services, and reading them. `owner` is an account or,
 * negative, a host. */
#pragma once
#include "pubsub/pubsub_model.h"
#include "store/store.h"

struct store_batch;

extern struct store_stmt ps_stmt_any, ps_stmt_last, ps_stmt_item, ps_stmt_items, ps_stmt_index,
    ps_stmt_index_page;
extern const struct store_schema ps_schema;
/* How many items nodes of these owners ("owner > 0") have beyond $1 each. */
#define PUBSUB_ITEMS_BEYOND(of)                                                                    \
    "SELECT CAST(coalesce(sum(items - $1), 0) AS BIGINT) FROM (SELECT count(*) AS items FROM "     \
    "pubsub_item WHERE " of " GROUP BY owner, nid HAVING count(*) > $1) v"
void ps_load_service(struct actor *a); /* actor_loaded() follows, never from inside */
void ps_store_made(struct store_batch *b, const struct ps_node *n, const struct ps_config *c);
void ps_store_config(struct store_batch *b, const struct ps_node *n, const struct ps_config *c);
void ps_store_delete_node(struct store_batch *b, const struct ps_node *n);
void ps_store_item(struct store_batch *b, const struct ps_node *n, const struct ps_item *item);
void ps_store_delete_item(struct store_batch *b, const struct ps_node *n, slice id);
void ps_store_purge(struct store_batch *b, const struct ps_node *n);
void ps_store_affiliate(struct store_batch *b, const struct ps_node *n, slice jid,
                        enum ps_affiliation a);
void ps_store_subscriber(struct store_batch *b, const struct ps_node *n,
                         const struct ps_subscriber *s);
void ps_store_unsubscribe(struct store_batch *b, const struct ps_node *n, slice jid);
void ps_store_remove(struct store_batch *b, int64_t owner);
/* What an account that is deleted has at nodes of others, and nodes of hosts that only it owns. */
void ps_store_leaver(struct account *a, struct store_batch *b);
/* The number of a host in the database: negative, and the same at every start. */
int64_t ps_store_host(slice domain);
/* Nodes of an account that comes or goes (pubsub/pubsub_portable.h): it has no service. */
struct ps_ported {
    slice name;
    int64_t nid;
    slice creator;
    const struct ps_config *config;
};
void ps_store_ported(struct store_batch *b, int64_t owner, const struct ps_ported *n);
void ps_store_ported_affiliation(struct store_batch *b, int64_t owner, int64_t nid, slice jid,
                                 enum ps_affiliation a);
void ps_store_ported_subscriber(struct store_batch *b, int64_t owner, int64_t nid,
                                const struct ps_subscriber *s);
void ps_store_ported_item(struct store_batch *b, int64_t owner, int64_t nid,
                          const struct ps_item *item);
/* Adds four statements; then a row of them: nodes (name, configuration), affiliations (address),
 * subscriptions (address, subid), items, oldest first (id, payload). false: there is none. */
void ps_store_ported_read(struct store_batch *b, int64_t owner);
struct ps_given {
    int64_t nid, number; /* number: the affiliation, the state */
    slice text, more;
};
bool ps_store_given(const struct store_batch *b, unsigned stmt, uint32_t row, struct ps_given *out);
void ps_read_item(const struct store_batch *b, unsigned stmt, uint32_t row, struct ps_item *out);
