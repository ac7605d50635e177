/* mem: the only file that calls malloc (`make lint` checks that). A failed allocation aborts.
 * Limits on input keep memory from being exhausted, not error paths. */
#pragma once
#include <stddef.h>

/* Built with AddressSanitizer. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEM_ASAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define MEM_ASAN 1
#endif

void *mem_alloc(size_t bytes);  /* uninitialised */
void *mem_zalloc(size_t bytes); /* zeroed */
void *mem_realloc(void *ptr, size_t bytes);
void mem_free_(void *ptr);
void mem_wipe(void *ptr, size_t bytes); /* zeroes secrets; not optimised away */
#define mem_new(type) ((type *)mem_zalloc(sizeof(type)))
#define mem_free(pp)  (mem_free_(*(pp)), (void)(*(pp) = NULL)) /* frees and nulls; NULL is fine */
