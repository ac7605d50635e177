/* delegation: requests that an external component answers in the place of the server (XEP-0355, its
 * admin mode). A request is sent to the component as it came, from the domain that it is for, and
 * what the component says goes back to the sender, as if the server had said it. These are requests
 * of users of the domain to it or to themselves, and those of everybody to an account, wherever the
 * sender is: a vCard is kept for others. Only what clients of ours send is delegated: what a
 * component asks in the name of a user (component/privilege.h) is answered by the server itself, so
 * a component that answers for a namespace can still use that of the server.
 *
 * A blocked sender is answered before, as if there were no account. If an account does not exist,
 * the component is not asked. So strangers get the same error for whatever error the component
 * gives, and while it is not there. A result, or the time that the component takes, tells them that
 * there is an account.
 *
 * At the home of the account: of the sender, or of the other one that is asked. It waits for no
 * answer before its stanza counts as handled, as no stanza to a component does.
 *
 * Limits: DELEGATION_MS for an answer; DELEGATIONS_OF_ACCOUNT and DELEGATIONS_MAX requests that
 * wait, so that a component that is silent leaves enough for all others that ask. Requests of
 * others to an account are counted separately: they take nothing from its own. */
#pragma once
#include "home/ask.h"
#include "talk/iq.h"

enum {
    DELEGATIONS_OF_ACCOUNT = 64,    /* and as many of others to it */
    DELEGATIONS_MAX = ASKS_MAX / 2, /* of a worker */
    DELEGATIONS_OF_OTHERS_MAX = ASKS_MAX / 8
};

enum delegation_kind { DELEGATION_OWN, DELEGATION_OF_OTHERS };
enum delegation_kind delegation_kind(const struct iq *iq);

/* A component is asked for this account, at its home, and has answered or will not. The account is
 * pinned in between. false: too much waits. */
bool delegation_begins(struct account *a, enum delegation_kind kind);
void delegation_ends(struct account *a, enum delegation_kind kind);

/* Of a request to the server or to an account: true: it is answered or held. */
bool delegation_takes(struct iq *iq);

extern const struct feature delegation_feature;
