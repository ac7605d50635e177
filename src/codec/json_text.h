/* json_text: a text as a JSON string (RFC 8259 §7). Pure. */
#pragma once
#include "base/slice.h"

struct buf;

/* Appends it with its quotes. `text` is UTF-8. */
void json_text(struct buf *out, slice text);
