/* frames_wire: frames between nodes: as bytes and back. Fixed head, strings, then the stanza as
 * stored text. All nodes of a cluster are of one version and byte order (architecture §12: a newer
 * node announces itself before it speaks). What arrives is checked here, kind by kind: nothing in
 * it is trusted to be in range. */
#pragma once
#include "base/err.h"
#include "base/log.h"
#include "base/slice.h"

struct buf;
struct bus_from;
struct frame;
struct worker;

extern struct log_area log_frames;
void frame_pack(struct buf *out, const struct frame *f); /* not of a kind of this process only */
/* On worker w, with its scratch. E_CORRUPT: not the bytes of a frame that may come to this worker.
 */
NODISCARD enum err frame_unpack(struct frame **out, slice bytes, struct worker *w);
void frames_receive(void *worker, const struct bus_from *from, slice bytes); /* bus_deliver_fn */
