/* trim: after the start, gives back the memory that only starting needed: free heap, and the pages
 * of code that were mapped on the way (most of libcrypto's set-up is never run again). Code that is
 * needed comes back from the page cache by itself. Any thread, once. */
#pragma once

void trim_after_start(void);
