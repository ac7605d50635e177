/* pubsub_subs: subscriptions (XEP-0060 §5.6, §6.1 to §6.4, §8.6, §8.8). An entity has at most one
 * subscription to a node for each of its addresses. */
#pragma once
#include "ext/pubsub/pubsub_private.h"

struct stanza;

extern const struct ps_verb_row ps_subscription_verbs[]; /* NULL run ends */
/* A message with an owner's answer to ps_ask_owners(); false: it is not one. */
bool ps_authorization(struct ps_service *s, const struct stanza *st);
