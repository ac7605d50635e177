/* pubsub_disco: what disco says about nodes (XEP-0060 §5): nodes as items of their service, items
 * of a node, and the meta-data of a node. Shown is what the asker may read. */
#pragma once
#include "pubsub/pubsub_model.h"

struct iq;

bool ps_disco_asks(const struct iq *iq, slice node); /* about nodes: then */
void ps_disco(struct iq *iq, struct ps_service *s);
extern const char *const ps_features_pep[], *const ps_features_host[];
