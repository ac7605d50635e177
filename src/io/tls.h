/* tls: server-side TLS settings of one node (OpenSSL 3): certificates by domain (SNI), TLS 1.2+,
 * ECDHE only, session tickets, ALPN xmpp-client or, on listeners for it, http/1.1 or xmpp-server.
 * Immutable once made; a reload makes a new one and connections keep theirs by reference. Any
 * thread. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct tls_ctx;

struct tls_cert {
    const char *domain;      /* NULL: the default certificate */
    const char *certificate; /* PEM path, chain included */
    const char *key;         /* PEM path */
};

/* E_IO, E_SYNTAX (with file and what OpenSSL says), E_CONFLICT: the key does not fit the
 * certificate, E_EXISTS: two certificates for one domain. */
NODISCARD enum err tls_ctx_create(struct tls_ctx **out, const struct tls_cert *certs, size_t count,
                                  struct why *why);
/* Who names no domain, as with direct TLS and without SNI, or by SNI one that no certificate has,
 * gets the certificate of this one, if there is one, and not the default one. `domain` is in lower
 * case. Before the first session. */
void tls_ctx_assume(struct tls_ctx *ctx, slice domain);
/* The same certificates and keys with the policies of now (io/tls_policy.h). Reads no file.
 * E_INTERNAL: OpenSSL does not share one of them. */
NODISCARD enum err tls_ctx_renew(struct tls_ctx **out, const struct tls_ctx *of, struct why *why);
struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx);
void tls_ctx_unref(struct tls_ctx **ctx);
