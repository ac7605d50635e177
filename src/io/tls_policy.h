/* tls_policy: which versions, ciphers and groups of TLS this server takes, by context: one for each
 * kind of peer. What is set holds for certificates that are loaded afterwards (io/tls.h) and, of
 * other servers, for connections to them. Of the process; any thread. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include <stdbool.h>
#include <stddef.h>

/* In the order of enum tls_protocol. */
enum tls_context { TLS_CLIENTS, TLS_HTTPS, TLS_SERVERS, TLS_CONTEXTS };
const char *tls_context_name(enum tls_context context); /* "clients" */

enum tls_version { TLS_1_2, TLS_1_3 };

/* Lists are names of OpenSSL, separated by spaces, the preferred one first. */
struct tls_policy {
    enum tls_version min, max;
    const char *ciphers; /* of TLS 1.2 */
    const char *suites;  /* of TLS 1.3 */
    const char *groups;  /* for the exchange of keys */
};
#define TLS_CIPHERS_DEFAULT                                                                        \
    "ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-RSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES256-GCM-SHA384 "     \
    "ECDHE-RSA-AES256-GCM-SHA384 ECDHE-ECDSA-CHACHA20-POLY1305 ECDHE-RSA-CHACHA20-POLY1305"
#define TLS_SUITES_DEFAULT                                                                         \
    "TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256"
#define TLS_GROUPS_DEFAULT "X25519 P-256 P-384"
enum { TLS_LIST_BYTES_MAX = 1000 };

/* The first word of a list that this server cannot take; empty: there is none. Of ciphers those
 * with ECDHE, an encryption of at least 128 bits and a certificate are taken. */
slice tls_cipher_unknown(slice list);
slice tls_suite_unknown(slice list);
slice tls_group_unknown(slice list);

/* E_SYNTAX: one of the lists is empty or has an unknown word, or the least version is above the
 * highest; nothing has changed. */
NODISCARD enum err tls_policy_set(enum tls_context context, const struct tls_policy *policy,
                                  struct why *why);
