/* sqlite_index: a full-text index (struct store_index) whose tables contradict each other. It has
 * nothing that the log does not have: so it is emptied, its reader begins at the first message
 * again, and what was refused is tried once more. On the threads of the store.
 *
 * Limit: once a minute. */
#pragma once
#include "store/store_sqlite.h"

/* Empties the damaged index, outside a transaction. SQLITE_CORRUPT_VTAB: it was, a short time ago.
 */
NODISCARD int sqlite_index_empty(struct sqlite_conn *c);
/* Behind the migrations: an index whose statements do not prepare is emptied. */
NODISCARD int sqlite_index_look(struct sqlite_conn *c);
/* Whether nothing but the index is damaged. The writer then empties it. */
bool sqlite_index_is_damaged(struct sqlite_db *db, int rc);
