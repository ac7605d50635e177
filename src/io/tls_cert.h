/* tls_cert: what the first certificate of a PEM file says of itself, for checks and displays.
 * Reading is blocking; any thread. */
#pragma once
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

enum { TLS_CERT_NAMES_MAX = 128 };

struct tls_cert_facts {
    int64_t not_before, not_after; /* seconds since 1970 */
    const char *const *name;       /* DNS names (RFC 6125 §6.4), also "*.a.test"; of the arena */
    size_t name_count;             /* at most TLS_CERT_NAMES_MAX */
    const char *issuer;            /* its name on one line */
    bool self_signed;
};

/* E_IO: cannot be read; E_SYNTAX: no PEM certificate. */
NODISCARD enum err tls_cert_read(struct tls_cert_facts *out, const char *path, struct arena *arena,
                                 struct why *why);
/* Whether the certificates of the file lead to one that is self-signed, in the file or among those
 * that this machine trusts. Reads the trusted ones: some 10 ms. false also for what is no
 * certificate. */
bool tls_cert_chain_ends(const char *path);
