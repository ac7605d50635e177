#include "base/utf8.h"

int utf8_decode(slice s, uint32_t *out)
{
    if (s.len == 0)
        return -1;
    const unsigned char *p = (const unsigned char *)s.ptr;
    unsigned first = p[0];
    if (first < 0x80) {
        *out = first;
        return 1;
    }
    if (first < 0xc2 || first > 0xf4) /* a continuation, overlong, or above U+10FFFF */
        return 0;
    size_t len = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint32_t cp = first & (0xffU >> (len + 1));
    /* RFC 3629 §4: overlong forms, surrogates and values above U+10FFFF can be seen from the second
     * byte */
    unsigned low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    for (size_t i = 1; i < len; i++) {
        if (i >= s.len)
            return -1;
        if (p[i] < low || p[i] > high)
            return 0;
        cp = cp << 6 | (p[i] & 0x3f);
        low = 0x80;
        high = 0xbf;
    }
    *out = cp;
    return (int)len;
}

/* The position behind the ASCII bytes that begin at `at`. Looks at sixteen bytes at a time. */
static size_t skip_ascii(slice s, size_t at)
{
    while (at + 16 <= s.len) {
        uint64_t words[2];
        memcpy(words, s.ptr + at, sizeof words);
        if (((words[0] | words[1]) & 0x8080808080808080) != 0)
            break;
        at += 16;
    }
    while (at < s.len && (unsigned char)s.ptr[at] < 0x80)
        at++;
    return at;
}

size_t utf8_valid_len(slice s)
{
    size_t at = skip_ascii(s, 0);
    while (at < s.len) {
        uint32_t cp;
        int len = utf8_decode((slice){ s.ptr + at, s.len - at }, &cp);
        if (len <= 0)
            break;
        at += (size_t)len;
        if (len == 1)
            at = skip_ascii(s, at);
    }
    return at;
}

int utf8_encode(char out[4], uint32_t cp)
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
        return 0;
    int len = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (int i = len - 1; i > 0; i--, cp >>= 6)
        out[i] = (char)(0x80 | (cp & 0x3f));
    out[0] = (char)(0xf00U >> len | cp);
    return len;
}

bool utf8_misleads(uint32_t cp)
{
    bool mark = cp == 0x061c || cp == 0x200e || cp == 0x200f;
    return mark || (cp >= 0x2028 && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069);
}

bool utf8_is_blank(uint32_t cp)
{
    static const uint32_t others[] = { 0xa0, 0x1680, 0x202f, 0x205f, 0x2060, 0x3000, 0xfeff };
    bool is = cp <= 0x20 || (cp >= 0x7f && cp < 0xa0) || (cp >= 0x2000 && cp <= 0x200b);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        is = is || cp == others[i];
    return is || utf8_misleads(cp);
}

/* Whether none of the characters is a control character, ends a line or, if so wanted, turns the
 * direction. */
static bool utf8_is_free(slice s, bool of_directions)
{
    uint32_t c;
    for (int len; s.len > 0; s = slice_from(s, (size_t)len)) {
        len = utf8_decode(s, &c);
        if (len <= 0 || c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029)
            return false;
        if (of_directions && ((c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069)))
            return false;
    }
    return true;
}

bool utf8_is_printable(slice s) { return utf8_is_free(s, false); }
bool utf8_is_line(slice s) { return utf8_is_free(s, true); }
