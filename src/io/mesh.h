/* mesh: the frames between the workers of one process (architecture §4). Between two workers there
 * is exactly one FIFO: a single-producer ring; when it is full the producer appends to its own
 * outbox for that peer, and `pressure` tells the owner to stop reading the connections that fill
 * it. Frames are never dropped, never block, never overtake. A worker is woken by eventfd only when
 * it sleeps, once a tick. Frames that a worker sends to itself are delivered at once by a call (no
 * queue between two homes of one worker, so the order is that of the calls). */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include "io/loop.h"

struct mesh;

struct frame {
    struct frame *next; /* of an outbox */
    uint16_t kind;      /* the owner's, like flags and num */
    uint16_t worker;    /* sender's */
    uint32_t epoch;     /* of the sending worker */
    uint64_t seq;       /* 1, 2, 3 … per pair (sender worker, receiver worker) */
    uint32_t num;
    uint8_t flags;
    _Alignas(16) char bytes[];
};

/* With room for so many bytes; the frame is the caller's until sent, then the receiver's. */
struct frame *frame_create(uint16_t kind, size_t bytes);
void frame_free(struct frame **f); /* not what its bytes refer to */

typedef void mesh_deliver_fn(struct frame *f, void *worker); /* takes over the frame */

struct mesh *mesh_create(unsigned workers, uint32_t epoch);
/* Lets go of what a frame refers to, which is never delivered. */
typedef void mesh_drop_fn(struct frame *f);
/* Loops are gone; frames still queued are freed, after drop() (NULL: nothing to let go). */
void mesh_destroy(struct mesh **m, mesh_drop_fn *drop);
/* Registers worker i: on its thread or before threads run. `pressure(on)` is called on its thread
 * when an outbox of it begins and ceases to be non-empty. */
struct mesh_port;
struct mesh_port *mesh_attach(struct mesh *m, unsigned i, struct loop *loop,
                              mesh_deliver_fn *deliver, void (*pressure)(void *worker, int on),
                              void *worker);
void mesh_send(struct mesh_port *from, unsigned to, struct frame *f);
uint64_t mesh_queued(const struct mesh_port *p); /* frames in own outboxes */
/* The frames to and from a peer so far. On the port's thread. */
struct mesh_count {
    uint64_t sent, received;
};
struct mesh_count mesh_count(const struct mesh_port *p, unsigned peer);
