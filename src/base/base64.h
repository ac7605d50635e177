/* base64 (RFC 4648 §4): strict; no white space, padding required. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct buf;

void base64_encode(struct buf *out, slice bytes);
/* Appends all or nothing. E_SYNTAX: not base64; E_LIMIT: over the maximum of `out`. */
NODISCARD enum err base64_decode(struct buf *out, slice text);
