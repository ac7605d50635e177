/* tls, inside: what the connections need of a tls_ctx. */
#pragma once
#include "io/tls.h"
#include <openssl/ssl.h>

SSL *tls_session_create(struct tls_ctx *ctx); /* ctx must outlive it */
