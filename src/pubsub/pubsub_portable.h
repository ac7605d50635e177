/* pubsub_portable: nodes of accounts that come and go (core/portable.h, XEP-0227): configuration,
 * affiliations and subscriptions as <pubsub/> of #owner, items as <pubsub/>, oldest first.
 * Features add what the account has for their nodes in other forms (struct ps_watch).
 *
 * Limits: those of the service of an account. What is beyond them does not come along. */
#pragma once
#include "core/portable.h"

extern const struct portable_part ps_portable;
