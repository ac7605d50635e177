/* tls_policy: which versions, ciphers and groups of TLS this server takes, by context: one for each
 * kind of peer. What is set holds for certificates that are loaded afterwards (io/tls.h) and, of
 * other servers and the relay, for connections to them. Of the process; any thread. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include <stdbool.h>
#include <stddef.h>

/* The first ones, up to TLS_SERVED, are those of peers that connect to this server, in the order of
 * enum tls_protocol. It connects to those of TLS_SERVERS and TLS_RELAY. */
enum tls_context {
    TLS_CLIENTS,
    TLS_HTTPS,
    TLS_SERVERS,
    TLS_SERVED,
    TLS_RELAY = TLS_SERVED, /* of mails */
    TLS_CONTEXTS
};
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

/* The first word of a list that this server cannot take, or that is there twice; the whole list if
 * it has no word, or no group that TLS 1.2 can use, too. Empty: all of it can be taken. Of ciphers
 * those with ECDHE, an encryption of at least 128 bits, a tag of 16 bytes and a certificate are
 * taken, and of groups X25519, X448, P-256, P-384, P-521 and those of RFC 7919 from ffdhe3072 on:
 * others are weak, or TLS 1.3 does not have them. */
slice tls_cipher_unknown(slice list);
slice tls_suite_unknown(slice list);
slice tls_group_unknown(slice list);

/* E_SYNTAX: one of the lists is empty or has an unknown word, the least version is above the
 * highest, or OpenSSL does not take the whole; nothing has changed. */
NODISCARD enum err tls_policy_set(enum tls_context context, const struct tls_policy *policy,
                                  struct why *why);
/* What applies now, as it was set. */
struct tls_policy_text {
    enum tls_version min, max;
    char ciphers[TLS_LIST_BYTES_MAX + 1], suites[TLS_LIST_BYTES_MAX + 1],
        groups[TLS_LIST_BYTES_MAX + 1];
};
void tls_policy_get(struct tls_policy_text *out, enum tls_context context);
/* Whether a context that may speak TLS 1.2 has no cipher for a certificate with this key
 * (struct tls_cert_facts): then only TLS 1.3 works with it, or nothing at all. */
enum tls_key_fit { TLS_KEY_FITS, TLS_KEY_NOT_1_2, TLS_KEY_NEVER };
enum tls_key_fit tls_policy_key(enum tls_context context, const char *key);
