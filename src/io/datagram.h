/* datagram: a UDP socket. What arrives is read in batches and given with both addresses, so that an
 * answer leaves from the address that was asked, also on a host with several. What the system does
 * not take at once waits in order, up to a limit; then it is refused, as UDP may lose it anyway.
 *
 * Stays on its loop. A batch is DATAGRAM_BATCH datagrams, one for each wake of the loop. */
#pragma once
#include "base/err.h"
#include "io/address.h"
#include "io/loop.h"

enum { DATAGRAM_BATCH = 16, DATAGRAM_BYTES_MAX = 65535 };

struct datagram;

struct datagram_path {
    union address peer;
    union address local; /* without a port; AF_UNSPEC when sending: the system chooses */
};

struct datagram_options {
    slice address;      /* "[::]:5060" (IPv4, too), "[::1]:5060", "127.0.0.1:5060" */
    uint32_t bytes_max; /* of one that is received; longer ones are dropped */
    uint32_t queue_max; /* bytes that wait to be sent, with some 250 for each datagram */
    /* From the loop. May call anything here, datagram_close() too. */
    void (*received)(struct datagram *d, slice data, const struct datagram_path *path);
    void *owner;
};

/* E_SYNTAX: no such address; E_EXISTS: it is in use; E_IO. */
NODISCARD enum err datagram_open(struct datagram **out, struct loop *loop,
                                 const struct datagram_options *options, struct why *why);
/* What waits is dropped. NULL is fine. */
void datagram_close(struct datagram **d);
void *datagram_owner(const struct datagram *d);
int datagram_port(const struct datagram *d);

/* OK: it is sent, or it waits. E_AGAIN: too much waits already. E_LIMIT: longer than this path
 * takes. E_IO: the system refuses it; errno tells why. */
NODISCARD enum err datagram_send(struct datagram *d, slice data, const struct datagram_path *path);
