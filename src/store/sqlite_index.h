/* sqlite_index: a full-text index (struct store_index) whose tables contradict each other, are
 * missing, or of another version. It has nothing that the log does not have: so it is dropped and
 * made anew, empty, its reader begins at the first message again, and what was refused is tried
 * once more. On the threads of the store.
 *
 * Limit: once a minute. */
#pragma once
#include "store/store_sqlite.h"

/* Makes the damaged index anew, outside a transaction. SQLITE_CORRUPT_VTAB: it was, a short time
 * ago. */
NODISCARD int sqlite_index_make(struct sqlite_conn *c);
/* Behind the migrations: an index that cannot be opened is made anew. */
NODISCARD int sqlite_index_look(struct sqlite_conn *c);
/* Whether the index is to blame for a failure. What SQLite said of it has been noted. */
bool sqlite_index_fails(struct sqlite_conn *c, int rc);
/* The same; the writer then makes it anew. */
bool sqlite_index_is_damaged(struct sqlite_conn *c, int rc);
