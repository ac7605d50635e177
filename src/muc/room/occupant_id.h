/* occupant_id: the identifier by which others know an occupant again whatever the nickname, and
 * which does not tell the address (XEP-0421 §4.1): base64url, without padding, of
 * HMAC-SHA-256(secret of the room, bare JID). Another room has another secret and so another id.
 * Pure; any thread. */
#pragma once
#include "base/slice.h"

enum { OCCUPANT_SECRET_LEN = 32, OCCUPANT_ID_LEN = 43 };

/* `out` gets a NUL as well; the slice is all of it but that. `bare` is prepared (xmpp/jid.h). */
slice occupant_id(char out[OCCUPANT_ID_LEN + 1], const uint8_t secret[OCCUPANT_SECRET_LEN],
                  slice bare);
