/* pubsub_leavers: an account that is deleted loses its affiliations and subscriptions at the nodes
 * of others, and nodes of hosts that nobody else owns are deleted. The rows go in the transaction
 * of the deletion; then the services that are in memory forget it. */
#pragma once
#include "store/store.h"

struct account;
struct ps_service;
struct store_batch;

extern struct store_stmt ps_leaver_items, ps_leaver_subscriptions, ps_leaver_nodes, ps_leaver_lists,
    ps_leaver_affiliations, ps_leaver_subscribed;
void ps_leaver_remove(struct account *a, struct store_batch *b);
void ps_leaver_forget(struct ps_service *s, slice bare);
