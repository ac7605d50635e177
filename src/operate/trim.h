/* trim: returns memory that only the start needed: free heap, and pages of code (most of the set-up
 * of libcrypto never runs again). Code that is needed later is read from the page cache. Any
 * thread, once. */
#pragma once

void trim_after_start(void);
