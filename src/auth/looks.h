/* looks: what accounts look like (UTS 39), so that nobody registers a look-alike of another. An
 * account gets its look when it is made; those of an older database get theirs at the start. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct arena;
struct store;

/* Of accounts that look alike the same; jid is a prepared bare JID. The text is in `arena`. */
slice look_of(slice jid, struct arena *arena);
/* Once, at the start, before workers run: gives accounts without a look theirs. */
NODISCARD enum err looks_complete(struct store *store, struct why *why);

extern struct store_stmt looks_stmt_missing, looks_stmt_put;
