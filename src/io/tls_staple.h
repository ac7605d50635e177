/* tls_staple: what OCSP responders say of our certificates (RFC 6960), as it is shown in handshakes
 * (RFC 6066 §8). A handshake never waits for one. Of the process; any thread.
 *
 * Limits: TLS_STAPLE_BYTES_MAX for each certificate that is loaded. */
#pragma once
#include "base/slice.h"
#include <stdint.h>

enum { TLS_STAPLE_BYTES_MAX = 64 << 10 };

/* The answer about the certificate with this fingerprint (64 hexadecimal digits) is shown until
 * then (seconds since 1970). An empty one: nothing is shown. Of a certificate that no struct
 * tls_ctx has, it is forgotten. */
void tls_staple_set(const char *fingerprint, slice answer, int64_t until);
