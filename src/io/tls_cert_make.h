/* tls_cert_make: keys and what they sign: requests for certificates (PKCS #10) and certificates
 * that are self-signed. Keys are text in PEM without a pass phrase; who has one wipes it
 * (tls_key_wipe()). Any thread; those that name a file wait for the disk. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include "io/tls_names.h"

struct buf;

enum tls_key_kind {
    TLS_RSA_2048,
    TLS_RSA_3072,
    TLS_RSA_4096,
    TLS_ECDSA_P256,
    TLS_ECDSA_P384,
    TLS_KEY_KINDS
};
enum { TLS_KEY_BYTES_MAX = 16 * 1024, TLS_REQUEST_BYTES_MAX = 512 * 1024 };

/* "RSA 2048", as in struct tls_cert_facts. */
const char *tls_key_kind_name(enum tls_key_kind kind);
/* A new key. RSA takes up to some seconds. E_INTERNAL: OpenSSL cannot. */
NODISCARD enum err tls_key_make(struct buf *out, enum tls_key_kind kind, struct why *why);
/* The first key in a text of at most TLS_PEM_BYTES_MAX bytes, which `path` names in `why`.
 * E_SYNTAX: it has no key without a pass phrase. */
NODISCARD enum err tls_key_of_pem(struct buf *out, slice pem, const char *path, struct why *why);
/* The same of a file. Also E_IO: it cannot be read; E_LIMIT: it is longer. */
NODISCARD enum err tls_key_read(struct buf *out, const char *path, struct why *why);
/* In place of buf_init() for what will have a key: it never grows, so no copy is left behind. */
void tls_key_room(struct buf *out, size_t bytes_max);
void tls_key_wipe(struct buf *key); /* and buf_fini() */
/* "RSA 2048"; in `out` of TLS_KEY_TEXT_BYTES bytes. */
enum { TLS_KEY_TEXT_BYTES = 48 };
void tls_key_text(slice key, char out[TLS_KEY_TEXT_BYTES]);
/* Whether a certificate in PEM is for this key. */
bool tls_key_fits(slice key, const char *certificate);

/* A request in PEM, with the usages of servers and clients. The first of the names, without its
 * kind, is the common name, too; one of more than 64 bytes is a row of domain components instead
 * (RFC 4519 §2.4), because a certificate must say who issued it. */
NODISCARD enum err tls_request_make(struct buf *out, slice key, const struct tls_names *names,
                                    struct why *why);
/* A certificate in PEM that is signed with its own key, for ten years. */
NODISCARD enum err tls_self_sign(struct buf *out, slice key, const struct tls_names *names,
                                 struct why *why);

/* Sees to it that there is an ECDSA P-256 key and a self-signed certificate for the domains
 * (A-labels), files 0600/0644. Files that are there are never overwritten; a key that cannot
 * be read, or that others may read, is an error: see base/secret_file.h. */
NODISCARD enum err tls_self_signed(const char *cert_path, const char *key_path,
                                   const char *const *domains, size_t count, struct why *why);
