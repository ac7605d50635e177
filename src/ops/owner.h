/* owner: those who began something that goes on without them: a trace, a candidate of settings. It
 * is named as in the audit log, without the session: "console:nora", "xmpp:alice@example.org",
 * "token:ci", "control:root". What they began ends when they are deleted or disabled, or when their
 * role gives no longer what it needed: the keepers ask again when the table of roles was read again
 * (feature.worker.access_changed), and forget all of an account that is deleted. Any worker. */
#pragma once
#include "base/command.h"

/* The owner that is the actor of the call. */
static inline slice owner_of_call(const struct command_call *call)
{
    slice owner, session;
    return slice_cut(call->who.actor, '/', &owner, &session) ? owner : call->who.actor;
}
/* Whether the owner may still do that: "log.write". While roles cannot be read, yes: what they
 * began is left alone until they can. */
bool owner_may(slice owner, const char *permission);
bool owner_is_account(slice owner, slice bare); /* by XMPP or at the console */
/* When the access of the owner ends by itself: a token with an end. 0: never. */
uint64_t owner_expires_us(slice owner);
