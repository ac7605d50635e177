/* account_actor: what an account does as an actor (home/actor.h): how it is loaded and unloaded,
 * and who handles its stanzas. */
#pragma once
#include "home/router.h"

/* A stanza to the account, at its home. Takes over st. */
enum routed account_receive(struct worker *w, struct stanza *st, struct origin origin,
                            uint64_t sender_entry, int64_t sender_id);
void accounts_start(struct worker *w); /* before its loop runs */
