#include "muc/room/occupant_id.h"
#include "base/ensure.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { MAC_LEN = 32, DIGIT_BITS = 6 };
_Static_assert(OCCUPANT_ID_LEN == (MAC_LEN * 8 + DIGIT_BITS - 1) / DIGIT_BITS, "no padding");

/* RFC 4648 §5 */
static void base64url(char *out, const uint8_t mac[MAC_LEN])
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned bits = 0, have = 0;
    for (size_t i = 0; i < MAC_LEN; i++) {
        bits = bits << 8 | mac[i];
        for (have += 8; have >= DIGIT_BITS; have -= DIGIT_BITS)
            *out++ = alphabet[bits >> (have - DIGIT_BITS) & 63];
    }
    *out++ = alphabet[bits << (DIGIT_BITS - have) & 63];
    *out = 0;
}

slice occupant_id(char out[OCCUPANT_ID_LEN + 1], const uint8_t secret[OCCUPANT_SECRET_LEN],
                  slice bare)
{
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    ensure(HMAC(EVP_sha256(), secret, OCCUPANT_SECRET_LEN, (const unsigned char *)bare.ptr,
                bare.len, mac, &len) != NULL &&
           len == MAC_LEN);
    base64url(out, mac);
    return (slice){ out, OCCUPANT_ID_LEN };
}
