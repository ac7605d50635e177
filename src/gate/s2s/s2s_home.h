/* s2s_home: what comes to the home of a foreign domain from everywhere: stanzas for it, and news of
 * it. All of them are told to its peers (gate/s2s/peer/s2s_peer.h). */
#pragma once
#include "gate/s2s/s2s_gate.h"
#include "home/message.h"
#include "xmpp/jid.h"

struct stanza;

struct s2s_foreign {
    struct stanza *st;
    uint64_t entry; /* remote/outgoing.h; 0: it is not stored */
    int64_t sender;
    bool unshown;
};

/* Of a domain of ours and a foreign one. */
enum s2s_news_kind {
    NEWS_ROWS = 0, /* the database has messages for the pair that no memory has */
    NEWS_CAME = 1, /* the server of the domain has proved it on a stream to us */
    NEWS_RETRY = 2 /* an attempt is wanted now, which asks the DNS */
};
struct s2s_news {
    slice local, remote;
    uint8_t kind; /* enum s2s_news_kind */
};
extern const struct message_row s2s_foreign_message, s2s_news_message;

void s2s_news(struct worker *w, slice local, slice remote, enum s2s_news_kind kind);
/* NEWS_RETRY: the next stanza that this worker sends begins an attempt, and waits for it. */
void s2s_retry(struct worker *w, slice local, slice remote);
bool s2s_is_ended(const struct worker *w); /* it has no peers (any more) */
/* After the start of a node, and when another node has ended, on one worker: what its database has
 * is sent. */
void s2s_find_rows(struct worker *w);
/* For `sound` of messages: both are domains. With a localpart one would be too long for the name of
 * a peer. */
static inline bool s2s_pair_is_sound(slice local, slice remote)
{
    const struct jid ours = jid_split(local), theirs = jid_split(remote);
    return jid_is_domain(&ours) && jid_is_domain(&theirs);
}
