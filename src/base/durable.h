/* durable: folders and small files that are complete after a power cut, or not there at all. A file
 * is written under another name, synced and renamed; then its folder is synced, because POSIX
 * promises a name only after that.
 *
 * Every call waits for the disk: use helper threads, or the main thread at start. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include <sys/types.h>

enum { DURABLE_PATH_MAX = 4096 };

/* Syncs a folder: names made, renamed or removed in it are on the disk. */
NODISCARD enum err durable_sync_folder(const char *path, struct why *why);
/* Syncs the folder that holds `path`. */
NODISCARD enum err durable_sync_parent(const char *path, struct why *why);
/* Makes a folder if it is missing, and syncs its parent in any case, if that can be opened. */
NODISCARD enum err durable_folder(const char *path, mode_t mode, struct why *why);
/* Writes a file, or replaces it as a whole. On error (E_FULL, E_IO, E_LIMIT: the path is too long)
 * nothing has changed. */
NODISCARD enum err durable_write(const char *path, mode_t mode, slice bytes, struct why *why);

/* Writes all bytes, however many calls that takes; syncs nothing. Returns 0 or errno. */
NODISCARD int durable_write_all(int fd, slice data);

/* Translates an errno of a file operation: E_FULL, E_NOTFOUND, E_DENIED, E_EXISTS, E_CANCELED or
 * E_IO. */
enum err durable_err(int error);
/* The same, and `why` is the path and the error in words. */
NODISCARD enum err durable_failed(struct why *why, const char *path, int error);
