/* gate_ops: the table by which homes reach streams and links, whatever edge they belong to. The
 * program gives it to the node. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct down;
struct stanza;
struct stream;
struct worker;

struct gate_ops {
    void (*down)(struct stream *s, const struct down *d); /* im/gate.h */
    size_t (*output)(const struct stream *s); /* bytes that wait for its client; may be NULL */
    /* For a link of this worker (home/remote.h). Takes over st. NULL: there are no links. */
    void (*remote)(struct worker *w, uint64_t link, struct stanza *st);
    /* Closes the streams of sessions whose home was that node. NULL: there are none. */
    void (*node_gone)(struct worker *w, uint32_t node);
};
