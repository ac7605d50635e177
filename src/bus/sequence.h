/* sequence: checks the frame numbers of one FIFO between two workers (docs/architecture.md §4).
 * Within an epoch the numbers of a sender rise by one. Pure; owned by the receiving worker. */
#pragma once
#include <stdint.h>

struct sequence {
    uint32_t epoch; /* of the sender; 0: no frame has come yet */
    uint64_t last;  /* number of the last accepted frame */
};

enum sequence_verdict {
    SEQUENCE_NEXT,   /* accept it */
    SEQUENCE_GAP,    /* accept it, but earlier frames were lost: counting continues from this one */
    SEQUENCE_REPEAT, /* drop it: it came before, or was sent before the sender's last start */
};

enum sequence_verdict sequence_check(struct sequence *s, uint32_t epoch, uint64_t seq);
