/* import_prosody: the source source_prosody, what Prosody stores
 * (ext/import/import_prosody_data.h). The reader of rooms (import_prosody_room.h) uses the same. On
 * a helper thread. */
#pragma once
#include "ext/import/import_prosody_data.h"
#include "ext/import/import_source.h"

/* Writes a stanza, a table with name, attr, and children as its list, with `more` behind its
 * children. ns: where it says none; NULL: that of the element around it. */
void prosody_stanza(struct buf *out, const struct lua_value *v, const char *ns, slice more);
/* Microseconds since 1970 of a number of seconds, "1588327200" or "1588327200.25"; 0: it is none.
 */
uint64_t prosody_time_us(slice when);
