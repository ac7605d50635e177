#include "base/slice.h"
#include "base/arena.h"
#include "base/mem.h"

slice slice_dup(struct arena *arena, slice s)
{
    if (s.ptr == NULL)
        return s;
    return (slice){ slice_cstr(arena, s), s.len };
}

char *slice_cstr(struct arena *arena, slice s)
{
    char *copy = arena_alloc_raw(arena, s.len + 1);
    if (s.len > 0)
        memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return copy;
}

slice slice_keep(slice s)
{
    char *copy = mem_alloc(s.len + 1), *at = copy;
    return slice_lay(&at, s);
}

slice *slice_box(slice s)
{
    slice *box = mem_alloc(sizeof *box + s.len);
    char *at = (char *)(box + 1);
    *box = slice_lay(&at, s);
    return box;
}

void slice_release(slice *s)
{
    mem_free_((void *)(uintptr_t)s->ptr);
    *s = (slice){ 0 };
}

bool slice_cut(slice s, char sep, slice *head, slice *tail)
{
    const char *at = s.len > 0 ? memchr(s.ptr, sep, s.len) : NULL;
    size_t head_len = at != NULL ? (size_t)(at - s.ptr) : s.len;
    *head = (slice){ s.ptr, head_len };
    *tail = slice_from(s, at != NULL ? head_len + 1 : head_len);
    return at != NULL;
}

slice slice_without_end(slice s, char c, size_t least)
{
    while (s.len > least && s.ptr[s.len - 1] == c)
        s.len--;
    return s;
}

bool slice_word(slice *list, slice *word)
{
    do
        (void)slice_cut(*list, ' ', word, list);
    while (word->len == 0 && list->len > 0);
    return word->len > 0;
}

bool slice_int(slice s, int64_t *out)
{
    bool negative = s.len > 0 && s.ptr[0] == '-';
    size_t i = negative ? 1 : 0;
    if (i == s.len)
        return false;
    int64_t value = 0; /* built as a negative number, because INT64_MIN has no positive
                        * counterpart */
    for (; i < s.len; i++) {
        int digit = s.ptr[i] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, digit, &value))
            return false;
    }
    if (!negative && value == INT64_MIN)
        return false;
    *out = negative ? value : -value;
    return true;
}

int slice_compare(slice a, slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int c = len == 0 ? 0 : memcmp(a.ptr, b.ptr, len);
    return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

static char slice_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

bool slice_eq_nocase(slice a, slice b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        if (slice_lower(a.ptr[i]) != slice_lower(b.ptr[i]))
            return false;
    }
    return true;
}
