/* tls, inside: what needs the types of OpenSSL. */
#pragma once
#include "io/tls.h"
#include "io/tls_client.h"
#include "io/tls_names.h"
#include "io/tls_policy.h"
#include "io/tls_revoke.h"
#include "io/tls_trust.h"
#include <openssl/ssl.h>

/* By their names of ALPN: xmpp-client, http/1.1, xmpp-server. Each is a context of its own. */
enum tls_protocol { TLS_XMPP, TLS_HTTP, TLS_XMPP_SERVER };

/* What both sides of TLS have in common: versions, ciphers, no renegotiation. */
SSL_CTX *tls_ssl_ctx_create(const SSL_METHOD *method, enum tls_context context);
/* A key with a pass phrase must not make the server ask on a terminal: pem_password_cb(3). */
int tls_no_pass_phrase(char *out, int cap, int writing, void *arg);
/* Sets `why` to the file, what is wrong with it and what OpenSSL says, and returns e. */
enum err tls_file_fail(struct why *why, enum err e, const char *path, const char *what);
/* The certificate of that domain, or else one that names it, such as that of the domain above a
 * service, or else the default one. Lives as long as ctx. */
SSL_CTX *tls_ctx_for(const struct tls_ctx *ctx, slice domain, enum tls_protocol protocol);
/* Shows the certificate that the client names (SNI), else that of `first`, or if that is NULL the
 * one of tls_ctx_assume() or the default one. ctx must outlive the session. */
SSL *tls_session_create(struct tls_ctx *ctx, SSL_CTX *first, enum tls_protocol protocol);

/* tls_policy.c: makes a context take what is set, or should OpenSSL refuse that, the default.
 * Returns tls_policy_changes() of then. */
unsigned tls_policy_use(SSL_CTX *s, enum tls_context context);
unsigned tls_policy_changes(void); /* how often something was set */
/* The first context that takes the same. */
enum tls_context tls_policy_like(enum tls_context context);

/* tls_client.c. NULL: the call cannot be made, for want of a usable name. */
SSL *tls_client_session(const struct tls_call *call);

/* The chain of a certificate that was verified: its own first, the trusted one last. */
struct tls_checked {
    STACK_OF(X509) * chain; /* NULL: it was not verified */
    unsigned listed;        /* bit n: a list says that certificate n is not revoked */
};
void tls_checked_free(struct tls_checked *c);

/* tls_trust.c: a judgement that is asked for, and then made. It must outlive the session. */
struct tls_judgement {
    struct tls_trust *trust;
    enum tls_usage usage;
    enum tls_revocation revocation;
    bool refuse; /* the handshake fails unless the peer is verified */
    struct tls_peer peer;
    struct tls_checked checked; /* until its authorities were asked */
    struct tls_revoke_shown shown;
    /* While authorities are asked, each about one certificate of the chain. */
    struct tls_ask {
        struct tls_revoke_wait wait;
        struct tls_judgement *of;
    } asks[TLS_ASKS_MAX];
    unsigned waiting;
    int unanswered; /* its place in the chain: nobody says whether it is revoked; -1: none */
    struct conn *conn;
    void (*answered)(struct tls_judgement *j); /* once, when the verdict is final */
};
struct tls_judgement *tls_judgement_create(struct tls_trust *trust, enum tls_usage usage);
void tls_judgement_destroy(struct tls_judgement **j);
/* Asks the peer for its certificate, and judges it during the handshake. Before that. */
void tls_judgement_use(struct tls_judgement *j, SSL *ssl);
/* For contexts of sessions that are judged. */
void tls_judgement_prepare(SSL_CTX *ctx);
/* The same for clients: asks for stapled OCSP answers. */
void tls_judgement_staples(SSL_CTX *ctx);
/* rest: the certificates that came with it; NULL: none. The caller frees `checked`. Returns
 * X509_V_…. */
int tls_trust_judge(const struct tls_trust *trust, X509 *cert, STACK_OF(X509) * rest,
                    enum tls_usage usage, struct tls_peer *out, struct tls_checked *checked);
/* Notes whose certificate a verdict is about; verdict and reason stay. */
void tls_peer_note(struct tls_peer *out, const X509 *cert, int depth);
X509_STORE *tls_trust_store(const struct tls_trust *trust);
/* All lists of a text in PEM, or the one in DER; empty: a part is damaged. The caller frees. */
void tls_crls_of(STACK_OF(X509_CRL) * *out, slice text);
const char *tls_crl_is_beyond(X509_CRL *crl); /* as struct tls_crl_facts says */

/* tls_judge.c: what is trusted, and what is revoked. As tls_trust_judge(), but what is known of the
 * revocation counts; if nothing is, a question begins whose answer counts the next time. */
void tls_judge_again(const struct tls_trust *trust, X509 *cert, STACK_OF(X509) * rest,
                     enum tls_usage usage, struct tls_peer *out);
enum tls_revocation tls_revocation_for(enum tls_usage usage);
/* After the handshake. true: authorities are being asked about the peer, and j->answered comes.
 * false: the verdict is final. */
bool tls_judgement_ask(struct tls_judgement *j);

/* The handshake has ended: that the peer has shown it is revoked is remembered. On the loop. */
void tls_judgement_shown(const struct tls_judgement *j);

/* tls_revoke.c */
struct tls_suspect *tls_suspect_create(X509 *cert, X509 *issuer);
/* As tls_revoke_fn; where nobody asks, what is shown. */
enum tls_revoke_end tls_revoke_ask(X509 *cert, X509 *issuer, const struct tls_revoke_shown *shown,
                                   struct tls_revoke_wait *wait);
/* The same by what is known or shown; no authority is asked. */
enum tls_revoke_end tls_revoke_known(X509 *cert, X509 *issuer,
                                     const struct tls_revoke_shown *shown);

/* tls_ocsp.c: the same as in its header, about one certificate and its issuer. */
enum err tls_ocsp_ask_about(struct buf *out, X509 *cert, X509 *issuer, struct why *why);
enum err tls_ocsp_read_about(struct tls_ocsp *out, slice answer, X509 *cert, X509 *issuer,
                             int64_t now, struct why *why);

/* tls_staple.c: a reference, which outlives the contexts that use it. */
struct tls_staple *tls_staple_of(const X509 *cert);
void tls_staple_use(struct tls_staple *s, SSL_CTX *ctx);
void tls_staple_unref(struct tls_staple **s); /* NULL is fine */

/* tls_names.c, tls_cert.c */
/* As tls_chain_of_pem(); the caller frees the certificates. */
enum err tls_certs_of_pem(STACK_OF(X509) * *out, slice pem, size_t max, const char *path,
                          struct why *why);
void tls_names_of_cert(struct tls_names *out, const X509 *cert, struct arena *arena);
void tls_cert_line(const X509_NAME *name, char *out, size_t cap);   /* cut off if it is longer */
const char *tls_cert_key(const EVP_PKEY *key, struct arena *arena); /* "RSA 2048" */
int64_t tls_cert_seconds(const ASN1_TIME *time);                    /* since 1970; 0: no time */
