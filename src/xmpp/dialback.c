#include "xmpp/dialback.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hex.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

enum { TEXT_MAX = 2 * 1023 + DIALBACK_ID_MAX + 3 };

/* XEP-0185 §4: HMAC-SHA256 with the hexadecimal SHA-256 of the secret, over the three with a space
 * between them. Domains have no spaces, so no two triples are the same text. */
void dialback_key(char out[DIALBACK_KEY_LEN + 1], slice secret, const struct dialback *d)
{
    unsigned char hashed[SHA256_DIGEST_LENGTH], mac[SHA256_DIGEST_LENGTH];
    char key[DIALBACK_KEY_LEN + 1];
    unsigned len = 0;
    struct buf text;
    SHA256((const unsigned char *)secret.ptr, secret.len, hashed);
    hex_encode(key, (slice){ (const char *)hashed, sizeof hashed });
    buf_init(&text, TEXT_MAX);
    buf_printf(&text, "%.*s %.*s %.*s", SLICE_ARG(d->receiving), SLICE_ARG(d->originating),
               SLICE_ARG(d->stream_id));
    ensure(!text.overflow);
    ensure(HMAC(EVP_sha256(), key, DIALBACK_KEY_LEN, (const unsigned char *)text.ptr, text.len, mac,
                &len) != NULL);
    ensure(len == sizeof mac);
    buf_fini(&text);
    hex_encode(out, (slice){ (const char *)mac, sizeof mac });
    OPENSSL_cleanse(key, sizeof key);
}

bool dialback_key_is_right(slice key, slice secret, const struct dialback *d)
{
    char right[DIALBACK_KEY_LEN + 1];
    dialback_key(right, secret, d);
    return key.len == DIALBACK_KEY_LEN && CRYPTO_memcmp(key.ptr, right, DIALBACK_KEY_LEN) == 0;
}
