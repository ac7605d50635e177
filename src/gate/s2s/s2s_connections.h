/* s2s_connections: a pair of domains that has more than one connection (s2s.connections). Each of
 * them is a partner (gate/s2s/s2s_partner.h) with a number, from 0 on: that of the stanzas that it
 * sends (outgoing_share_of()), so those from one bare address to another keep their order. They are
 * on different workers: number 0 at the home of the foreign domain, the next ones on the next
 * workers of its node. What is for a pair comes to that home, which hands it on.
 *
 * Number 0 alone is asked about keys, and takes streams of the other server (XEP-0288).
 *
 * While one of them is up (gate/s2s/s2s_pairs_up.h), the domain can be reached, and the others
 * report no failure. */
#pragma once
#include "gate/s2s/s2s_gate.h"
#include "home/message.h"
#include "xmpp/jid.h"

struct stanza;

/* To the home of a foreign domain: a stanza, that the database has messages for a pair of domains
 * which no memory has, that the server of the domain has proved it on a stream to us, and that an
 * attempt is wanted now. */
struct s2s_foreign {
    struct stanza *st;
    uint64_t entry; /* im/outgoing.h; 0: it is not stored */
    int64_t sender;
    bool unshown;
};
struct s2s_pending {
    slice local, remote;
};
struct s2s_came {
    slice local, remote;
};
struct s2s_retry {
    slice local, remote;
};
extern const struct message_row s2s_foreign_message, s2s_pending_message, s2s_came_message,
    s2s_retry_message;
/* A pair of domains whose last attempt has failed forgets that, as after `s2s retry`: the next
 * stanza that this worker sends begins an attempt, which asks the DNS, and waits for it. */
void s2s_retry(struct worker *w, slice local, slice remote);
/* For `sound` of messages: both are domains. With a localpart one would be too long for the name of
 * a partner. */
static inline bool s2s_pair_is_sound(slice local, slice remote)
{
    const struct jid ours = jid_split(local), theirs = jid_split(remote);
    return jid_is_domain(&ours) && jid_is_domain(&theirs);
}
/* At the home of a foreign domain: which connection has the stanzas from one bare address to
 * another, and its worker. */
unsigned s2s_connection_of(const struct worker *w, slice from, slice to, unsigned *worker);
bool s2s_is_ended(const struct worker *w); /* it has no partners (any more) */
/* The same from there to the other connections, and from one to another. */
struct s2s_onward {
    struct s2s_foreign foreign;
    uint32_t shares; /* of the partner that hands it on, a bit for each; 0: the home does */
    uint64_t before; /* the first message of its pair that goes behind it; 0: none does */
    uint8_t number;
};
enum s2s_news_kind { NEWS_PENDING = 0, NEWS_CAME = 1, NEWS_RETRY = 2 };
struct s2s_news {
    slice local, remote;
    uint32_t shares; /* the same */
    uint8_t kind;    /* enum s2s_news_kind */
    uint8_t number;
};
/* In front of what a partner hands on: a message of its shares that is confirmed, which is perhaps
 * not written yet. */
struct s2s_settled {
    slice local, remote;
    uint64_t entry;
    int64_t sender;
    uint32_t slot;
    bool unshown;
    uint8_t number;
};
/* To the home of a foreign domain, and from there to the connection: a request of ours has its
 * answer, so it is not sent again, and goes back to nobody. One with a longer id is not looked for.
 * Or a message was refused. */
enum { ANSWER_ID_MAX = 1023 };
struct s2s_answer {
    slice ours, theirs, id;
    bool message; /* an error for a message, else it answers a request */
    bool onward;
    uint8_t number;
};
extern const struct message_row s2s_onward_message, s2s_news_message, s2s_settled_message,
    s2s_answered_message;
