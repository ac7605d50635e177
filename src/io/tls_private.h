/* tls, inside: what the connections need of a tls_ctx. */
#pragma once
#include "io/tls.h"
#include <openssl/ssl.h>

enum tls_protocol { TLS_XMPP, TLS_HTTP }; /* by their names of ALPN: xmpp-client, http/1.1 */

/* The certificate for that domain; NULL: it has none of its own. Lives as long as ctx. */
SSL_CTX *tls_ctx_of_domain(const struct tls_ctx *ctx, slice domain);
/* Shows the certificate that the client names (SNI), else that of `first`, or if that is NULL the
 * default one. ctx must outlive the session. */
SSL *tls_session_create(struct tls_ctx *ctx, SSL_CTX *first, enum tls_protocol protocol);
