/* tls_trust: the certificates that this server trusts, and what it finds about the chain of a peer.
 * Whether the certificate is for the right name is another question: io/tls_names.h.
 *
 * Immutable once made; by reference; any thread. */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include <pthread.h>

struct tls_trust;

enum { TLS_TRUST_MAX = 1024 }; /* certificates in one file, or in one store of cert/cert_trust.h */

/* What a certificate must be good for (RFC 5280 §4.2.1.12). A server that connects to another one
 * may show the certificate that it has for its clients, which often is for servers only: EITHER. */
enum tls_usage { TLS_FOR_SERVER, TLS_FOR_CLIENT, TLS_FOR_EITHER };

enum tls_verdict {
    TLS_NOT_SHOWN, /* the peer has shown no certificate */
    TLS_VERIFIED,
    TLS_EXPIRED,
    TLS_NOT_YET_VALID,
    TLS_SELF_SIGNED,    /* and not among the trusted ones */
    TLS_UNKNOWN_ISSUER, /* its chain does not lead to a trusted one */
    TLS_WRONG_USAGE,
    TLS_REVOKED,    /* by a CRL beside the trusted certificates, a stapled OCSP answer, or what its
                       authority says when it is asked (io/tls_revoke.h) */
    TLS_UNANSWERED, /* whether it is revoked must be known, and nobody says it */
    TLS_NO_STAPLE,  /* it demands such an answer (RFC 7633), and none that is valid came */
    TLS_BROKEN      /* anything else: signatures, weak keys, constraints */
};

enum { TLS_SUBJECT_BYTES = 256 };

struct tls_peer {
    enum tls_verdict verdict;
    const char *reason; /* in words; static */
    /* TLS_FOR_EITHER: why a verified one that has connected to us would be refused if we had
     * connected to it; static; NULL: it would not. */
    const char *no_server;
    int depth; /* in the chain of the certificate that the verdict is about; 0: the peer's */
    /* Of that certificate: names on one line, seconds since 1970. */
    char subject[TLS_SUBJECT_BYTES], issuer[TLS_SUBJECT_BYTES];
    int64_t not_before, not_after;
};

/* file: PEM, of up to TLS_TRUST_MAX certificates. folder: of *.pem and *.crt files, all read now.
 * Both NULL: what the system trusts, read when it is needed. Any certificate that is there is
 * trusted, not only those of authorities. Waits for the disk. E_IO, E_SYNTAX, E_LIMIT: a file is
 * not usable; E_NOTFOUND: there is no certificate. */
NODISCARD enum err tls_trust_create(struct tls_trust **out, const char *file, const char *folder,
                                    struct why *why);
/* What the system trusts, if asked for and when it is needed, and the certificates of a file,
 * unless it is NULL, and of `count` files more; without any nothing is trusted. Those named *.crl
 * are lists of revoked certificates (RFC 5280 §5; PEM, several, or DER, one): where the issuer of a
 * certificate has one, it counts, also when it is old. Lists that cannot be judged
 * (tls_crl_check()) do not count. Errors: as above, of any file. Waits for the disk. */
NODISCARD enum err tls_trust_create_with(struct tls_trust **out, bool system, const char *file,
                                         const char *const *path, size_t count, struct why *why);
/* Whether a file of this name in such a folder counts: as certificates, as lists. */
bool tls_trust_takes(const char *name);
bool tls_crl_takes(const char *name);
bool tls_trust_has_lists(const struct tls_trust *t); /* of revoked certificates, that count */

/* A file of lists of revoked certificates. Dates in seconds since 1970. */
struct tls_crl_facts {
    char issuer[TLS_SUBJECT_BYTES]; /* of the first list */
    unsigned lists, revoked;
    int64_t next_update; /* of the list that becomes old first; 0: none says it */
    /* Why one of the lists does not count: it is a delta, or indirect, or has only some reasons, or
     * has critical extensions that are not known. The others do. Static; NULL: all count. */
    const char *beyond;
};
/* E_IO, E_SYNTAX: it is not usable, also if a part of it is damaged. Waits for the disk. */
NODISCARD enum err tls_crl_check(struct tls_crl_facts *out, const char *path, struct why *why);
/* Reads what the system trusts, if that is asked for and was not done yet: tenths of a second, so
 * it is done where nothing else waits. Else the first certificate that is judged waits for it. Any
 * thread. */
void tls_trust_prepare(struct tls_trust *trust);
bool tls_trust_is_prepared(const struct tls_trust *trust);
struct tls_trust *tls_trust_ref(struct tls_trust *trust);
void tls_trust_unref(struct tls_trust **trust); /* NULL is fine */

/* What is trusted now, where that may change: a change replaces it for the connections that begin
 * after it. It outlives those that ask. Any thread. */
struct tls_trusted {
    pthread_mutex_t lock;
    struct tls_trust *now;
};
#define TLS_TRUSTED_INIT                                                                           \
    {                                                                                              \
        PTHREAD_MUTEX_INITIALIZER, NULL                                                            \
    }
/* A reference, for tls_trust_unref(); NULL: nothing was set. */
struct tls_trust *tls_trusted_get(struct tls_trusted *t);
/* Takes over the reference, and gives up that of before; NULL: from now on nothing is set. */
void tls_trusted_set(struct tls_trusted *t, struct tls_trust *trust);

/* "certificate has expired: CN=a.test, issued by CN=CA, valid 2025-01-01 to 2026-01-01" */
void tls_peer_explain(const struct tls_peer *peer, struct buf *out);
