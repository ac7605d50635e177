#include "bus/sequence.h"

enum sequence_verdict sequence_check(struct sequence *s, uint32_t epoch, uint64_t seq)
{
    if (epoch < s->epoch || (epoch == s->epoch && seq <= s->last))
        return SEQUENCE_REPEAT;
    uint64_t expected = epoch == s->epoch ? s->last + 1 : 1;
    s->epoch = epoch;
    s->last = seq;
    return seq == expected ? SEQUENCE_NEXT : SEQUENCE_GAP;
}
