/* bus: carries frames between nodes as bytes (docs/architecture.md §4, §12). Each pair of workers
 * on two nodes has one FIFO in each direction. Frames are numbered: the receiver drops repeated
 * ones and notices lost ones (bus/sequence.h). `bus_local` connects nodes in one process, for
 * tests.
 *
 * A node has one bus, which its workers share. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

struct bus;

/* The sender of a frame; the carrier writes it in front of the bytes. */
struct bus_from {
    uint32_t node, epoch; /* the epoch of a node rises with every start */
    unsigned worker;
    uint64_t seq; /* 1, 2, 3 … per pair (sender worker, receiver worker) */
};

/* On the receiving worker's thread; the bytes are borrowed. */
typedef void bus_deliver_fn(void *worker, const struct bus_from *from, slice bytes);
/* The same: another node has ended. All that it sent to this worker was delivered before. */
typedef void bus_gone_fn(void *worker, uint32_t node);

enum { BUS_NODES_MAX = 64 };

struct bus_ops {
    /* On the thread of worker `from` of this node: to a worker of another node. Copies the bytes.
     */
    void (*send)(struct bus *bus, unsigned from, uint32_t node, unsigned to, slice bytes);
    /* The node that is the home of a slot of JIDs (home/node.h). Any thread. */
    uint32_t (*registry)(struct bus *bus, unsigned slot);
    /* From now on registry() of this node says so; that of others in their own time. Any thread. */
    void (*assign)(struct bus *bus, unsigned slot, uint32_t node);
    /* The node that does what one does for all: home/duty.h. Any thread. */
    uint32_t (*duties)(struct bus *bus);
    /* The nodes that are there, this one among them. Any thread. */
    unsigned (*nodes)(struct bus *bus, uint32_t nodes[BUS_NODES_MAX]);
    /* How many workers a node has; 1 where it is not known. Any thread. */
    unsigned (*workers)(struct bus *bus, uint32_t node);
    /* Whether a node keeps what it stores in the database of this one. Any thread. */
    bool (*shares)(struct bus *bus, uint32_t node);
};
struct bus {
    const struct bus_ops *ops;
};
