#include "base/map.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"

/* Linear probing. A slot is unused, taken, or a mark of a deleted item. Deletion leaves a mark and
 * moves nothing, so an iteration can go on. The next rehash, which only a put starts, removes the
 * marks. At least a quarter of the slots is unused, so every search ends. */
enum { CAP_MIN = 8, COUNT_MAX = 1 << 29 };

static char dead_mark;
#define DEAD ((void *)&dead_mark)

void map_init(struct map *m, map_key_fn *key) { *m = (struct map){ .key = key }; }

static void drop_slots(struct map *m)
{
    mem_free(&m->slots);
    m->cap = m->count = m->dead = 0;
}

void map_fini(struct map *m) { drop_slots(m); }

static struct map_slot *map_find(const struct map *m, slice key, uint64_t hash)
{
    if (m->count == 0)
        return NULL;
    uint32_t mask = m->cap - 1;
    for (uint32_t i = (uint32_t)hash & mask;; i = (i + 1) & mask) {
        struct map_slot *s = &m->slots[i];
        if (s->item == NULL)
            return NULL;
        if (s->hash == hash && s->item != DEAD && slice_eq(m->key(s->item), key))
            return s;
    }
}

void *map_get_hashed(const struct map *m, slice key, uint64_t hash)
{
    struct map_slot *s = map_find(m, key, hash);
    return s != NULL ? s->item : NULL;
}

void *map_get(const struct map *m, slice key)
{
    return m->count > 0 ? map_get_hashed(m, key, hash_keyed(key)) : NULL;
}

/* The first slot for this hash that is unused or a mark. */
static struct map_slot *free_slot(const struct map *m, uint64_t hash)
{
    uint32_t mask = m->cap - 1, i = (uint32_t)hash & mask;
    while (m->slots[i].item != NULL && m->slots[i].item != DEAD)
        i = (i + 1) & mask;
    return &m->slots[i];
}

/* Afterwards the map is at most half full and has no marks. */
static void rehash(struct map *m)
{
    ensure(m->count < COUNT_MAX);
    struct map old = *m;
    m->cap = CAP_MIN;
    while (m->cap / 2 < old.count + 1)
        m->cap *= 2;
    m->dead = 0;
    m->slots = mem_zalloc(m->cap * sizeof *m->slots);
    for (uint32_t i = 0; i < old.cap; i++) {
        struct map_slot *s = &old.slots[i];
        if (s->item != NULL && s->item != DEAD)
            *free_slot(m, s->hash) = *s;
    }
    mem_free(&old.slots);
}

void map_put(struct map *m, void *item)
{
    ensure(item != NULL);
    slice key = m->key(item);
    uint64_t hash = hash_keyed(key);
    ensure_debug(map_find(m, key, hash) == NULL);

    bool crowded = m->count + m->dead + 1 > m->cap / 4 * 3;
    bool deserted = m->cap > CAP_MIN && m->count < m->cap / 8;
    if (crowded || deserted)
        rehash(m);

    struct map_slot *s = free_slot(m, hash);
    if (s->item == DEAD)
        m->dead--;
    *s = (struct map_slot){ hash, item };
    m->count++;
}

void *map_del(struct map *m, slice key)
{
    struct map_slot *s = map_find(m, key, hash_keyed(key));
    if (s == NULL)
        return NULL;
    void *item = s->item;
    if (m->count == 1) {
        drop_slots(m);
        return item;
    }
    s->item = DEAD;
    m->dead++;
    m->count--;

    /* no search needs marks in front of an unused slot: make them unused again */
    uint32_t mask = m->cap - 1, i = (uint32_t)(s - m->slots);
    if (m->slots[(i + 1) & mask].item == NULL) {
        for (; m->slots[i].item == DEAD; i = (i - 1) & mask) {
            m->slots[i].item = NULL;
            m->dead--;
        }
    }
    return item;
}

void *map_next(const struct map *m, uint32_t *at)
{
    while (*at < m->cap) {
        void *item = m->slots[(*at)++].item;
        if (item != NULL && item != DEAD)
            return item;
    }
    return NULL;
}
