/* first_few: of many things the first in the order of their keys, found in one walk over all: a
 * heap has the last of those that were kept on top, so that most of the others cost one comparison.
 * Keys and things are borrowed. Memory: of those that are kept, in the arena. */
#pragma once
#include "base/slice.h"
#include <stdint.h>

struct arena;

struct few {
    slice key;
    const void *of;
};
struct first_few {
    struct few *item; /* after first_few_sort() in order */
    uint32_t count;
    uint32_t room, most;
    slice after;
    struct arena *arena;
};

/* At most `most` (> 0) are kept, all with a key behind `after`. */
void first_few_init(struct first_few *f, struct arena *arena, slice after, uint32_t most);
void first_few_add(struct first_few *f, slice key, const void *of);
/* The last call. Things with the same key are in any order. */
void first_few_sort(struct first_few *f);
