/* ensure: an invariant of the program, checked in every build. A failure prints the expression, the
 * place and a backtrace, then aborts. Never use it on bytes from a peer, a file or the database. */
#pragma once
#include <stdbool.h>

_Noreturn void ensure_failed(const char *expr, const char *file, int line);

#define ensure(c) (__builtin_expect(!!(c), 1) ? (void)0 : ensure_failed(#c, __FILE__, __LINE__))
#ifdef MUSTER_DEBUG
#define ensure_debug(c) ensure(c)
#else
#define ensure_debug(c) ((void)0)
#endif
