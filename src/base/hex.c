#include "base/hex.h"

static const char digits[] = "0123456789abcdef";

void hex_encode(char *out, slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char byte = (unsigned char)bytes.ptr[i];
        out[2 * i] = digits[byte >> 4];
        out[2 * i + 1] = digits[byte & 15];
    }
    out[2 * bytes.len] = '\0';
}

bool hex_decode(void *out, size_t bytes, slice text)
{
    unsigned char *at = out;
    if (text.len != 2 * bytes)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        const char *d = memchr(digits, text.ptr[i], 16);
        if (d == NULL)
            return false;
        unsigned high = i % 2 == 0 ? 0 : at[i / 2];
        at[i / 2] = (unsigned char)(high << 4 | (unsigned)(d - digits));
    }
    return true;
}
