/* proxy65: SOCKS5 Bytestreams (XEP-0065): a proxy at proxy.<domain> through which two clients send
 * bytes to each other that cannot reach one another directly.
 *
 * Both connect and name the same hash (of stream id and addresses); then the initiator activates
 * the bytestream by an IQ, and bytes go from one to the other. A connection that has named its
 * hash moves to the worker which the hash chooses, so both sides of a bytestream are on one worker,
 * and nothing of it is shared.
 *
 * States: GREETING -> REQUEST -> MOVING -> WAITING (for its partner and the activation; what it
 * sends stays unread) -> ACTIVE -> ENDING (the partner ended; what waits is still written) ->
 * CLOSED from any.
 *
 * When one side ends, so does the bytestream: what it had sent is still written to the other.
 *
 * Limits: proxy65.connections-max, .connections-per-address, .wait-time, .idle-time, .rate;
 * PROXY65_LISTENERS_MAX; a side that reads slowly holds the other one. */
#pragma once
#include "base/err.h"
#include "home/edge.h"
#include "home/here.h"

struct proxy65;

enum {
    PROXY65_LISTENERS_MAX = 16,
    PROXY65_HASH = 40 /* hexadecimal SHA-1 */
};

struct proxy65_listen {
    const char *address;
    bool proxy; /* a PROXY header comes first */
};

NODISCARD enum err proxy65_create(struct proxy65 **out, const struct proxy65_listen *listens,
                                  size_t count, struct why *why);
void proxy65_destroy(struct proxy65 **p); /* after the loops have ended; NULL is fine */

extern const struct edge proxy65_edge; /* `own` is a struct proxy65 */

/* Activates the bytestream of this hash. done: E_NOTFOUND: nobody named it; E_AGAIN: only one side
 * did; E_EXISTS: it is active. Calls done on the
 * worker that asked; without a proxy: E_DOWN. */
typedef void proxy65_fn(void *arg, enum err e);
void proxy65_activate(struct worker *w, const char hash[PROXY65_HASH + 1], proxy65_fn *done,
                      void *arg);
/* The port of the first listener of this node; 0: it is a socket of the file system; -1: the node
 * has no proxy. */
int proxy65_port(const struct worker *w);

extern const struct feature proxy65_feature;

extern const struct message_row *const proxy65_messages[];
