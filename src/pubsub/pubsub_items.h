/* pubsub_items: the items of a node: reading, publishing, retracting (XEP-0060 §6.5, §7). */
#pragma once
#include "pubsub/pubsub_op.h"

extern const struct ps_verb_row ps_item_verbs[]; /* NULL run ends */
/* Sends the last item to `to` if the node sends it in this case; it is read if it is not in memory.
 */
void ps_give_last(struct ps_node *n, slice to);
