/* prosody: what Prosody stores (convert/prosody_data.h), written for a server to import. */
#pragma once
#include "convert/prosody_data.h"

/* Writes a stanza, a table with name, attr, and children as its list, with `more` behind its
 * children. ns: where it says none; NULL: that of the element around it. */
void prosody_stanza(const struct prosody_user *u, struct buf *out, const struct lua_value *v,
                    const char *ns, slice more);
/* Microseconds since 1970 of a number of seconds, "1588327200" or "1588327200.25"; 0: it is none.
 */
uint64_t prosody_time_us(slice when);

void prosody_room(struct prosody_user *u);
/* The file of mod_groups. E_IO, E_SYNTAX: `why` says what is wrong. */
NODISCARD enum err prosody_groups_file(struct output *o, const char *path, struct why *why);
NODISCARD enum err prosody_groups_read(struct output *o, slice text, struct why *why);
