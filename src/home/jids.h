/* jids: many addresses in one text, each with a number: four bytes, a length of two, the JID; in
 * the byte order of little-endian machines. Bytes that are read may come from another node. */
#pragma once
#include "base/buf.h"

void jids_add(struct buf *out, slice jid, uint32_t number);
/* Takes the first from `packed`. false: there is none, or the rest is cut short. */
bool jids_next(slice *packed, slice *jid, uint32_t *number);
