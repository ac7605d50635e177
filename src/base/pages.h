/* pages: blocks of one size outside of the heap, for data that comes in bursts, such as queued
 * output. A freed block returns its memory to the system at once. In the heap, later allocations
 * would keep it from shrinking. An allocation takes some microseconds, so owners keep a few blocks.
 * Any thread. A failed allocation aborts, as in base/mem.h. */
#pragma once
#include <stddef.h>

enum { PAGES_BYTES = 16384 };

void *pages_alloc(void); /* zeroed */
void pages_free(void *block);
size_t pages_reserved(void); /* bytes of address space */
