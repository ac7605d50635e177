/* delegation: requests that an external component answers in the place of the server (XEP-0355, its
 * admin mode). A request is sent to the component as it came, from the domain of its sender, and
 * what the component says goes back to the sender, as if the server had said it. Only what clients
 * send is delegated: what a component asks in the name of a user (im/privilege.h) is answered by
 * the server itself, so a component that answers for a namespace can still use that of the server.
 *
 * At the home of the sender. It waits for no answer before its stanza counts as handled, as no
 * stanza to a component does.
 *
 * Limits: DELEGATION_MS for an answer, ASKS_MAX requests of a worker. */
#pragma once
#include "im/iq.h"

/* Of a request by a user of ours to the server or to itself: true: it is answered or held. */
bool delegation_takes(struct iq *iq);

extern const struct feature delegation_feature;
