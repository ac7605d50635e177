/* c2s_framed: what WebSocket and BOSH share: elements that stand alone, and a stream header that is
 * not written as such. For the reader of the stream, a header like that of any other stream is made
 * up here. */
#pragma once
#include "base/slice.h"

struct stream;

/* An element as it is written when it stands alone: its tag, the declarations it lacks, the rest.
 */
struct framed {
    slice tag, xmlns, rest;
};
struct framed framed_split(slice element);
/* What the client says instead of a stream header. */
struct framed_header {
    slice to, from, version, lang;
};
void framed_open(struct stream *s, const struct framed_header *h);
/* A text that must be one element. false: the stream has failed or moved away. */
bool framed_read(struct stream *s, slice element, int32_t *stanzas);
