/* scram: the part of SCRAM's arithmetic that the SASL machine needs for itself (RFC 5802 §3). Pure;
 * any thread. */
#pragma once
#include "xmpp/sasl.h"

enum { SCRAM_HASH_MAX = 64 }; /* bytes */

/* Checks the client's proof of `auth_message` in constant time; true: and the server's signature of
 * it is by the keys that the proof fits, scram_hash_len() bytes. */
bool scram_prove(const struct scram_keys *keys, enum scram_hash h, slice auth_message, slice proof,
                 uint8_t signature[SCRAM_HASH_MAX]);

/* SaltedPassword of RFC 5802 §3: slow, for helper threads only. salt: not empty. */
void scram_salted(enum scram_hash h, slice password, slice salt, uint32_t iterations,
                  uint8_t out[SCRAM_HASH_MAX]);
/* Both with scram_hash_len() bytes of result; a key of any length. */
size_t scram_digest(enum scram_hash h, slice bytes, uint8_t out[SCRAM_HASH_MAX]);
void scram_hmac(enum scram_hash h, slice key, slice message, uint8_t out[SCRAM_HASH_MAX]);
