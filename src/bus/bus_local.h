/* bus_local: the carrier between nodes of one process. Made before the nodes start, ended after
 * they have stopped. Limits: 8 nodes of 64 workers; 64 MiB queued for one worker, beyond which
 * frames are lost, as on a network. */
#pragma once
#include "bus/bus.h"

struct bus_local;
struct loop;

enum {
    BUS_LOCAL_NODES_MAX = 8,
    BUS_LOCAL_WORKERS_MAX = 64,
    BUS_LOCAL_SLOTS = 4096,
    BUS_LOCAL_QUEUE_MAX = 64 << 20
};

struct bus_local_member {
    uint32_t node, epoch; /* node: 1 … */
    unsigned workers;     /* 1..BUS_LOCAL_WORKERS_MAX */
    const void *database; /* the same for nodes that share one */
    struct {
        struct loop *loop;
        void *arg; /* of deliver */
    } worker[BUS_LOCAL_WORKERS_MAX];
    bus_deliver_fn *deliver;
    bus_gone_fn *gone; /* NULL: nobody asks */
};

struct bus_local *bus_local_create(void);
void bus_local_destroy(struct bus_local **b); /* all loops have ended */

/* The bus of one node: before its workers run, and again after a restart. Valid until
 * bus_local_destroy(). */
struct bus *bus_local_join(struct bus_local *b, const struct bus_local_member *m);
/* Call it when the loops of this node have ended. Frames queued for it, or sent to it later, are
 * lost; the others are told that it has gone. */
void bus_local_leave(struct bus_local *b, uint32_t node);

/* Cuts a running node off: frames from and to it are lost from now on, and the others are told that
 * it has gone. It cannot come back. */
void bus_local_cut(struct bus_local *b, uint32_t node);

/* The registry: slots that nobody assigned are spread over the nodes that joined, each the same
 * number of them in a row. For all nodes at once; bus->ops->assign() is for one. Any thread. */
void bus_local_assign(struct bus_local *b, unsigned slot, uint32_t node);

/* Faults: the next `count` frames from one node to another are lost or come twice. */
enum bus_fault { BUS_LOSE, BUS_REPEAT, BUS_FAULTS };
void bus_local_fault(struct bus_local *b, uint32_t from, uint32_t to, enum bus_fault fault,
                     uint32_t count);

/* Counts frames sent to this node by all others. Any thread. */
struct bus_local_counters {
    uint64_t delivered, lost, gaps, repeats;
};
struct bus_local_counters bus_local_count(struct bus_local *b, uint32_t node);
