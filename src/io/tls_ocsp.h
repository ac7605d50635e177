/* tls_ocsp: questions to OCSP responders about certificates, and their answers (RFC 6960). Pure but
 * for the random numbers of OpenSSL; any thread. */
#pragma once
#include "base/err.h"
#include "io/tls_cert.h"

struct buf;

enum { TLS_OCSP_BYTES_MAX = 64 << 10 };

enum tls_ocsp_status { TLS_OCSP_GOOD, TLS_OCSP_REVOKED, TLS_OCSP_UNKNOWN };
const char *tls_ocsp_status_name(enum tls_ocsp_status status); /* "good" */

struct tls_ocsp {
    enum tls_ocsp_status status;
    /* Seconds since 1970. until: when it ends to hold, as the responder says it, else seven days
     * after this_update. revoked_at: 0 unless it is revoked. */
    int64_t this_update, until, revoked_at;
};

/* The question about the first certificate of the chain, in DER, without a nonce, so that the
 * responder may give an answer that it has signed before (RFC 5019 §2.1). E_NOTFOUND: its issuer
 * does not follow it. */
NODISCARD enum err tls_ocsp_ask(struct buf *out, const struct tls_chain *chain, struct why *why);
/* Checks an answer of at most TLS_OCSP_BYTES_MAX bytes: it is signed by the issuer or by a
 * responder of that, is about this certificate, and holds now (seconds since 1970; one that
 * begins up to five minutes later holds, as clocks differ). E_SYNTAX: it is none; E_DENIED: the
 * responder refuses to answer; E_AUTH: it is not signed as it must be; E_NOTFOUND: it is about
 * another certificate, or the issuer is missing; E_TIMEOUT: it does not hold yet, or no longer. */
NODISCARD enum err tls_ocsp_read(struct tls_ocsp *out, slice answer, const struct tls_chain *chain,
                                 int64_t now, struct why *why);
