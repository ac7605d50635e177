/* peers: how many connections each address has, so that one address does not use up the
 * descriptors of the process. A connection counts from the moment when it is accepted, whether it
 * ever sends anything or not. A /64 of IPv6 counts as one address: one subscriber has it.
 *
 * Beyond the limit a few more are let in, PEERS_TOLD_MAX, so that they can be told why they are
 * refused, as soon as their protocol allows. Any thread. */
#pragma once
#include "base/map.h"
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>

enum { PEERS_TOLD_MAX = 16 };

struct peers {
    pthread_mutex_t lock;
    struct map counts;
};

/* Of a connection that is counted; len 0: it is not. */
struct peer_key {
    uint8_t len; /* at most 8 */
    bool beyond; /* it is one of those that are told */
    char bytes[8];
};

enum peers_room {
    PEERS_ROOM,   /* within the limit */
    PEERS_REFUSE, /* beyond it: counted apart, and to be told so */
    PEERS_CLOSE   /* far beyond it: not counted, to be closed at once */
};

void peers_init(struct peers *p);
void peers_fini(struct peers *p);
/* Counts a connection of this address; connections without one, over Unix sockets, are not counted
 * and always have room. max: how many an address may have. *key is for peers_leave(). */
enum peers_room peers_enter(struct peers *p, const struct sockaddr *peer, int64_t max,
                            struct peer_key *key);
void peers_leave(struct peers *p, struct peer_key *key); /* not counted: fine; it is not, then */

/* The bytes of an address that are counted as one. */
struct peer_key peer_key_of(const struct sockaddr *peer);
