/* stream_limits: what a stream says of its limits (XEP-0478): the largest stanza that it takes, and
 * when it takes silence for a lost peer. Pure. */
#pragma once
#include "base/slice.h"

struct arena;
struct elem;
struct xml_write;

enum { STREAM_BYTES_MIN = 10000 /* RFC 6120 §13.12: nobody may take less */ };

/* Appends <limits/>. idle_ms 0 or less: without that. */
void stream_limits_write(struct xml_write *x, int64_t bytes, int64_t idle_ms);
/* max-bytes of the <limits/> in features or in <bidi/>; at least STREAM_BYTES_MIN; 0: not said. */
uint32_t stream_limits_read(const struct elem *parent, struct arena *tmp);
