/* arena: memory that is freed as a whole. Not thread-safe: one owner at a time. The loop resets its
 * scratch arena after every callback, so nothing in it outlives the callback. */
#pragma once
#include <stdarg.h>
#include <stddef.h>

struct arena;

struct arena *arena_create(size_t chunk_bytes); /* 0: 4 KiB chunks; larger requests get their own */
void arena_destroy(struct arena **arena);       /* NULL is fine; so is a pointer in the arena */
void arena_reset(struct arena *arena);          /* keeps the first chunk */
void *arena_alloc(struct arena *arena, size_t count, size_t size); /* zeroed, 16-byte aligned */
void *arena_alloc_raw(struct arena *arena, size_t bytes);          /* aligned, not zeroed */
char *arena_printf(struct arena *arena, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *arena, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));
#define arena_new(arena, type, count) ((type *)arena_alloc((arena), (count), sizeof(type)))
