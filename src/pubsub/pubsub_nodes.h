/* pubsub_nodes: nodes and those who have a part in them: creation, configuration, deletion,
 * affiliations (XEP-0060 §5.7, §8.1 to §8.4, §8.9). */
#pragma once
#include "pubsub/pubsub_op.h"

extern const struct ps_verb_row ps_node_verbs[]; /* NULL run ends */
