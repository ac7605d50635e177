/* pages: blocks of one size outside of the heap, for bytes that come in bursts, such as output that
 * waits. Freed, their memory goes back to the system at once, wherever they lie; in the heap, what
 * was allocated meanwhile would stand behind them, and the holes would stay. To allocate one costs
 * some microseconds: owners keep a few. Any thread. A failed allocation aborts, as in base/mem.h.
 */
#pragma once
#include <stddef.h>

enum { PAGES_BYTES = 16384 };

void *pages_alloc(void); /* zeroed */
void pages_free(void *block);
size_t pages_reserved(void); /* bytes of address space */
