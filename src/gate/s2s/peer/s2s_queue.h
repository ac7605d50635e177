/* s2s_queue: all stanzas of one pair of domains, in their order: in front those that were written
 * to its stream and that the other server has not confirmed, behind them those that wait. A break
 * takes nothing out: all of them are written to the next stream. Each holds a reference.
 *
 * Counts are those of the stream, as `h` of XEP-0198, and wrap at 2^32. Bounded by its owner.
 * Confined to the worker of its peer. */
#pragma once
#include "base/err.h"
#include "remote/outgoing.h"

struct stanza;

struct s2s_sent {
    struct stanza *st;
    struct outgoing_id id; /* entry 0: it is not stored */
    uint64_t at_us;        /* wall clock, when it came */
    bool gone;             /* its sender was told or deleted: it is not written again */
};

struct s2s_queue {
    struct s2s_sent *ring; /* `cap` slots, a power of two; NULL: never used */
    uint32_t cap, head, len;
    uint32_t base;    /* what was confirmed on this stream */
    uint32_t written; /* of `len`: to this stream */
    uint32_t again;   /* of `len`, in front: written to this stream or an earlier one */
    uint64_t bytes;   /* of all */
    uint64_t written_bytes;
};

void s2s_queue_fini(struct s2s_queue *q); /* drops all references */
/* Behind all; or in front of those that wait and were never written. Takes over the reference. */
void s2s_queue_push(struct s2s_queue *q, const struct s2s_sent *s);
void s2s_queue_push_next(struct s2s_queue *q, const struct s2s_sent *s);
const struct s2s_sent *s2s_queue_at(const struct s2s_queue *q, uint32_t n); /* 0: the oldest */
static inline uint32_t s2s_queue_waiting(const struct s2s_queue *q) { return q->len - q->written; }
/* The next that is to be written, which counts as written then; NULL: all are. */
const struct s2s_sent *s2s_queue_write(struct s2s_queue *q);
static inline uint32_t s2s_queue_count(const struct s2s_queue *q)
{
    return q->base + q->written; /* stanzas written on this stream, and confirmed before it */
}
/* How many `h` confirms, which must be one of the counts from the last one to the one written.
 * E_PROTO: it has gone back, or is beyond. */
NODISCARD enum err s2s_queue_confirms(const struct s2s_queue *q, uint32_t h, uint32_t *count);
struct s2s_sent s2s_queue_confirm(struct s2s_queue *q); /* takes the oldest out: it is confirmed */
/* Takes out number n, with its reference. One that was written leaves a gap in the count: only
 * where the stream has ended for good. */
struct s2s_sent s2s_queue_cut(struct s2s_queue *q, uint32_t n);
/* A stream begins, to which nothing was written. anew: counts begin at 0, or go on otherwise. */
void s2s_queue_rewind(struct s2s_queue *q, bool anew);
void s2s_queue_gone(struct s2s_queue *q, uint32_t n); /* number n is `gone` */
bool s2s_queue_has(const struct s2s_queue *q, int64_t sender, uint64_t entry);
