/* mail_address: see ext/mail_address.c. Tools: a database that no server uses. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct arena;
struct store;

/* The account, another one than `but`, that has this bare JID of its domain as its mail address,
 * where federation.mail-address is on; ptr NULL: there is none. In the arena. */
NODISCARD enum err mail_address_owner(struct store *store, slice bare, slice but,
                                      struct arena *arena, slice *owner);
