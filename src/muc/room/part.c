#include "muc/room/part.h"
#include "base/ensure.h"
#include <string.h>

/* The lists of room_parts_with(), one behind the other, and where each begins. */
enum { MEMBERS = sizeof(struct room_part) / sizeof(void *), HAVING_MAX = 256 };
_Static_assert(sizeof(struct room_part) == MEMBERS * sizeof(void *), "a member is no pointer");
static const struct room_part *having[HAVING_MAX];
static uint8_t having_from[MEMBERS]; /* below HAVING_MAX */
static unsigned slots, in_affiliates;

static bool part_has(const struct room_part *p, size_t member)
{
    const void *value;
    memcpy(&value, (const char *)p + member * sizeof value, sizeof value);
    return value != NULL;
}

static unsigned part_place(unsigned bytes)
{
    const unsigned at = in_affiliates, align = sizeof(uint64_t);
    in_affiliates += (bytes + align - 1) / align * align;
    return at;
}

void room_parts_set(const struct room_part *const *list)
{
    unsigned n = 0;
    for (size_t member = 0; member < MEMBERS; member++) {
        having_from[member] = (uint8_t)n;
        for (const struct room_part *const *p = list; *p != NULL; p++) {
            if (!part_has(*p, member))
                continue;
            ensure(n < HAVING_MAX - 1);
            having[n++] = *p;
        }
        ensure(n < HAVING_MAX);
        having[n++] = NULL;
    }
    slots = in_affiliates = 0;
    for (; *list != NULL; list++) {
        ensure(((*list)->load == NULL) == ((*list)->loaded == NULL));
        ensure((*list)->store == NULL || (*list)->remove != NULL);
        if ((*list)->slot != NULL)
            *(*list)->slot = slots++;
        if ((*list)->in_affiliates != NULL)
            *(*list)->in_affiliates->at = part_place((*list)->in_affiliates->bytes);
    }
}

unsigned room_slots(void) { return slots; }
unsigned affiliate_memory_bytes(void) { return in_affiliates; }

const struct room_part *const *room_parts_with(size_t offset)
{
    ensure(offset < sizeof(struct room_part));
    return having + having_from[offset / sizeof(void *)];
}

bool muc_is_administrator(slice bare)
{
    PARTS_EACH (p, owns)
        if (p->owns(bare))
            return true;
    return false;
}
