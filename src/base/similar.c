#include "base/similar.h"
#include <stdio.h>

enum { LETTER = 2, PART = 3 }; /* a missing part is nearer than two wrong letters */

void similar_init(struct similar *s, slice wanted)
{
    /* Up to a third of the letters may be wrong. */
    *s =
        (struct similar){ .wanted = wanted, .distance = LETTER * ((unsigned)(wanted.len / 3) + 1) };
    if (wanted.len < 2 || wanted.len > SIMILAR_BYTES_MAX)
        s->distance = 0;
}

static unsigned similar_least(unsigned a, unsigned b) { return a < b ? a : b; }

/* The number of letters to insert, remove, replace, or swap with their neighbour. */
static unsigned distance(slice a, slice b)
{
    unsigned rows[3][SIMILAR_BYTES_MAX + 1];
    for (unsigned j = 0; j <= b.len; j++)
        rows[0][j] = j;
    for (unsigned i = 1; i <= a.len; i++) {
        unsigned *now = rows[i % 3];
        const unsigned *last = rows[(i - 1) % 3], *before = rows[(i + 1) % 3];
        now[0] = i;
        for (unsigned j = 1; j <= b.len; j++) {
            unsigned other = a.ptr[i - 1] != b.ptr[j - 1];
            now[j] = similar_least(similar_least(last[j], now[j - 1]) + 1, last[j - 1] + other);
            if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1])
                now[j] = similar_least(now[j], before[j - 2] + 1);
        }
    }
    return rows[a.len % 3][b.len];
}

/* Whether the shorter text is the beginning or the end of the other, because a part was left
 * out. */
static bool is_part(slice part, slice of)
{
    return part.len >= 3 && part.len < of.len &&
           (memcmp(of.ptr, part.ptr, part.len) == 0 ||
            memcmp(of.ptr + of.len - part.len, part.ptr, part.len) == 0);
}

void similar_try(struct similar *s, slice name)
{
    if (s->distance == 0 || name.len == 0 || name.len > SIMILAR_BYTES_MAX)
        return;
    unsigned found = LETTER * distance(s->wanted, name);
    if (is_part(s->wanted, name) || is_part(name, s->wanted))
        found = similar_least(found, PART);
    if (found < s->distance || (found == s->distance && s->best.ptr == NULL && found == LETTER)) {
        s->distance = found;
        s->best = name;
    }
}

struct similar_text similar_text(const struct similar *s)
{
    struct similar_text out = { "" };
    if (s->best.ptr != NULL)
        snprintf(out.text, sizeof out.text, "; did you mean %.*s?", SLICE_ARG(s->best));
    return out;
}
