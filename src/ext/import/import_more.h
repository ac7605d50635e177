/* import_more: what a folder of muster-convert has beside accounts: the lines of its more.jsonl
 * (convert/output.h). On a helper thread. */
#pragma once
#include "ext/import/import_source.h"

struct more;

NODISCARD enum err more_open(struct more **out, const char *folder, struct source_groups *groups,
                             struct why *why);
void more_close(struct more **m); /* NULL is fine */
/* SOURCE_ROOM, SOURCE_LOST, SOURCE_END, SOURCE_ERROR. Groups go into the list. */
enum source_unit more_next(struct more *m, struct arena *tmp, struct source_found *out,
                           struct why *why);
