#include "auth/totp.h"
#include "base/ensure.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdbool.h>

int64_t totp_step(uint64_t wall_us) { return (int64_t)(wall_us / 1000000 / TOTP_STEP_S); }

void totp_code(slice secret, int64_t step, unsigned digits, char *out)
{
    unsigned char counter[8], mac[EVP_MAX_MD_SIZE] = { 0 };
    unsigned len = 0;
    ensure(digits >= 1 && digits <= 8);
    for (unsigned i = 0; i < 8; i++)
        counter[i] = (unsigned char)((uint64_t)step >> (56 - 8 * i));
    ensure(HMAC(EVP_sha1(), secret.ptr, (int)secret.len, counter, sizeof counter, mac, &len) !=
               NULL &&
           len == 20);
    const unsigned char *at = mac + (mac[len - 1] & 15);
    uint32_t number =
        (uint32_t)(at[0] & 0x7f) << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    out[digits] = '\0';
    for (unsigned i = digits; i > 0; i--, number /= 10)
        out[i - 1] = (char)('0' + number % 10);
}

/* Its digits alone; false: there are not as many as there must be. */
static bool totp_digits(slice code, char out[TOTP_DIGITS])
{
    size_t len = 0;
    for (size_t i = 0; i < code.len; i++) {
        if (code.ptr[i] == ' ' || code.ptr[i] == '-')
            continue;
        if (len == TOTP_DIGITS)
            return false;
        out[len++] = code.ptr[i];
    }
    return len == TOTP_DIGITS;
}

int64_t totp_find(slice secret, slice code, int64_t now)
{
    char right[TOTP_DIGITS + 1], given[TOTP_DIGITS];
    int64_t found = -1;
    if (!totp_digits(code, given))
        return -1;
    for (int64_t step = now - 1; step <= now + 1; step++) {
        totp_code(secret, step, TOTP_DIGITS, right);
        if (CRYPTO_memcmp(right, given, TOTP_DIGITS) == 0)
            found = step;
    }
    return found;
}

void totp_base32(const unsigned char secret[TOTP_SECRET_BYTES], char out[TOTP_BASE32_TEXT + 1])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    uint32_t bits = 0;
    unsigned count = 0;
    for (unsigned i = 0; i < TOTP_SECRET_BYTES; i++) {
        bits = bits << 8 | secret[i];
        for (count += 8; count >= 5; count -= 5)
            *out++ = digits[bits >> (count - 5) & 31];
    }
    *out = '\0';
}
