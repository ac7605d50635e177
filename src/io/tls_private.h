/* tls, inside: what the connections need of a tls_ctx. */
#pragma once
#include "io/tls.h"
#include <openssl/ssl.h>

enum tls_protocol { TLS_XMPP, TLS_HTTP }; /* by their names of ALPN: xmpp-client, http/1.1 */

SSL *tls_session_create(struct tls_ctx *ctx, enum tls_protocol protocol); /* ctx must outlive it */
