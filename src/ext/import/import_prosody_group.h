/* import_prosody_group: the file of groups of Prosody's mod_groups. `[NAME]` and `[+NAME]` begin a
 * group, which its members or all users see; what stands before belongs to the group "default".
 * Members follow, one a line: an address, and behind `=` a nickname. `#` begins a comment, and
 * words behind an address are none. A group can be continued.
 *
 * Limits: PROSODY_GROUPS_BYTES_MAX, and those of import_group.h. */
#pragma once
#include "ext/import/import_group.h"

enum { PROSODY_GROUPS_BYTES_MAX = 128 << 20 };

/* Pure. E_SYNTAX, E_LIMIT: `why` names the line, or says of what there is too much. */
NODISCARD enum err prosody_groups_read(struct source_groups *out, slice text, struct why *why);
/* The same of a file; also E_IO. On a helper thread. */
NODISCARD enum err prosody_groups_file(struct source_groups *out, const char *path,
                                       struct why *why);
