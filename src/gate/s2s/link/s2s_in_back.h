/* s2s_in_back: the other direction of a stream that another server has opened (XEP-0288): stanzas
 * of ours go back on it, for the first pair of domains that is proved, if its certificate and TLS
 * are what we demand of a server that we connect to. The peer of that pair is told by messages
 * (gate/s2s/peer/s2s_peer_back.h), and sends what is to be written. It keeps that until the stream
 * says that it was confirmed.
 *
 * It begins when XEP-0198 does, or with the first stanza of the other server; so what is written is
 * counted if anything is. It is offered where the home of the domain is on this node. Confined to
 * the worker of the stream. */
#pragma once
#include "home/message.h"

struct in_back;
struct s2s_in;
struct stanza;

/* Whether <bidi/> is among the features. */
bool s2s_back_is_offered(const struct s2s_in *s);
/* It is offered to the peer of a pair that is proved, if that was not done yet. */
void s2s_back_offer(struct s2s_in *s);
/* XEP-0198 has begun, or goes on: the server counts on from h. */
void s2s_back_counts(struct s2s_in *s, uint32_t h);
bool s2s_back_acked(struct s2s_in *s, uint32_t h); /* false: that cannot be */
uint32_t s2s_back_count(const struct s2s_in *s);   /* the largest h that can be */
bool s2s_back_waits(const struct s2s_in *s);       /* something is not confirmed */
uint64_t s2s_back_last_us(const struct s2s_in *s); /* loop time of what was written last */
void s2s_back_ask(struct s2s_in *s);               /* <r/>, if XEP-0198 has begun */
void s2s_back_slow(struct s2s_in *s, bool on);
void s2s_back_gone(struct s2s_in *s); /* its peer is told */
void s2s_back_fini(struct s2s_in *s);

/* To the worker of a stream: a stanza to be written, or none: it ends. */
struct s2s_to_back {
    slice local, remote;
    uint64_t stream, delay_us; /* delay_us: see struct stanza_note */
    struct stanza *st;
};
extern const struct message_row s2s_to_back_message;
