/* sessions_saved: sessions that may resume are written at an orderly end and read at the next
 * start, so that a planned restart costs a client nothing but a resumption (XEP-0198 §5). */
#pragma once
#include "store/store.h"

struct worker;

void sessions_save(struct worker *w); /* on its thread, streams are closed already */
/* On worker 0 after the restart, before clients can connect, so that clients which resume find
 * their sessions. `done`: an atomic_bool that becomes true at the end, also if the database could
 * not be read. */
void sessions_restore(struct worker *w, void *done);
extern const struct store_schema sessions_schema;

extern const struct message_row session_back_message, end_rest_message;
