/* revoke_known: what authorities have said about certificates of peers, and their lists, for all
 * workers (cert/cert_revoke.h). In memory; any thread. */
#pragma once
#include "io/tls_revoke.h"

/* An answer about a certificate. this_update: when it was known to be so; 0 with
 * TLS_REVOKE_UNKNOWN. Times in seconds since 1970. */
struct revoke_answer {
    enum tls_revoke_end end;
    int64_t this_update, until;
};

/* ended: nothing is known, or it holds no longer; what was known is returned all the same, else
 * TLS_REVOKE_UNKNOWN. */
enum tls_revoke_end revoke_known_get(slice fingerprint, int64_t now, bool *ended);
/* What an authority that was asked has said. At most REVOKE_KNOWN_MAX. Of two answers, the one with
 * the newer this_update counts, as it was true later (RFC 6960 §4.2.2.1), and of the same time the
 * one that says "revoked". An older one, and TLS_REVOKE_UNKNOWN after "revoked", only set when to
 * ask again. Returns what counts now. */
enum tls_revoke_end revoke_known_set(slice fingerprint, const struct revoke_answer *answer);
/* What the holder of the certificate shows: an older answer changes nothing. */
void revoke_known_shown(slice fingerprint, const struct revoke_answer *answer);

/* A reference; NULL: it is not kept, or holds no longer. */
struct tls_crl *revoke_list_kept(slice uri, int64_t now);
/* bytes: that it has cost; until: it is fetched again then. At most REVOKE_LISTS_MAX lists and
 * REVOKE_LIST_BYTES_MAX bytes, the one that came first goes. Takes a reference of its own. */
void revoke_list_keep(slice uri, struct tls_crl *crl, size_t bytes, int64_t until);
void revoke_known_end(void); /* memory only */
