#include "base/mem.h"
#include "base/ensure.h"
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

/* An allocation of no bytes returns a block, too: NULL always means "none". */
static size_t at_least_one(size_t bytes) { return bytes > 0 ? bytes : 1; }

void *mem_alloc(size_t bytes)
{
    void *ptr = malloc(at_least_one(bytes));
    ensure(ptr != NULL);
    return ptr;
}

void *mem_zalloc(size_t bytes)
{
    void *ptr = calloc(1, at_least_one(bytes));
    ensure(ptr != NULL);
    return ptr;
}

void *mem_realloc(void *ptr, size_t bytes)
{
    ptr = realloc(ptr, at_least_one(bytes));
    ensure(ptr != NULL);
    return ptr;
}

/* A debug build fills what is freed, so that what still points there reads nonsense. */
void mem_free_(void *ptr)
{
#if defined(MUSTER_DEBUG) && !defined(MEM_ASAN) /* which finds by itself what is used later */
    if (ptr != NULL)
        memset(ptr, 0xa5, malloc_usable_size(ptr));
#endif
    free(ptr);
}

void mem_wipe(void *ptr, size_t bytes)
{
    if (bytes > 0)
        explicit_bzero(ptr, bytes);
}
