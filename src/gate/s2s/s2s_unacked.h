/* s2s_unacked: stanzas of one partner that were given to its stream, in order, and that the other
 * server has not confirmed (XEP-0198; without it, see s2s_partner.h). They stay when the stream
 * breaks, and are written to the next one. Each holds a reference.
 *
 * The count is that of the stream, as `h` of the XEP; it wraps at 2^32. Bounded by its owner.
 * Confined to the worker of its partner. */
#pragma once
#include "base/err.h"
#include "im/outgoing.h"

struct stanza;

struct s2s_sent {
    struct stanza *st;
    struct outgoing_id id; /* entry 0: it is not stored */
    uint64_t at_us;        /* wall clock, when it came */
    bool gone;             /* its sender was deleted or took it back, or it is answered: not
                            * written again */
};

struct s2s_unacked {
    struct s2s_sent *ring; /* `cap` slots, a power of two; NULL: never used */
    uint32_t cap, head, len;
    uint32_t base;    /* what was confirmed on this stream */
    uint32_t written; /* of `len`: to this stream */
    uint64_t bytes;   /* of all stanzas in it */
};

void s2s_unacked_fini(struct s2s_unacked *q); /* drops all references */
/* Behind the others, not written. Takes over the reference. */
void s2s_unacked_push(struct s2s_unacked *q, const struct s2s_sent *s);
/* Before those that are not written. Takes over the reference. */
void s2s_unacked_push_next(struct s2s_unacked *q, const struct s2s_sent *s);
/* The oldest; NULL: there is none. */
const struct s2s_sent *s2s_unacked_first(const struct s2s_unacked *q);
const struct s2s_sent *s2s_unacked_at(const struct s2s_unacked *q, uint32_t n); /* 0: the oldest */
/* The next that is to be written, which counts as written then; NULL: all are. */
const struct s2s_sent *s2s_unacked_write(struct s2s_unacked *q);
static inline uint32_t s2s_unacked_count(const struct s2s_unacked *q)
{
    return q->base + q->written; /* stanzas written on this stream, and confirmed before it */
}
/* How many `h` confirms, which must be one of the counts from the last one to the one written.
 * E_PROTO: it has gone back, or is beyond. */
NODISCARD enum err s2s_unacked_confirms(const struct s2s_unacked *q, uint32_t h, uint32_t *count);
/* Takes the oldest out, with its reference; confirmed: it counts for the stream. */
struct s2s_sent s2s_unacked_take(struct s2s_unacked *q, bool confirmed);
/* Takes out the next that is to be written, with its reference: it is not. */
struct s2s_sent s2s_unacked_cut(struct s2s_unacked *q);
/* A stream begins, to which nothing was written. anew: counts begin at 0, or go on otherwise. */
void s2s_unacked_rewind(struct s2s_unacked *q, bool anew);
/* Those that `pick` says are `gone`. */
typedef bool s2s_unacked_fn(const struct s2s_sent *s, void *arg);
void s2s_unacked_gone(struct s2s_unacked *q, s2s_unacked_fn *pick, void *arg);
bool s2s_unacked_has(const struct s2s_unacked *q, int64_t sender, uint64_t entry);
