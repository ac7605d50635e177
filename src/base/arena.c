#include "base/arena.h"
#include "base/ensure.h"
#include "base/mem.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Free parts are poisoned under AddressSanitizer: a use after arena_reset() is then reported. */
#ifdef MEM_ASAN
#include <sanitizer/asan_interface.h>
#define poison(ptr, bytes)   ASAN_POISON_MEMORY_REGION(ptr, bytes)
#define unpoison(ptr, bytes) ASAN_UNPOISON_MEMORY_REGION(ptr, bytes)
#else
#define poison(ptr, bytes)   ((void)(ptr), (void)(bytes))
#define unpoison(ptr, bytes) ((void)(ptr), (void)(bytes))
#endif

enum { ALIGN = 16, CHUNK_BYTES_DEFAULT = 4096, CHUNK_BYTES_MIN = 128 };

struct chunk {
    _Alignas(ALIGN) struct chunk *next;
};

/* One block holds the arena and the room of its first chunk: a small arena is one allocation.
 * Small requests are cut from `at`..`end` of the newest chunk; requests over half a chunk get a
 * block of their own and leave that room alone. */
struct arena {
    _Alignas(ALIGN) char *at;
    char *end;
    struct chunk *chunks; /* all but the first, newest first */
    size_t chunk_bytes;
};

static char *first_room(struct arena *a) { return (char *)(a + 1); }

struct arena *arena_create(size_t chunk_bytes)
{
    if (chunk_bytes == 0)
        chunk_bytes = CHUNK_BYTES_DEFAULT;
    if (chunk_bytes < CHUNK_BYTES_MIN)
        chunk_bytes = CHUNK_BYTES_MIN;
    chunk_bytes &= ~(size_t)(ALIGN - 1);
    struct arena *a = mem_alloc(chunk_bytes);
    *a = (struct arena){ .at = first_room(a),
                         .end = (char *)a + chunk_bytes,
                         .chunk_bytes = chunk_bytes };
    poison(a->at, (size_t)(a->end - a->at));
    return a;
}

static void arena_free_chunks(struct arena *a)
{
    while (a->chunks != NULL) {
        struct chunk *c = a->chunks;
        a->chunks = c->next;
        mem_free(&c);
    }
}

void arena_destroy(struct arena **arena)
{
    struct arena *a = *arena;
    *arena = NULL; /* before it is freed: it may have the pointer itself */
    if (a == NULL)
        return;
    arena_free_chunks(a);
    mem_free(&a);
}

void arena_reset(struct arena *arena)
{
    arena_free_chunks(arena);
    arena->at = first_room(arena);
    arena->end = (char *)arena + arena->chunk_bytes;
    poison(arena->at, (size_t)(arena->end - arena->at));
}

/* A new chunk with room for `bytes`, a multiple of ALIGN. */
static char *arena_grow(struct arena *a, size_t bytes)
{
    size_t room = a->chunk_bytes - sizeof(struct chunk);
    bool own = bytes > room / 2;
    struct chunk *c = mem_alloc(sizeof *c + (own ? bytes : room));
    c->next = a->chunks;
    a->chunks = c;
    char *start = (char *)(c + 1);
    if (!own) {
        a->at = start + bytes;
        a->end = start + room;
        poison(a->at, (size_t)(a->end - a->at));
    }
    return start;
}

void *arena_alloc_raw(struct arena *arena, size_t bytes)
{
    ensure(bytes <= SIZE_MAX / 2);
    size_t padded = bytes > 0 ? (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1) : ALIGN;
    char *ptr = arena->at;
    if (padded > (size_t)(arena->end - arena->at))
        ptr = arena_grow(arena, padded);
    else
        arena->at += padded;
    unpoison(ptr, bytes);
    return ptr;
}

void *arena_alloc(struct arena *arena, size_t count, size_t size)
{
    size_t bytes = 0;
    ensure(!__builtin_mul_overflow(count, size, &bytes));
    return memset(arena_alloc_raw(arena, bytes), 0, bytes);
}

char *arena_vprintf(struct arena *arena, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    ensure(len >= 0);
    char *text = arena_alloc_raw(arena, (size_t)len + 1);
    vsnprintf(text, (size_t)len + 1, fmt, ap);
    return text;
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = arena_vprintf(arena, fmt, ap);
    va_end(ap);
    return text;
}
