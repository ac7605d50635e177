/* bus: carries frames between nodes as bytes. The carrier delivers at most once and in order per pair
 * of nodes, or reports the gap; `bus_local` joins nodes of one process (tests, simulated clusters). */
#pragma once
#include "base/slice.h"
#include <stdint.h>

struct bus;

struct bus_ops {
    /* Any worker thread; copies the bytes. `worker` of the sender and of the receiver. */
    void (*send)(struct bus *bus, uint32_t node, unsigned worker, slice bytes);
    /* Node on which a bare JID has its home; 0: this one. */
    uint32_t (*registry)(struct bus *bus, slice bare);
};
struct bus {
    const struct bus_ops *ops;
};
