#include "base/buf.h"
#include "base/cut.h"
#include "base/ensure.h"
#include "base/mem.h"
#include <stdarg.h>
#include <stdio.h>

enum { BLOCK_BYTES_MIN = 64 };

void buf_init(struct buf *b, size_t bytes_max)
{
    ensure(bytes_max > 0 && bytes_max <= SIZE_MAX / 4);
    *b = (struct buf){ .max = bytes_max };
}

void buf_fini(struct buf *b)
{
    mem_free(&b->ptr);
    b->len = b->cap = 0;
    b->overflow = false;
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->overflow = false;
}

/* Blocks double, so that appending is linear; the last block ends at the maximum. One byte more
 * than `cap` is allocated, for the NUL that vsnprintf() insists on. */
static void buf_grow(struct buf *b, size_t need)
{
    size_t block = BLOCK_BYTES_MIN;
    while (block < need + 1)
        block *= 2;
    b->cap = block - 1 < b->max ? block - 1 : b->max;
    b->ptr = mem_realloc(b->ptr, b->cap + 1);
}

char *buf_reserve(struct buf *b, size_t bytes)
{
    if (b->overflow || bytes > b->max - b->len) {
        b->overflow = true;
        return NULL;
    }
    if (b->ptr == NULL || bytes > b->cap - b->len)
        buf_grow(b, b->len + bytes);
    return b->ptr + b->len;
}

void buf_append_grow(struct buf *b, const void *ptr, size_t len)
{
    char *room = len > 0 ? buf_reserve(b, len) : NULL;
    if (room == NULL)
        return;
    memcpy(room, ptr, len);
    b->len += len;
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    size_t room = b->ptr != NULL ? b->cap - b->len + 1 : 0;
    int len = vsnprintf(room > 0 ? b->ptr + b->len : NULL, room, fmt, again);
    va_end(again);
    ensure(len >= 0);
    if (buf_reserve(b, (size_t)len) == NULL)
        return;
    if ((size_t)len >= room)
        vsnprintf(b->ptr + b->len, (size_t)len + 1, fmt, ap);
    b->len += (size_t)len;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void buf_int(struct buf *b, int64_t n)
{
    char text[sizeof "-9223372036854775808"], *end = text + sizeof text, *at = end;
    uint64_t rest = n < 0 ? -(uint64_t)n : (uint64_t)n;
    do
        *--at = (char)('0' + rest % 10);
    while ((rest /= 10) > 0);
    if (n < 0)
        *--at = '-';
    buf_append(b, at, (size_t)(end - at));
}

slice buf_left_out(const struct buf *b, const char *where)
{
    ensure(b->overflow);
    cut_buffer(where, b->max);
    return (slice){ 0 };
}

void buf_consume(struct buf *b, size_t bytes)
{
    ensure(bytes <= b->len);
    if (bytes == 0)
        return;
    b->len -= bytes;
    memmove(b->ptr, b->ptr + bytes, b->len);
}
