/* pubsub_leavers: an account that is deleted loses its affiliations and subscriptions at the nodes
 * of others, and nodes of hosts that nobody else owns are deleted. The rows go in the transaction
 * of the deletion (ps_store_leaver()); then the services that are in memory forget it. */
#pragma once
#include "base/slice.h"

struct ps_service;

void ps_leaver_forget(struct ps_service *s, slice bare);
