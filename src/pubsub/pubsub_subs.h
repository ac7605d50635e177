/* pubsub_subs: subscriptions (XEP-0060 §5.6, §6.1 to §6.4, §8.6, §8.8). An entity has at most one
 * subscription to a node for each of its addresses. */
#pragma once
#include "pubsub/pubsub_op.h"

struct arena;
struct form;
struct stanza;

extern const struct ps_verb_row ps_subscription_verbs[]; /* NULL run ends */
/* Whether a message is an owner's answer to ps_ask_owners(). It costs no service. `f` borrows the
 * message, and has texts in `tmp`. */
bool ps_authorization_read(struct form *f, const struct stanza *st, struct arena *tmp);
void ps_authorize(struct ps_service *s, slice from, struct form *f); /* the answer of `from` */
