/* bus: carries frames between nodes as bytes (design §4, §12). Between two workers of two nodes
 * there is one FIFO; the carrier delivers at most once and in order. What it lost is noticed by the
 * gap in the numbers, what comes twice is dropped (bus/sequence.h). `bus_local` joins nodes of one
 * process (tests, simulated clusters).
 *
 * A node has one; its workers share it. */
#pragma once
#include "base/slice.h"
#include <stdint.h>

struct bus;

/* Who sent something: written by the carrier in front of the bytes. */
struct bus_from {
    uint32_t node, epoch; /* the epoch of a node rises with every start */
    unsigned worker;
    uint64_t seq; /* 1, 2, 3 … per pair (sender worker, receiver worker) */
};

/* On the receiving worker's thread; the bytes are borrowed. */
typedef void bus_deliver_fn(void *worker, const struct bus_from *from, slice bytes);

struct bus_ops {
    /* On the thread of worker `from` of this node: to a worker of another node. Copies the bytes.
     */
    void (*send)(struct bus *bus, unsigned from, uint32_t node, unsigned to, slice bytes);
    /* Node on which a bare JID has its home. Any thread. */
    uint32_t (*registry)(struct bus *bus, slice bare);
    /* How many workers a node has; 1 where it is not known. Any thread. */
    unsigned (*workers)(struct bus *bus, uint32_t node);
};
struct bus {
    const struct bus_ops *ops;
};
