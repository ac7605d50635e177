/* import_ejabberd_user: an account of a dump of ejabberd as a <user/> of the portable format
 * (XEP-0227): password or keys, contacts and who asks to be one, vCard, private data, privacy
 * lists, PEP nodes with their items, archive, offline messages. On a helper thread.
 *
 * Limits: PIE_ELEMENT_MAX bytes. */
#pragma once
#include "ext/import/import_ejabberd_rows.h"

/* out->text says if it is refused. */
void ejabberd_user(struct ejabberd_reader *r, const struct ejabberd_owner *owner,
                   struct source_found *out);
