#include "base/ensure.h"
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FRAMES_MAX = 48 };

void ensure_failed(const char *expr, const char *file, int line)
{
    /* no stdio buffers and no log: their locks may be held by the code that failed */
    char text[512];
    int len = snprintf(text, sizeof text, "ensure failed: %s at %s:%d\n", expr, file, line);
    if (len > 0) {
        size_t bytes = (size_t)len < sizeof text ? (size_t)len : sizeof text - 1;
        ssize_t written = write(STDERR_FILENO, text, bytes);
        (void)written; /* there is no other place to report a failure */
    }
    void *frames[FRAMES_MAX];
    backtrace_symbols_fd(frames, backtrace(frames, FRAMES_MAX), STDERR_FILENO);
    abort();
}
