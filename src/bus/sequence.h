/* sequence: the receiver's check of one FIFO between two workers of two nodes (design §4): the
 * numbers of a sender rise by one within an epoch. Pure; owned by the receiving worker. */
#pragma once
#include <stdint.h>

struct sequence {
    uint32_t epoch; /* of the sender; 0: never heard of */
    uint64_t last;  /* number of the last one that was taken */
};

enum sequence_verdict {
    SEQUENCE_NEXT,   /* to be taken */
    SEQUENCE_GAP,    /* to be taken; at least one before it was lost: the link is reset to here */
    SEQUENCE_REPEAT, /* taken already, or from before the sender's last start: to be dropped */
};

enum sequence_verdict sequence_check(struct sequence *s, uint32_t epoch, uint64_t seq);
