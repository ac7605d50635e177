/* message_wire: messages between nodes: as bytes and back. A head (format, part of a conversation,
 * id, question), then the fields (home/message_fields.h) in the order of the row. What arrives is
 * checked field by field, then by the row: nothing in it is trusted to be in range. */
#pragma once
#include "base/buf.h"
#include "base/log.h"
#include "home/message.h"

enum { MESSAGE_BYTES_MAX = 64 << 20, MESSAGE_FORMAT = 1, MESSAGE_HEAD_BYTES = 8 };

extern struct log_area log_frames;

/* Part and passed share a byte; the other fields are not read, nor written. */
static inline uint8_t message_part_pack(const struct message_from *as)
{
    return (uint8_t)(as->passed << 4 | as->part);
}
static inline void message_part_unpack(struct message_from *from, uint8_t packed)
{
    from->part = packed & 15;
    from->passed = packed >> 4;
}
/* Of a row for other nodes. Of `as`, part, passed and question are read. */
void message_pack(struct buf *out, const struct message_row *row, const void *message,
                  const struct message_from *as);
/* On worker w, with its scratch, in which the message is; its texts are in `bytes`, its references
 * the caller's. `from` says who sent it, and gets part, passed and question. E_UNSUPPORTED: another
 * format, or a message that this release does not know. E_CORRUPT: `why` says where. */
NODISCARD enum err message_unpack(const struct message_row **row, void **message, slice bytes,
                                  struct worker *w, struct message_from *from, struct why *why);
