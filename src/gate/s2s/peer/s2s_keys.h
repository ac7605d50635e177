/* s2s_keys: questions about keys of dialback (XEP-0220 §2.1.2), for streams that say they are of a
 * domain. They go to the home of that domain, whose peer asks the server there and makes its stream
 * for that; where stanzas go back on a stream of that server, one of its own (XEP-0288 §2.2).
 * Limit: KEYS_MAX of a peer, beside those of domains that were never reached. Confined to the
 * worker of the peer. */
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
    bool both; /* stanzas may go back on the stream that has the key (XEP-0288) */
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
bool s2s_keys_wait(const struct s2s_peer *p); /* some were asked, and not answered */
/* Its answer. false: that was not asked. */
bool s2s_keys_answer(struct s2s_peer *p, slice stream_id, enum s2s_verdict v);
void s2s_keys_fail(struct s2s_peer *p); /* nobody can be asked */
/* The stream on which they were asked is gone: they are asked once more on the next one. */
void s2s_keys_again(struct s2s_peer *p);
void s2s_keys_anew(struct s2s_peer *p); /* that host was none: the next one is asked */
void s2s_keys_drop(struct s2s_peer *p); /* memory only */
