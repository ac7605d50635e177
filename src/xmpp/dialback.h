/* dialback: the keys of Server Dialback (XEP-0220), made as XEP-0185 says: an HMAC over both
 * domains and the id of the stream. So nothing has to be remembered of a key that was sent. Pure;
 * any thread. */
#pragma once
#include "base/slice.h"

enum {
    DIALBACK_KEY_LEN = 64, /* hexadecimal */
    DIALBACK_ID_MAX = 1024 /* bytes of the id of a stream; a longer one has no key */
};

/* What a key is for: that `originating` opened the stream with this id to `receiving`. */
struct dialback {
    slice receiving, originating; /* domains, prepared */
    slice stream_id;              /* that the receiving server gave the stream; DIALBACK_ID_MAX */
};

void dialback_key(char out[DIALBACK_KEY_LEN + 1], slice secret, const struct dialback *d);
/* Takes the same time whatever the key is. */
bool dialback_key_is_right(slice key, slice secret, const struct dialback *d);
