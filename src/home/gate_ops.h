/* gate_ops: the table by which homes reach streams of clients. The program gives it to the node.
 * What concerns one edge alone is in the table of that edge (home/edge.h). */
#pragma once
#include <stddef.h>

struct down;
struct stream;

struct gate_ops {
    void (*down)(struct stream *s, const struct down *d); /* core/gate.h */
    size_t (*output)(const struct stream *s); /* bytes that wait for its client; may be NULL */
};
