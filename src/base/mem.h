/* mem: the only door to malloc (other folders may not call it; `make lint` checks). A failed
 * allocation aborts: input limits, not error paths, are the defence against exhaustion. */
#pragma once
#include <stddef.h>

void *mem_alloc(size_t bytes);  /* uninitialised */
void *mem_zalloc(size_t bytes); /* zeroed */
void *mem_realloc(void *ptr, size_t bytes);
void mem_free_(void *ptr);
void mem_wipe(void *ptr, size_t bytes); /* zeroes secrets; not optimised away */
#define mem_new(type) ((type *)mem_zalloc(sizeof(type)))
#define mem_free(pp)  (mem_free_(*(pp)), (void)(*(pp) = NULL)) /* frees and nulls; NULL is fine */
