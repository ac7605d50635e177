/* dial: makes a connection to the first of several addresses that answers, without blocking the
 * loop ("happy eyeballs", RFC 8305). IPv6 and IPv4 take turns, beginning with the family of the
 * first address. The next address is tried DIAL_DELAY_MS after the one before (a timer of the loop
 * adds up to 200 ms), or at once when that one fails. The first that connects wins; the others are
 * closed.
 *
 * Limits: DIAL_TRIES_MAX addresses, the rest are not looked at; deadline_ms for all of them. The
 * last descriptors of the process are not used up (io/listen.h). Confined to its loop. */
#pragma once
#include "base/buf.h"
#include "io/address.h"
#include "io/conn.h"

enum { DIAL_TRIES_MAX = 16, DIAL_DELAY_MS = 250 /* RFC 8305 §5 */ };

struct dial;

/* What became of one address. */
struct dial_try {
    union address address;
    int error; /* of errno; 0: it won, or another one was first; ETIMEDOUT: the deadline */
    bool won;
    uint32_t took_us; /* from its start to its end */
};

struct dial_result {
    struct conn *conn;            /* NULL: none has answered. The caller's, and not started */
    const struct dial_try *tried; /* in the order of their start; valid during the callback */
    size_t count;
};

/* Called once, from the loop and never from inside dial_start(); the dial is gone then. */
typedef void dial_fn(void *arg, const struct dial_result *result);

struct dial_options {
    const struct conn_limits *limits; /* of the connection; must outlive it */
    uint32_t deadline_ms;
    const struct sockaddr *source_v4, *source_v6; /* to bind to; NULL: any */
};

/* to: at least one address, in order of preference; copied. */
struct dial *dial_start(struct loop *loop, const union address *to, size_t count,
                        const struct dial_options *options, dial_fn *done, void *arg);
void dial_cancel(struct dial **d); /* no callback comes afterwards; NULL is fine */

/* "192.0.2.1:5269: Connection refused; [2001:db8::1]:5269: Connection timed out" for an operator.
 */
void dial_explain(const struct dial_result *result, struct buf *out);
