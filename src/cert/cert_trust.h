/* cert_trust: the certificates that this server trusts beside its own: of other servers, and of
 * clients. Each store is a folder of the data folder, trust/federation and trust/clients, with one
 * file FINGERPRINT.pem for each certificate, by `cert-trust add|del|list`.
 *
 * Files *.crl there are lists of revoked certificates (io/tls_trust.h). A file that is of no use is
 * passed over with an alarm: the other ones count. A reload is refused if it is a file that counted
 * before: it may be half written, and without it revoked certificates would be accepted again.
 *
 * Federation also trusts what tls.trust of the node file has, or where that is not given what the
 * operating system trusts, unless cert.trust-system is off. */
#pragma once
#include "base/err.h"
#include <stdint.h>

struct feature;
struct tls_cert_facts;
struct tls_trusted;

extern const struct feature cert_trust_feature;

enum cert_trust_store { CERT_TRUST_FEDERATION, CERT_TRUST_CLIENTS, CERT_TRUST_STORES };

/* What a store trusts now: for an edge, which takes a reference for each connection
 * (io/tls_trust.h). Static: it may be kept, and is never NULL. Clients: nothing is trusted while
 * the store is empty. */
struct tls_trusted *cert_trusted(enum cert_trust_store store);
/* Reads both stores: at start after the settings, and at a reload. On an error nothing has changed.
 * file: tls.trust; NULL: not given. E_IO, E_SYNTAX, E_LIMIT: that is not usable, or at a reload a
 * file that counted before. Main's thread. */
NODISCARD enum err cert_trust_load(const char *data, const char *file, struct why *why);
/* For --check: whether it would, and all files are of use. Any thread. */
NODISCARD enum err cert_trust_check(const char *data, const char *file, struct why *why);
/* Each certificate of both stores. Any thread; fn must not call anything of here. */
void cert_trust_each(void (*fn)(const struct tls_cert_facts *facts, void *arg), void *arg);
void cert_trust_end(void); /* memory only; after the workers have ended */
/* Raises or clears the alarm about certificates that expire, and about lists of revoked ones that
 * are old. Returns when the first certificate does,
 * in seconds since 1970; INT64_MAX: there is none. Any thread. */
int64_t cert_trust_look(int64_t now, int64_t notice_days);
