/* c2s_negotiate: stream negotiation before a session: headers, features, STARTTLS (RFC 6120 §4,
 * §5). */
#pragma once
#include "base/slice.h"

struct elem;
struct stanza;
struct stream;
struct stream_step;

void negotiate_header(struct stream *s, slice unit);
/* Sends our stream header (RFC 6120 §4.7); `to`: the address that the client claims, or empty. The
 * id is random: clients learn nothing about nodes and workers (architecture §12). */
void negotiate_send_header(struct stream *s, slice to);
/* An element before authentication, and what is to be done about it. */
void negotiate_unit(struct stream *s, const struct elem *e, slice unit,
                    const struct stream_step *step);
void negotiate_cancel(struct stream *s);  /* the stream ends: look-ups are dropped */
void negotiate_secured(struct stream *s); /* the TLS handshake is done */
/* Reads a unit that must be an IQ request. false: it is none. The caller owns *out. */
bool negotiate_iq(struct stream *s, slice unit, struct stanza **out);
/* Sends <stream:features/> as they are now. */
void negotiate_features(struct stream *s);
