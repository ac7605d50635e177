#include "base/first_few.h"
#include "base/arena.h"
#include "base/ensure.h"
#include <stdlib.h>
#include <string.h>

enum { ROOM_FIRST = 64 };

void first_few_init(struct first_few *f, struct arena *arena, slice after, uint32_t most)
{
    ensure(most > 0);
    *f = (struct first_few){ .most = most, .after = after, .arena = arena };
}

/* Puts `new` at `at` or below, where it belongs. */
static void few_sink(struct first_few *f, uint32_t at, struct few new)
{
    for (uint32_t below = 2 * at + 1; below < f->count; below = 2 * at + 1) {
        if (below + 1 < f->count && slice_compare(f->item[below + 1].key, f->item[below].key) > 0)
            below++;
        if (slice_compare(f->item[below].key, new.key) <= 0)
            break;
        f->item[at] = f->item[below];
        at = below;
    }
    f->item[at] = new;
}

static void few_keep(struct first_few *f, struct few new)
{
    if (f->count == f->room) {
        uint32_t room = f->room == 0 ? ROOM_FIRST : f->room * 2;
        room = room < f->most ? room : f->most;
        struct few *item = arena_new(f->arena, struct few, room);
        if (f->count > 0)
            memcpy(item, f->item, f->count * sizeof *item);
        f->item = item;
        f->room = room;
    }
    f->item[f->count++] = new;
    if (f->count == f->most)
        for (uint32_t i = f->count / 2; i-- > 0;)
            few_sink(f, i, f->item[i]);
}

void first_few_add(struct first_few *f, slice key, const void *of)
{
    ensure(f->count <= f->most);
    if (f->count == f->most && slice_compare(key, f->item[0].key) >= 0)
        return;
    if (slice_compare(key, f->after) <= 0)
        return;
    if (f->count < f->most)
        few_keep(f, (struct few){ key, of });
    else
        few_sink(f, 0, (struct few){ key, of });
}

static int few_by_key(const void *a, const void *b)
{
    return slice_compare(((const struct few *)a)->key, ((const struct few *)b)->key);
}

void first_few_sort(struct first_few *f)
{
    if (f->count > 0)
        qsort(f->item, f->count, sizeof *f->item, few_by_key);
}
