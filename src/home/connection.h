/* connection: ids of streams and links to other domains, which own a descriptor. That is in the
 * loop of one worker as long as it lives, and cannot go to another node. So the id says which
 * worker that is, beside the number of its node, and is of one run of that node (their numbers
 * begin anywhere); a stream that
 * moves to another worker before it is bound gets another id. It is never stored. Only
 * session/link.c and home/remote.c look into it, where they send. */
#pragma once
#include <stdint.h>

struct worker;

enum { CONNECTION_WORKER_BITS = 16 };

uint64_t connection_new_id(struct worker *w);

static inline unsigned connection_worker(uint64_t id)
{
    return id & ((1u << CONNECTION_WORKER_BITS) - 1);
}
