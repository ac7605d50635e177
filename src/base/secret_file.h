/* secret_file: files that hold a key of this server. Such a file belongs to the user that runs the
 * server and to nobody else (mode 0600). A file that cannot be read or has changed is an error that
 * the caller must not ignore: with a new key in its place, everything that the old one protects
 * would be lost.
 *
 * Every call waits for the disk: at start and in tools only. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

/* Reads a file of exactly `len` bytes. E_NOTFOUND: there is none. E_DENIED: it cannot be opened, it
 * has another owner, or others may read or write it. E_CORRUPT: not a file, or another length. On
 * an error `out` is all zeros and must not be used. */
NODISCARD enum err secret_file_read(const char *path, void *out, size_t len, struct why *why);
/* The same, but a missing file is made, with random bytes. */
NODISCARD enum err secret_file_obtain(const char *path, void *out, size_t len, struct why *why);
/* Writes a file, complete or not at all: see durable.h. */
NODISCARD enum err secret_file_write(const char *path, slice bytes, struct why *why);
/* Checks owner, mode and type of a file that a library will read. E_CORRUPT: it is empty. */
NODISCARD enum err secret_file_check(const char *path, struct why *why);
