/* texts: many texts in one: each a length of four bytes, in the byte order of little-endian
 * machines, and its bytes. Bytes that are read may come from another node. */
#pragma once
#include "base/buf.h"

void texts_add(struct buf *out, slice text);
/* Takes the first from `packed`. false: there is none, or the rest is cut short. */
bool texts_next(slice *packed, slice *text);
