/* cards: what both forms of a vCard share: a card of vCard4 (XEP-0292) as older clients read it
 * (XEP-0054), as far as both have the same. Pure. */
#pragma once
#include "base/slice.h"

struct arena;
struct elem;

#define NS_VCARD4  "urn:ietf:params:xml:ns:vcard-4.0"
#define VCARD_NODE "urn:xmpp:vcard4" /* of an account: has its card */

/* XML, in the arena; empty: nothing of the card can be said. */
slice card_of_vcard4(const struct elem *card, struct arena *tmp);
