/* restart: a planned one: at an orderly end the accounts of a node are frozen into the database, at
 * the next start each node thaws those whose home it is. So a restart costs a client nothing but a
 * resumption (XEP-0198 §5).
 *
 * The bytes of an account are cut into parts of whole records, a row each, since a queue can be
 * large. Rows are deleted when all accounts are back: a crash in between repeats it. The next end
 * deletes what is still there then. Rows of an account that cannot be read, or that cannot be
 * loaded, stay for the next start. */
#pragma once
#include "store/store.h"

struct renaming;
struct worker;

/* On its thread, before streams of components are closed: components are told of sessions that end
 * and cannot be resumed. */
void restart_tell_components(struct worker *w);
/* On its thread, streams are closed already. The step of the node's life lasts until the store has
 * answered all, but not longer than five seconds, nor than one without an answer. The log says what
 * it did not take and what it did not answer. */
void restart_save(struct worker *w);
void restart_fini(struct worker *w); /* memory only: the loop and the store have ended */
/* On worker 0 after the restart, before clients can connect, so that clients which resume find
 * their sessions. `done`: an atomic_bool that becomes true at the end, also if the database could
 * not be read. */
void restart_restore(struct worker *w, void *done);
/* On each worker, when the sessions of all nodes that start together are restored: else the homes
 * of some contacts would not hear of it. Sessions that were saved only to say goodbye send
 * unavailable presence to contacts and rooms; what was restored is deleted from the database. */
void restart_end_rest(struct worker *w);
/* An account or a domain was renamed (store/store_rename.h): all that is frozen gets the new
 * addresses, too; damaged bytes do not, and they will not be thawed. Waits for the store: for
 * tools. */
NODISCARD enum err restart_rename(struct store *store, const struct renaming *renaming);
extern const struct store_schema restart_schema;

extern const struct message_row thaw_message;
