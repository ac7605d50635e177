/* event_ring: the newest events of one kind, as texts with rising numbers, for any count of readers
 * who each keep the number that they read next. Nobody waits for a reader: one that comes too late
 * is told how many events it missed.
 *
 * At most `slots` events and `bytes_max` bytes of text; more push out the oldest. Any thread. */
#pragma once
#include "base/slice.h"
#include <pthread.h>
#include <stdint.h>

struct buf;

struct event_slot {
    char *text;
    size_t len;
};

struct event_ring {
    struct event_slot *slot; /* `slots` of them */
    uint32_t slots;
    size_t bytes_max;
    pthread_mutex_t lock;
    size_t bytes;
    uint64_t first, next; /* the oldest that is there; the number of the next */
};
/* A static row. */
#define EVENT_RING(slots_, bytes_)                                                                 \
    {                                                                                              \
        .slot = (struct event_slot[slots_]){ { NULL, 0 } }, .slots = (slots_),                     \
        .bytes_max = (bytes_), .lock = PTHREAD_MUTEX_INITIALIZER, .first = 1, .next = 1            \
    }

void event_ring_add(struct event_ring *r, slice text);
void event_ring_skip(struct event_ring *r, uint64_t count); /* so many were lost before the next */
uint64_t event_ring_next(struct event_ring *r);
/* Appends event *at, or the oldest behind it that is there, and moves *at behind it; *lost grows by
 * those that were passed over. false: there is none. */
bool event_ring_read(struct event_ring *r, uint64_t *at, struct buf *out, uint64_t *lost);
void event_ring_clear(struct event_ring *r); /* frees the texts; numbers go on */
