/* peers: how many connections each address has, so that one address does not use up the
 * descriptors of the process: one table for all edges of the process. A connection counts from the
 * moment when it is accepted, whether it ever sends anything or not. A /64 of IPv6 counts as one
 * address: one subscriber has it.
 *
 * Each kind of connection has a limit of its own, and is counted apart. They differ on purpose: a
 * thousand chat clients behind one address are an office, a thousand file transfers are not; and
 * who has used up one kind must still be able to use the others. All listeners of a kind share its
 * count.
 *
 * Beyond the limit a few more are let in, PEERS_TOLD_MAX, so that they can be told why they are
 * refused, as soon as their protocol allows. Any thread. */
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

enum { PEERS_TOLD_MAX = 16 };

enum peers_kind { PEERS_C2S, PEERS_HTTP, PEERS_PROXY65, PEERS_S2S, PEERS_KINDS };

/* Of a connection that is counted; len 0: it is not. */
struct peer_key {
    uint8_t len;   /* at most 8 */
    uint8_t kind;  /* enum peers_kind */
    bool beyond;   /* it is one connection too many: to be refused */
    char bytes[8]; /* of the address that are counted as one */
};

enum peers_room {
    PEERS_ROOM,   /* within the limit */
    PEERS_REFUSE, /* beyond it: counted apart, and to be told so */
    PEERS_CLOSE   /* far beyond it: not counted, to be closed at once */
};

/* A number for the address of a peer, of what is counted as one; 0 if it has none. */
uint64_t peers_hash(const struct sockaddr *peer);
/* Counts a connection of this address; connections without one, over Unix sockets, are not counted
 * and always have room. max: how many of this kind an address may have. *key is for
 * peers_leave(). */
enum peers_room peers_enter(enum peers_kind kind, const struct sockaddr *peer, int64_t max,
                            struct peer_key *key);
void peers_leave(struct peer_key *key); /* not counted: fine; it is not, then */
