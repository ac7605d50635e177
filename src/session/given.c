#include "session/given.h"
#include "account/account.h"
#include "base/buf.h"
#include "base/map.h"
#include "base/mem.h"
#include <endian.h>
#include <stdlib.h>

struct given {
    struct map map;     /* of struct given_one */
    uint32_t forget_at; /* so many: settled ones go, before there are more */
};

struct given_one {
    uint64_t archive_id, session; /* both are the key */
};

enum { GIVEN_MIN = 16 };

static slice given_key(const void *item)
{
    const struct given_one *one = item;
    return (slice){ (const char *)one, sizeof *one };
}

static void given_drop(struct given *g, struct given_one *one)
{
    map_del(&g->map, given_key(one));
    mem_free(&one);
}

/* Half of it is free afterwards, so that forgetting is rare. */
static void forget_settled(struct account *a)
{
    struct given *g = a->given;
    struct given_one *one;
    for (uint32_t i = 0; (one = map_next(&g->map, &i)) != NULL;)
        if (mailbox_state(a, one->archive_id) == ENTRY_SETTLED)
            given_drop(g, one);
    g->forget_at = g->map.count < GIVEN_MIN / 2 ? GIVEN_MIN : 2 * g->map.count;
}

void given_put(struct account *a, uint64_t archive_id, uint64_t session)
{
    if (given_to(a, archive_id, session))
        return;
    if (a->given == NULL) {
        a->given = mem_new(struct given);
        map_init(&a->given->map, given_key);
        a->given->forget_at = GIVEN_MIN;
    }
    if (a->given->map.count >= a->given->forget_at)
        forget_settled(a);
    struct given_one *one = mem_new(struct given_one);
    *one = (struct given_one){ archive_id, session };
    map_put(&a->given->map, one);
}

bool given_to(const struct account *a, uint64_t archive_id, uint64_t session)
{
    struct given_one one = { archive_id, session };
    return a->given != NULL && map_get(&a->given->map, given_key(&one)) != NULL;
}

static int given_order(const void *one, const void *other)
{
    const uint64_t *a = one, *b = other;
    return (*a > *b) - (*a < *b);
}

/* In order: the map has none of its own, and the same memory has to give the same bytes. */
void given_save(const struct account *a, uint64_t session, struct buf *out)
{
    const struct given_one *one;
    uint32_t count = 0;
    if (a->given == NULL)
        return;
    uint64_t *ids = mem_alloc((a->given->map.count + 1) * sizeof *ids);
    for (uint32_t i = 0; (one = map_next(&a->given->map, &i)) != NULL;)
        if (one->session == session && mailbox_state(a, one->archive_id) != ENTRY_SETTLED)
            ids[count++] = one->archive_id;
    qsort(ids, count, sizeof *ids, given_order);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t bytes = htole64(ids[i]);
        buf_append(out, &bytes, GIVEN_BYTES);
    }
    mem_free(&ids);
}

void given_restore(struct account *a, uint64_t session, slice saved)
{
    for (; saved.len >= GIVEN_BYTES; saved = slice_from(saved, GIVEN_BYTES)) {
        uint64_t bytes;
        memcpy(&bytes, saved.ptr, sizeof bytes);
        if (mailbox_state(a, le64toh(bytes)) != ENTRY_SETTLED)
            given_put(a, le64toh(bytes), session);
    }
}

void given_free(struct account *a)
{
    struct given_one *one;
    if (a->given == NULL)
        return;
    for (uint32_t i = 0; (one = map_next(&a->given->map, &i)) != NULL;)
        given_drop(a->given, one);
    map_fini(&a->given->map);
    mem_free(&a->given);
}
