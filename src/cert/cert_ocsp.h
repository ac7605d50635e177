/* cert_ocsp: asks OCSP responders about the certificates in use, so that handshakes show their
 * answers (io/tls_staple.h): the settings ocsp.*, the command `cert ocsp`, and the alarm tls.ocsp.
 *
 * Each answer is kept in the folder ocsp of the data folder and is asked for again long before it
 * ends. If that fails, the old one is shown until its end. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct arena;
struct cert_ocsp;
struct cert_uses;
struct feature;
struct tls_chain;
struct worker;

extern const struct feature cert_ocsp_feature;

/* Reads the answers that are kept, and removes those of other certificates. Both arguments must
 * outlive it; it is in the arena. Main's thread; waits for the disk. */
struct cert_ocsp *cert_ocsp_create(const struct cert_uses *uses, const char *data,
                                   struct arena *arena);
/* From now on it is about these certificates; NULL: about none. At the home of DUTY_CERTS, or while
 * no worker runs. */
void cert_ocsp_use(struct cert_ocsp *made);
/* Whether the certificate demands answers (RFC 7633), but none can be had: ocsp.enabled is off, it
 * names no responder, or its issuer is not behind it. Any thread. */
bool cert_ocsp_misses(const struct tls_chain *chain);
/* Whether its responder said last that this certificate in use is revoked. At the home of
 * DUTY_CERTS. */
bool cert_ocsp_revoked(const char *fingerprint);
/* ocsp.allow-local, and ocsp.check-every in seconds. Any thread. */
bool cert_ocsp_allows_local(void);
int64_t cert_ocsp_every_s(void);
#define CERT_OCSP_REVOKED "is revoked, as its OCSP responder says"
#define CERT_OCSP_MISSING                                                                          \
    "none can be had: ocsp.enabled is off, or it names no responder, or its issuer is not in the " \
    "file"
