/* tls_cert: what the certificates of a PEM file say of themselves, for checks and displays.
 * Reading is blocking; any thread. */
#pragma once
#include "base/err.h"
#include "io/tls_names.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct tls_trust;

enum { TLS_CHAIN_MAX = 16, TLS_PEM_BYTES_MAX = 1 << 20 };

enum { TLS_FINGERPRINT_LEN = 64 };
/* SHA-256 of a certificate in DER, in hexadecimal digits. */
void tls_cert_fingerprint(char out[TLS_FINGERPRINT_LEN + 1], slice certificate);

/* All texts are of the arena. */
struct tls_cert_facts {
    int64_t not_before, not_after; /* seconds since 1970 */
    const char *const *name;       /* DNS names (RFC 9525 §2), also "*.a.test" */
    size_t name_count;
    struct tls_names names;       /* of all kinds, without those that are malformed */
    const char *subject, *issuer; /* their names on one line */
    const char *key;              /* "RSA 2048", "ECDSA P-256" */
    const char *signature;        /* "ecdsa-with-SHA256" */
    const char *fingerprint;      /* SHA-256 of the certificate: 64 hexadecimal digits */
    const char *pem;              /* the certificate itself, in PEM */
    const char *responder;        /* of OCSP: "http://ocsp.ca.test/"; NULL: none */
    bool must_staple;             /* clients refuse it without an answer of that (RFC 7633) */
    bool self_signed;
    bool authority;              /* it may issue certificates */
    bool weak_key;               /* less than 112 bits of security: RSA below 2048 */
    bool rare_key;               /* of a kind that ordinary clients do not know */
    bool weak_signature;         /* the same, such as SHA-1; never of a self-signed one */
    bool for_server, for_client; /* TLS servers and clients may show it */
    bool for_signatures;         /* its key may sign handshakes: keyUsage is absent or says so */
};

struct tls_chain {
    const struct tls_cert_facts *item; /* of the arena, in the order of the file */
    size_t count;
};

/* All certificates of a text in PEM, of at most TLS_PEM_BYTES_MAX bytes; `path` names it in `why`.
 * E_SYNTAX: it has none, or a damaged one; E_LIMIT: there are more than `max`. */
NODISCARD enum err tls_chain_of_pem(struct tls_chain *out, slice pem, size_t max, const char *path,
                                    struct arena *arena, struct why *why);
/* The same of a file, or only the first of at most TLS_CHAIN_MAX. Also E_IO: it cannot be read. */
NODISCARD enum err tls_cert_read_chain(struct tls_chain *out, const char *path, size_t max,
                                       struct arena *arena, struct why *why);
NODISCARD enum err tls_cert_read(struct tls_cert_facts *out, const char *path, struct arena *arena,
                                 struct why *why);

/* The same of one in DER. E_SYNTAX: it is none. */
NODISCARD enum err tls_cert_of_der(struct tls_cert_facts *out, slice der, struct arena *arena);

/* The place of the certificate at which the chain of the first one ends: each is followed by its
 * issuer, wherever that is. `chain` is not empty. */
size_t tls_chain_last(const struct tls_chain *chain);
/* Why a client refuses the chain although it trusts the certificate at its end, with what to do,
 * without a final dot: wrong signatures, constraints, extensions and usage. NULL: it does not.
 * Dates, names and the strength of keys do not matter. `chain` is not empty. */
const char *tls_chain_fault(const struct tls_chain *chain, struct arena *arena);

/* Where a chain leads. */
enum tls_chain_end {
    TLS_CHAIN_OPEN,    /* an issuer is missing; also of an empty one */
    TLS_CHAIN_PRIVATE, /* to one that is self-signed and that this machine does not trust */
    TLS_CHAIN_TRUSTED  /* to one that this machine or `own` trusts */
};
/* own: NULL: nothing beside this machine. Reads what this machine trusts: some 10 ms. Dates do not
 * matter. */
enum tls_chain_end tls_chain_leads(const struct tls_chain *chain, const struct tls_trust *own);
