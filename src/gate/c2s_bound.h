/* c2s_bound: a stream after authentication: resource binding (RFC 6120 §7), resumption and stream
 * management (XEP-0198), and stanzas to and from its session. */
#pragma once
#include "base/slice.h"

struct bind_request;
struct buf;
struct down;
struct elem;
struct stream;
struct xstream_unit;

/* Before the stream is bound: an element of XEP-0198, and a request that should bind a resource. */
void bound_sm_early(struct stream *s, const struct elem *e);
void bound_bind(struct stream *s, const struct xstream_unit *u);
void bound_unit(struct stream *s, slice unit); /* BOUND */
/* Asks the home for a session; the stream waits. `part` has what the client asked for; what the
 * stream knows is added. */
void bound_ask(struct stream *s, const struct bind_request *part);
void bound_here(struct stream *s, const struct down *d); /* the session is the stream's */
/* <resumed/> of XEP-0198 §5. */
void bound_resumed_write(struct buf *out, slice previd, uint32_t h);
void bound_down(struct stream *s, const struct down *d); /* what the home or session sends */

/* For the session, about output: */
void bound_drained(struct stream *s);                 /* all of it reached the client */
void bound_written(struct stream *s, uint32_t count); /* all stanzas up to this one did */
void bound_output(struct stream *s, size_t bytes);    /* so much waits: when it has changed much */
void bound_slow(struct stream *s, bool slow); /* more than the high-water mark waits, or not */
