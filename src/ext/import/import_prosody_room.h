/* import_prosody_room: a persistent room of Prosody as a file of `room export`
 * (muc/room/room_line.h says what that is like). Its store `config` has how it is and who is
 * affiliated, `muc_log` its archive. On a helper thread.
 *
 * Limits: TEXT_MAX bytes of a text of the configuration; REASONS_MAX lines of what is lost. */
#pragma once
#include "ext/import/import_prosody.h"

/* out->file is one of `room export`, unless out->text says why there is none. */
void prosody_room(struct prosody_user *u, struct source_found *out);
