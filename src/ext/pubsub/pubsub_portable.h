/* pubsub_portable: nodes of accounts that come and go (im/portable.h, XEP-0227): configuration,
 * affiliations and subscriptions as <pubsub/> of #owner, items as <pubsub/>, oldest first.
 *
 * Limits: those of the service of an account. What is beyond them does not come along. */
#pragma once
#include "im/portable.h"

extern const struct portable_part ps_portable;

/* For a feature that keeps its data in a node: makes it, as the account's own, with the fields of
 * this form (FORM_TYPE included); then gives it an item. Returns the number of the node; 0:
 * accounts have no nodes. */
int64_t ps_port_node(struct portable *p, slice node, slice form);
void ps_port_item(struct portable *p, int64_t nid, slice id, slice xml);
