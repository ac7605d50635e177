/* record_ring: records of any length, the newest ones that fit into a fixed memory. It has
 * RECORD_BLOCKS blocks that are filled one after the other; when a new one begins, the records of
 * the oldest are forgotten together, so that adding one costs almost nothing. Confined to one
 * thread. */
#pragma once
#include <stddef.h>

struct record_ring;

enum { RECORD_BLOCKS = 32 };

struct record_ring *record_ring_create(size_t bytes); /* rounded down to whole blocks */
void record_ring_destroy(struct record_ring **r);
/* Room for a record, aligned to 8, the newest one. It must fit into a block. */
void *record_ring_add(struct record_ring *r, size_t bytes);
/* From the oldest (NULL) on; NULL: there are no more. */
const void *record_ring_next(const struct record_ring *r, const void *record);
