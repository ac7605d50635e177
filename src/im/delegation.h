/* delegation: requests that an external component answers in the place of the server (XEP-0355, its
 * admin mode). A request is sent to the component as it came, from the domain of its sender, and
 * what the component says goes back to the sender, as if the server had said it. Only what clients
 * send is delegated: what a component asks in the name of a user (im/privilege.h) is answered by
 * the server itself, so a component that answers for a namespace can still use that of the server.
 *
 * At the home of the sender. It waits for no answer before its stanza counts as handled, as no
 * stanza to a component does.
 *
 * Limits: DELEGATION_MS for an answer; DELEGATIONS_OF_ACCOUNT and DELEGATIONS_MAX requests that
 * wait, so that a component that is silent leaves enough for all others that ask. */
#pragma once
#include "home/ask.h"
#include "im/iq.h"

enum {
    DELEGATIONS_OF_ACCOUNT = 64,
    DELEGATIONS_MAX = ASKS_MAX / 2 /* of a worker */
};

/* A component is asked for this account, at its home, and has answered or will not. The account is
 * pinned in between. false: too much waits. */
bool delegation_begins(struct account *a);
void delegation_ends(struct account *a);

/* Of a request by a user of ours to the server or to itself: true: it is answered or held. */
bool delegation_takes(struct iq *iq);

extern const struct feature delegation_feature;
