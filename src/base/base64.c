#include "base/base64.h"
#include "base/buf.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct buf *out, slice bytes)
{
    size_t len = bytes.len / 3 * 4 + (bytes.len % 3 > 0 ? 4 : 0);
    char *to = buf_reserve(out, len);
    if (to == NULL)
        return;
    for (size_t i = 0; i < bytes.len; i += 3, to += 4) {
        size_t left = bytes.len - i;
        uint32_t bits = (uint32_t)(unsigned char)bytes.ptr[i] << 16;
        if (left > 1)
            bits |= (uint32_t)(unsigned char)bytes.ptr[i + 1] << 8;
        if (left > 2)
            bits |= (unsigned char)bytes.ptr[i + 2];
        to[0] = alphabet[bits >> 18];
        to[1] = alphabet[bits >> 12 & 63];
        to[2] = left > 1 ? alphabet[bits >> 6 & 63] : '=';
        to[3] = left > 2 ? alphabet[bits & 63] : '=';
    }
    out->len += len;
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four digits of which the last `pad` are missing; false: not all are digits. */
static bool decode_group(const char *group, unsigned pad, uint32_t *out)
{
    uint32_t bits = 0;
    for (unsigned i = 0; i < 4; i++) {
        int d = i < 4 - pad ? base64_digit(group[i]) : 0;
        if (d < 0)
            return false;
        bits = bits << 6 | (uint32_t)d;
    }
    *out = bits;
    return true;
}

enum err base64_decode(struct buf *out, slice text)
{
    if (text.len % 4 != 0)
        return E_SYNTAX;
    if (text.len == 0)
        return OK;
    unsigned pad = 0;
    while (pad < 2 && text.ptr[text.len - 1 - pad] == '=')
        pad++;
    size_t len = text.len / 4 * 3 - pad;
    char *to = buf_reserve(out, text.len / 4 * 3);
    if (to == NULL)
        return E_LIMIT;
    for (size_t i = 0; i < text.len; i += 4, to += 3) {
        unsigned group_pad = i + 4 == text.len ? pad : 0;
        uint32_t bits;
        if (!decode_group(text.ptr + i, group_pad, &bits))
            return E_SYNTAX;
        /* RFC 4648 §3.5: bits beyond the last byte must be zero, or two texts would mean the same
         * bytes */
        if ((bits & ((1U << (8 * group_pad)) - 1)) != 0)
            return E_SYNTAX;
        to[0] = (char)(bits >> 16 & 0xff);
        to[1] = (char)(bits >> 8 & 0xff);
        to[2] = (char)(bits & 0xff);
    }
    out->len += len;
    return OK;
}
