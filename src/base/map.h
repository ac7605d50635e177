/* map: pointers to items found by a key that lives inside the item. Open addressing, keyed hash,
 * grows by doubling and shrinks when mostly empty. Does not own the items. One owner thread. */
#pragma once
#include "base/slice.h"

typedef slice map_key_fn(const void *item);

struct map_slot {
    uint64_t hash;
    void *item; /* NULL: unused */
};

struct map {
    struct map_slot *slots; /* NULL while empty */
    uint32_t cap, count, dead;
    map_key_fn *key;
};

static inline slice map_key_slice(const void *item) { return *(const slice *)item; } /* a set */
void map_init(struct map *m, map_key_fn *key);
void map_fini(struct map *m);                  /* items stay with their owner */
void *map_get(const struct map *m, slice key); /* NULL: absent */
void *map_get_hashed(const struct map *m, slice key, uint64_t hash); /* hash = hash_keyed(key) */
void map_put(struct map *m, void *item);                             /* its key must be absent */
void *map_del(struct map *m, slice key); /* the item taken out, or NULL */

/* Iteration: for (uint32_t i = 0; (item = map_next(m, &i)) != NULL;) — the body may map_del() any
 * item (no rehash happens on deletion) but may not map_put(). */
void *map_next(const struct map *m, uint32_t *at);
