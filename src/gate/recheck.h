/* recheck: looks again at the certificates of peers whose streams are open, each
 * tls.recheck-every, and ends the streams of those that are revoked by now: by a list in the trust
 * store, or because their authority says so where it is asked (io/tls_revoke.h). Certificates that
 * have expired or are no longer trusted end no streams.
 *
 * Clients: those that have logged in with their certificate. Servers: those whose certificate was
 * verified, and is not a pinned one of its domain. Nobody looks while nothing could say that one is
 * revoked: the store has no lists, authorities are not asked, and no staple has called a
 * certificate so. To judge a chain takes up to a
 * millisecond, so a look does one each RECHECK_EVERY_US (io/pace.h), and passes over RECHECK_SEEN
 * streams at most before other work. */
#pragma once

struct edge;
struct feature;

enum { RECHECK_EVERY_US = 5000, RECHECK_SEEN = 2048, RECHECK_PAUSE_MS = 20 };

extern const struct edge recheck_edge;
extern const struct feature recheck_feature;
