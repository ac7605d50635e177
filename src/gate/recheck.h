/* recheck: looks again at the certificates of peers whose streams are open, each
 * tls.recheck-every, and ends the streams of those that are revoked by now: by a list in the trust
 * store, or because their authority says so where it is asked (io/tls_revoke.h). Certificates that
 * have expired or are no longer trusted end no streams.
 *
 * Clients: those that have logged in with their certificate. Servers: those whose certificate was
 * verified, and is not a pinned one of its domain. A look judges RECHECK_BATCH certificates at a
 * time, or passes over RECHECK_SEEN streams, with other work in between. */
#pragma once

struct edge;
struct feature;

enum { RECHECK_BATCH = 32, RECHECK_SEEN = 2048, RECHECK_PAUSE_MS = 20 };

extern const struct edge recheck_edge;
extern const struct feature recheck_feature;
