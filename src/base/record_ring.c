#include "base/record_ring.h"
#include "base/ensure.h"
#include "base/mem.h"
#include <stdint.h>

enum { HEAD_BYTES = 8 }; /* before each record: its length with the head */

struct record_ring {
    char *memory, *at; /* of the next record */
    size_t left;       /* in the block that is filled */
    size_t block_bytes;
    unsigned block; /* that one */
    size_t used[RECORD_BLOCKS];
};

static char *record_block(const struct record_ring *r, unsigned block)
{
    return r->memory + block * r->block_bytes;
}

static void record_begin_block(struct record_ring *r, unsigned block)
{
    r->block = block;
    r->used[block] = 0;
    r->at = record_block(r, block);
    r->left = r->block_bytes;
}

struct record_ring *record_ring_create(size_t bytes)
{
    struct record_ring *r = mem_new(struct record_ring);
    r->block_bytes = bytes / RECORD_BLOCKS & ~(size_t)7;
    ensure(r->block_bytes > HEAD_BYTES);
    r->memory = mem_zalloc(RECORD_BLOCKS * r->block_bytes);
    record_begin_block(r, 0);
    return r;
}

void record_ring_destroy(struct record_ring **r)
{
    if (*r == NULL)
        return;
    mem_free(&(*r)->memory);
    mem_free(r);
}

void *record_ring_add(struct record_ring *r, size_t bytes)
{
    bytes = ((bytes + 7) & ~(size_t)7) + HEAD_BYTES;
    if (bytes > r->left) {
        ensure(bytes <= r->block_bytes);
        r->used[r->block] = r->block_bytes - r->left;
        record_begin_block(r, (r->block + 1) % RECORD_BLOCKS);
    }
    char *head = r->at;
    *(size_t *)(void *)head = bytes;
    r->at += bytes;
    r->left -= bytes;
    return head + HEAD_BYTES;
}

static size_t record_used(const struct record_ring *r, unsigned block)
{
    return block == r->block ? r->block_bytes - r->left : r->used[block];
}

const void *record_ring_next(const struct record_ring *r, const void *record)
{
    unsigned block = (r->block + 1) % RECORD_BLOCKS; /* the oldest */
    size_t at = 0;
    if (record != NULL) {
        size_t offset = (size_t)((const char *)record - r->memory) - HEAD_BYTES;
        block = (unsigned)(offset / r->block_bytes);
        at = offset % r->block_bytes + *(const size_t *)(const void *)(r->memory + offset);
    }
    while (at == record_used(r, block)) {
        if (block == r->block)
            return NULL;
        block = (block + 1) % RECORD_BLOCKS;
        at = 0;
    }
    return record_block(r, block) + at + HEAD_BYTES;
}
