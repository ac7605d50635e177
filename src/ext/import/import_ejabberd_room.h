/* import_ejabberd_room: a persistent room of a dump of ejabberd as a file of `room export`
 * (import_room_writer.h). On a helper thread. */
#pragma once
#include "ext/import/import_ejabberd_rows.h"

/* out->file is one of `room export`, unless out->text says why there is none. */
void ejabberd_room(struct ejabberd_reader *r, const struct ejabberd_owner *owner,
                   struct source_found *out);
