/* import_prosody_room: a persistent room of Prosody as a file of `room export`
 * (import_room_writer.h). Its store `config` has how it is and who is
 * affiliated, `muc_log` its archive. On a helper thread. */
#pragma once
#include "ext/import/import_prosody.h"

/* out->file is one of `room export`, unless out->text says why there is none. */
void prosody_room(struct prosody_user *u, struct source_found *out);
