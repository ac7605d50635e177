/* whole_file: a file that somebody named, read at once into memory. What does not end, such as a
 * pipe or a terminal, is refused: it would hold a thread for ever.
 *
 * Waits for the disk: helper threads, or the main thread at start. */
#pragma once
#include "base/buf.h"
#include "base/err.h"

/* Appends the file to an empty `out`, whose limit is that of the file. Wipes nothing. E_IO: it
 * cannot be opened or read; E_SYNTAX: not a regular file; E_LIMIT: it is longer. */
NODISCARD enum err whole_file_read(struct buf *out, const char *path, struct why *why);
