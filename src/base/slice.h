/* slice: a borrowed range of bytes, valid during the call unless a header says longer. There is no
 * NUL at its end. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct slice {
    const char *ptr;
    size_t len;
} slice;

struct arena;

/* clang-format off */
#define SLICE(lit)      ((slice){ "" lit, sizeof(lit) - 1 })
#define SLICE_INIT(lit) { "" lit, sizeof(lit) - 1 } /* in static tables */
#define SLICE_ARG(s)    (int)(s).len, (s).ptr       /* for "%.*s" */
/* clang-format on */

static inline slice slice_of(const char *cstr)
{
    return (slice){ cstr, cstr == NULL ? 0 : strlen(cstr) };
}
static inline bool slice_eq(slice a, slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline bool slice_is(slice a, const char *cstr) { return slice_eq(a, slice_of(cstr)); }
static inline slice slice_from(slice s, size_t at)
{
    if (at > s.len)
        at = s.len;
    return at > 0 ? (slice){ s.ptr + at, s.len - at } : s; /* NULL + 0 would be undefined */
}
static inline bool slice_starts(slice s, slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}
/* Copies to *at and moves *at behind the copy. For texts that are kept in the same block as their
 * owner. */
static inline slice slice_lay(char **at, slice s)
{
    slice out = { *at, s.len };
    if (s.len > 0)
        memcpy(*at, s.ptr, s.len);
    *at += s.len;
    return out;
}

slice slice_dup(struct arena *arena, slice s);  /* copied into the arena, NUL added; NULL stays */
char *slice_cstr(struct arena *arena, slice s); /* the same, as a C string for library borders */
slice slice_keep(slice s);                      /* copied to the heap, also if it is empty */
void slice_release(slice *s);                   /* frees a kept slice and empties it; NULL is
                                                 * fine */
/* A copy with its text behind it in one block, for the argument of a callback; mem_free() frees it.
 */
slice *slice_box(slice s);
/* Splits at the first `sep`, which belongs to neither part. false: there is none, and the head is
 * everything. */
bool slice_cut(slice s, char sep, slice *head, slice *tail);
/* Without these bytes at its end; `least` bytes stay. */
slice slice_without_end(slice s, char c, size_t least);
/* The next word of a list, separated by spaces; false: there are no more. */
bool slice_word(slice *list, slice *word);
bool slice_int(slice s, int64_t *out);  /* whole slice is a decimal number in range */
int slice_compare(slice a, slice b);    /* by bytes, a prefix first: < 0, 0, > 0 */
bool slice_eq_nocase(slice a, slice b); /* ASCII only */
