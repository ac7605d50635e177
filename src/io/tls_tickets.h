/* tls_tickets: the keys of TLS session tickets (RFC 5077, RFC 8446 §4.6.1), one set for all
 * certificates of the process, so that a reload loses no session. A key is used for new tickets for
 * a day and wiped a day later. So a stolen key does not decrypt older sessions. It is replaced by
 * the first handshake after its time.
 *
 * Any thread. */
#pragma once
#include "base/slice.h"
#include <openssl/ssl.h>

void tls_tickets_use(SSL_CTX *ctx);

/* The rest is for tests. */
enum { TICKET_NAME_BYTES = 16 };
struct ticket_key {
    uint8_t name[TICKET_NAME_BYTES], aes[32], hmac[32];
};
struct ticket_keys {
    struct ticket_key key[2]; /* that of new tickets, and the one before */
    unsigned count;
    uint64_t since_us; /* of key[0] */
};
#define TICKET_KEY_US (24 * UINT64_C(3600) * 1000000)
void ticket_keys_renew(struct ticket_keys *k, uint64_t now_us); /* if it is time */
const struct ticket_key *ticket_keys_find(const struct ticket_keys *k,
                                          const uint8_t name[TICKET_NAME_BYTES]); /* or NULL */
