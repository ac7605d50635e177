/* bury: tombstones in the archive of a room (XEP-0424 §5, XEP-0425). The id of a retracted
 * message is that of its stanza-id, so it is one row. The row is changed only if it is still as it
 * was read. room_archive_bury() is in muc/archive/archive.h. */
#pragma once
#include "archive/event.h"

struct recorder;
struct room_burial;
struct store_stmt;

extern struct store_stmt *const room_bury_stmts[];
/* Memory only, when the node ends: frees burials that wait to be tried again. */
void burials_end(struct recorder *r);
/* The event for the log, as of now; borrows from it. */
struct archive_event room_burial_event(const struct room_burial *what, const struct worker *w);
