/* s2s_keys: questions about keys of dialback (XEP-0220 §2.1.2), for streams that say they are of a
 * domain. They go to the home of that domain, where a peer without stanzas asks the server on a
 * stream of its own, which ends with the last answer. Limit: KEYS_MAX of a peer, beside those of
 * domains that were never reached. Confined to the worker of the peer. */
#pragma once
#include "gate/s2s/peer/s2s_peer.h"
#include "home/message.h"

enum { KEYS_MAX = 256 };

enum s2s_verdict {
    S2S_VALID,
    S2S_INVALID,
    S2S_UNKNOWN, /* it could not be asked */
    S2S_NOWHERE  /* there is no server to ask */
};

struct s2s_verify {
    slice local, remote, stream_id, key;
};
struct s2s_verified {
    uint8_t verdict; /* enum s2s_verdict */
};
extern const struct message_row s2s_verify_message, s2s_verified_message;

/* The next question for the server of the domain, which was not asked yet; false: none. */
struct s2s_question {
    slice stream_id, key;
};
bool s2s_keys_next(struct s2s_peer *p, struct s2s_question *q);
/* Its answer. false: that was not asked. */
bool s2s_keys_answer(struct s2s_peer *p, slice stream_id, enum s2s_verdict v);
bool s2s_keys_are_left(const struct s2s_peer *p);
void s2s_keys_fail(struct s2s_peer *p); /* nobody can be asked */
void s2s_keys_anew(struct s2s_peer *p); /* that host was none: the next one is asked */
void s2s_keys_drop(struct s2s_peer *p); /* memory only */
