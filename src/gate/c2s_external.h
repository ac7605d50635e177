/* c2s_external: the certificates of clients, and the addresses that they prove for SASL EXTERNAL
 * (XEP-0178 §2). Only for streams over TCP: a certificate at the door of the web server would ask
 * every browser. */
#pragma once
#include "base/err.h"
#include "xmpp/sasl.h"

struct c2s;
struct conn;
struct stream;

enum {
    EXTERNAL_NAMES_MAX = 16
}; /* addresses of a certificate in one domain; others do not count */

/* Asks for a certificate where TLS has not begun yet: before a direct one, for any domain that
 * wants it, or after STARTTLS for a domain. */
void external_ask(struct c2s *c, struct conn *conn, slice domain);

struct external_names {
    slice jid[EXTERNAL_NAMES_MAX]; /* bare and prepared, at the domain of the stream; of scratch */
    size_t count;
};
/* false: none is proven. Then `failure` is for a client that tries nevertheless, and `why` says
 * what is wrong; empty: it was never asked. */
bool external_find(struct stream *s, struct external_names *out, enum sasl_failure *failure,
                   struct why *why);
/* Whether the certificate still proves them: it may have expired since the handshake, or is no
 * longer trusted. false: as above. A session that is logged in stays. */
bool external_holds(const struct stream *s, enum sasl_failure *failure, struct why *why);
