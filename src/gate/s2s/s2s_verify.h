/* s2s_verify: a question about a key of dialback goes to the home of the foreign domain, whose
 * partner asks the server there, and makes its stream for that (XEP-0220 §2.1.2). Limit: ASKED_MAX
 * partners of a node exist for questions alone. */
#pragma once
#include "home/message.h"

struct s2s_verify {
    slice local, remote, stream_id, key;
    bool both; /* stanzas may go back on the stream that has the key (XEP-0288) */
};
struct s2s_verified {
    uint8_t verdict; /* enum s2s_verdict */
};
extern const struct message_row s2s_verify_message;
