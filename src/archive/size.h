/* archive_size: how many bytes the archive of each owner has, for each conversation (table
 * archive_size). A reader of the log counts messages some time after they are stored (reader
 * `archive-sizes`, ext/mam/mam_quota.c), so storing a message costs nothing more. A batch that
 * removes a counted message subtracts it here, in the same transaction.
 *
 * In each archive that has it, a message counts as the bytes of its stanza and ARCHIVE_ROW_BYTES. A
 * tombstone counts as what stood there, because the log keeps that as well (archive/event.h).
 * Hidden entries of accounts do not count, because they are removed when they are settled. Those of
 * rooms (who entered and left) count, because they stay. */
#pragma once
#include "archive/archive.h"

struct buf;

enum { ARCHIVE_ROW_BYTES = 128 }; /* roughly what its rows and indexes take */
#define ARCHIVE_ROW_BYTES_SQL "128"

extern struct store_stmt archive_size_drop_stmt, archive_size_forget_stmt;

/* Subtracts a message from an owner whose entry the same batch deletes later. The owner's late rows
 * have been read (store_read_late()). */
void archive_size_drop(struct store_batch *b, const struct archive_line *m, int64_t owner,
                       int64_t entry);
/* For `resize` of store_address. The event of a tombstone gets longer with it, and counts no more.
 */
void archive_size_resize(struct buf *sql, const char *rows, int64_t bytes);
/* The owner is removed with all entries. */
void archive_size_forget(struct store_batch *b, int64_t owner);
