/* access: decides who may learn that an account exists and what it does. All others must get the
 * same answers as for an account that does not exist (RFC 6121 §11, XEP-0030 §8). */
#pragma once
#include "core/stage.h"
#include "presence/roster.h"
#include "talk/iq.h"

/* Whether the sender of a request to a bare JID may see that account's presence: the owner, or a
 * contact with a subscription to it. false where there is no such account. */
static inline bool access_presence(const struct iq *iq)
{
    if (iq->target == IQ_TO_SELF)
        return true;
    slice contact = stanza_from_bare(iq->st);
    return iq->account != NULL && roster_is_seen(iq->account, contact) &&
           stage_show(iq->account, contact);
}
