/* tls_revoke: whether its authority has revoked the certificate of a peer, or one of the
 * certificates between that and the trusted one, asked after the handshake: by OCSP (RFC 6960), or
 * by the list of revoked certificates that the certificate names (RFC 5280 §4.2.1.13). This file
 * knows what to ask and how to judge the answers; who asks over the network is set once
 * (cert/cert_revoke.h). */
#pragma once
#include "base/list.h"
#include "io/tls_ocsp.h"
#include "io/tls_policy.h"

struct arena;
struct buf;
struct tls_crl;
struct tls_suspect;

/* How far revocation is looked into, beside lists in the trust store, which always count. */
enum tls_revocation {
    TLS_REVOKE_OFF,     /* nothing */
    TLS_REVOKE_STAPLED, /* what the peer shows in its handshake counts */
    TLS_REVOKE_ASKED,   /* and the authority is asked; where it does not answer, the peer passes */
    TLS_REVOKE_REQUIRED /* and where it does not answer, the peer is refused */
};
/* By kind of peer; before the first call TLS_REVOKE_STAPLED. Any thread. */
void tls_revocation_set(enum tls_context context, enum tls_revocation what);
enum tls_revocation tls_revocation_get(enum tls_context context);

enum tls_revoke_end {
    TLS_REVOKE_WAITS, /* it is being asked */
    TLS_REVOKE_GOOD,
    TLS_REVOKE_REVOKED,
    TLS_REVOKE_UNKNOWN /* nobody who may say it does */
};

/* Embedded in who waits; to forget the question, list_remove(&node). */
struct tls_revoke_wait {
    struct list node;
    /* Once, from the loop, with anything but TLS_REVOKE_WAITS. */
    void (*answered)(struct tls_revoke_wait *wait, enum tls_revoke_end end);
};
/* A valid answer of OCSP that the peer has stapled. Seconds since 1970. end: TLS_REVOKE_UNKNOWN:
 * none. */
struct tls_revoke_shown {
    enum tls_revoke_end end;
    int64_t this_update, until;
};
/* Says what is known, or begins to ask and returns TLS_REVOKE_WAITS: then `wait`, unless it is
 * NULL, is answered within a bounded time. shown: it counts unless something newer is known; NULL:
 * nothing. asks: false: only says what is known. Takes a reference to the suspect. On a loop's
 * thread. */
typedef enum tls_revoke_end tls_revoke_fn(struct tls_suspect *suspect,
                                          const struct tls_revoke_shown *shown,
                                          struct tls_revoke_wait *wait, bool asks);
/* Certificates of one chain that are asked about, from the peer's upwards, without the trusted one.
 * Beyond that nobody is asked, which counts as no answer. */
enum { TLS_ASKS_MAX = 4 };
bool tls_revoke_was_seen(void);           /* whether any certificate was, since the process began */
void tls_revoke_asker(tls_revoke_fn *fn); /* before the loops run; NULL: nobody asks */

/* A certificate that its issuer may have revoked. By reference, immutable; any thread. */
struct tls_suspect *tls_suspect_of_pem(slice cert, slice issuer); /* NULL: not certificates */
struct tls_suspect *tls_suspect_ref(struct tls_suspect *s);
void tls_suspect_unref(struct tls_suspect **s);             /* NULL is fine */
slice tls_suspect_fingerprint(const struct tls_suspect *s); /* as tls_cert_fingerprint() */
const char *tls_suspect_subject(const struct tls_suspect *s);

/* Addresses with http:// that the certificate names, of responders first and then of lists; at most
 * TLS_SOURCES_MAX. Texts are of the arena. */
enum { TLS_SOURCES_MAX = 4 };
struct tls_source {
    slice uri;
    bool list; /* of revoked certificates; else a responder of OCSP */
};
size_t tls_suspect_sources(const struct tls_suspect *s, struct arena *arena,
                           struct tls_source out[TLS_SOURCES_MAX]);

/* As tls_ocsp_ask() and tls_ocsp_read(). */
NODISCARD enum err tls_suspect_question(struct buf *out, const struct tls_suspect *s,
                                        struct why *why);
NODISCARD enum err tls_suspect_answer(struct tls_ocsp *out, slice answer,
                                      const struct tls_suspect *s, int64_t now, struct why *why);

/* A list, in DER or PEM. E_SYNTAX: it is none, or one that cannot be judged (tls_crl_check()). By
 * reference, any thread. Reading a long one takes time: not on a loop. */
enum { TLS_CRL_BYTES_MAX = 4 << 20 };
NODISCARD enum err tls_crl_read(struct tls_crl **out, slice bytes, struct why *why);
struct tls_crl *tls_crl_ref(struct tls_crl *crl);
void tls_crl_unref(struct tls_crl **crl); /* NULL is fine */
/* Seconds since 1970: when it was made, and until when it holds. */
int64_t tls_crl_this_update(const struct tls_crl *crl);
int64_t tls_crl_until(const struct tls_crl *crl);
/* E_AUTH: the issuer of the certificate has not made it, or not for this certificate; E_TIMEOUT: it
 * does not hold yet, or no longer. */
NODISCARD enum err tls_crl_says(enum tls_ocsp_status *out, const struct tls_crl *crl,
                                const struct tls_suspect *s, struct why *why);
