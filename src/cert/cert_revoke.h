/* cert_revoke: asks authorities whether they have revoked the certificates of other servers and of
 * clients, and those of the authorities between them and the trusted ones (io/tls_revoke.h), where
 * tls.servers-revocation or tls.clients-revocation says so.
 *
 * Answers are remembered until they end, at most for ocsp.check-every, and that there was none for
 * REVOKE_RETRY_S. A worker asks about one certificate once at a time. Limits: the enum; a question
 * that has no answer after REVOKE_ASK_MS has none. In memory only. */
#pragma once

struct edge;
struct feature;

enum {
    REVOKE_ASK_MS = 8000,            /* for all sources of one certificate together; those of a
                                        chain are asked about at the same time */
    REVOKE_RETRY_S = 60,             /* nobody has answered: until it is asked again */
    REVOKE_RUNNING_MAX = 4,          /* questions of a worker at once; others wait; half of */
    REVOKE_JOBS_MAX = 256,           /* both, if no connection waits; beyond, nobody is asked */
    REVOKE_KNOWN_MAX = 4096,         /* certificates; the one that was asked about first goes */
    REVOKE_LISTS_MAX = 64,           /* lists that are kept, */
    REVOKE_LIST_BYTES_MAX = 32 << 20 /* and the bytes of all of them as they came */
};

extern const struct edge cert_revoke_edge; /* ends the questions when the server stops */
extern const struct feature cert_revoke_feature;
