/* c2s_negotiate: stream negotiation before a session: headers, features, STARTTLS (RFC 6120 §4,
 * §5). */
#pragma once
#include "base/slice.h"

struct stream;
struct xstream_unit;

void negotiate_header(struct stream *s, slice unit);
/* Sends our stream header (RFC 6120 §4.7); `to`: the address that the client claims, or empty. The
 * id is random: clients learn nothing about nodes and workers (architecture §12). */
void negotiate_send_header(struct stream *s, slice to);
/* Sends <stream:features/> as they are now. */
void negotiate_features(struct stream *s);
void negotiate_tls(struct stream *s); /* <starttls/> came */
/* What else comes before authentication: an IQ of a feature (core/preauth.h), or an error. */
void negotiate_early(struct stream *s, const struct xstream_unit *u);
