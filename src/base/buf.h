/* buf: a growing byte buffer with a maximum given at construction. Appending beyond the maximum
 * sets `overflow` and appends nothing more; the owner tests it once, at the end. */
#pragma once
#include "base/slice.h"
#include <stdarg.h>
#include <stdint.h>

struct buf {
    char *ptr;
    size_t len, cap, max;
    bool overflow;
};

void buf_init(struct buf *b, size_t bytes_max); /* allocates nothing yet */
void buf_fini(struct buf *b);
void buf_clear(struct buf *b); /* keeps the memory, forgets an overflow */
/* Space for `bytes` at the end: the caller writes to it and adds to `len` what it has written.
 * NULL, and overflow is set, beyond the maximum. */
char *buf_reserve(struct buf *b, size_t bytes);
void buf_append_grow(struct buf *b, const void *ptr, size_t len);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_int(struct buf *b, int64_t n); /* decimal: a tenth of what buf_printf() costs */
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
void buf_consume(struct buf *b, size_t bytes); /* drops the first bytes */

static inline void buf_append(struct buf *b, const void *ptr, size_t len)
{
    if (len <= b->cap - b->len && !b->overflow) {
        if (len > 0)
            memcpy(b->ptr + b->len, ptr, len);
        b->len += len;
    } else {
        buf_append_grow(b, ptr, len);
    }
}
static inline void buf_add(struct buf *b, slice s) { buf_append(b, s.ptr, s.len); }
#define buf_lit(b, lit) buf_append((b), "" lit, sizeof(lit) - 1)
static inline slice buf_slice(const struct buf *b) { return (slice){ b->ptr, b->len }; }
/* All of it; empty if it overflowed, which is counted and logged (base/cut.h). */
#define buf_fit(b) buf_fit_in((b), __func__)
slice buf_left_out(const struct buf *b, const char *where);
static inline slice buf_fit_in(const struct buf *b, const char *where)
{
    return b->overflow ? buf_left_out(b, where) : buf_slice(b);
}
