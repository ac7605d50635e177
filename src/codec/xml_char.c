#include "codec/xml_char.h"
#include "base/utf8.h"

enum { L = XML_NAME_START | XML_NAME, D = XML_NAME, W = XML_WHITE };

/* clang-format off */
const uint8_t xml_class[256] = {
    ['\t'] = W, ['\n'] = W, ['\r'] = W, [' '] = W,
    ['-'] = D, ['.'] = D, ['_'] = L,
    ['0'] = D, ['1'] = D, ['2'] = D, ['3'] = D, ['4'] = D,
    ['5'] = D, ['6'] = D, ['7'] = D, ['8'] = D, ['9'] = D,
    ['A'] = L, ['B'] = L, ['C'] = L, ['D'] = L, ['E'] = L, ['F'] = L, ['G'] = L,
    ['H'] = L, ['I'] = L, ['J'] = L, ['K'] = L, ['L'] = L, ['M'] = L, ['N'] = L,
    ['O'] = L, ['P'] = L, ['Q'] = L, ['R'] = L, ['S'] = L, ['T'] = L, ['U'] = L,
    ['V'] = L, ['W'] = L, ['X'] = L, ['Y'] = L, ['Z'] = L,
    ['a'] = L, ['b'] = L, ['c'] = L, ['d'] = L, ['e'] = L, ['f'] = L, ['g'] = L,
    ['h'] = L, ['i'] = L, ['j'] = L, ['k'] = L, ['l'] = L, ['m'] = L, ['n'] = L,
    ['o'] = L, ['p'] = L, ['q'] = L, ['r'] = L, ['s'] = L, ['t'] = L, ['u'] = L,
    ['v'] = L, ['w'] = L, ['x'] = L, ['y'] = L, ['z'] = L,
};
/* clang-format on */

struct range {
    uint32_t first, last;
};

/* Production [4] beyond ASCII. */
static const struct range name_start[] = {
    { 0xc0, 0xd6 },     { 0xd8, 0xf6 },     { 0xf8, 0x2ff },    { 0x370, 0x37d },
    { 0x37f, 0x1fff },  { 0x200c, 0x200d }, { 0x2070, 0x218f }, { 0x2c00, 0x2fef },
    { 0x3001, 0xd7ff }, { 0xf900, 0xfdcf }, { 0xfdf0, 0xfffd }, { 0x10000, 0xeffff },
};

bool xml_char(uint32_t cp)
{
    if (cp < 0x20)
        return cp == '\t' || cp == '\n' || cp == '\r';
    return cp <= 0xd7ff || (cp >= 0xe000 && cp <= 0xfffd) || (cp >= 0x10000 && cp <= 0x10ffff);
}

bool xml_name_start(uint32_t cp)
{
    if (cp < 0x80)
        return xml_is((char)cp, XML_NAME_START);
    for (size_t i = 0; i < sizeof name_start / sizeof name_start[0]; i++) {
        if (cp <= name_start[i].last)
            return cp >= name_start[i].first;
    }
    return false;
}

bool xml_name_char(uint32_t cp)
{
    if (cp < 0x80)
        return xml_is((char)cp, XML_NAME);
    return xml_name_start(cp) || cp == 0xb7 || (cp >= 0x300 && cp <= 0x36f) || cp == 0x203f ||
           cp == 0x2040;
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 16;
}

static uint32_t char_ref(slice digits)
{
    int base = digits.len > 0 && digits.ptr[0] == 'x' ? 16 : 10;
    uint32_t cp = 0;
    for (size_t i = base == 16 ? 1 : 0; i < digits.len; i++) {
        int digit = digit_value(digits.ptr[i]);
        if (digit >= base || cp > 0x10ffff)
            return 0;
        cp = cp * (uint32_t)base + (uint32_t)digit;
    }
    return xml_char(cp) ? cp : 0;
}

uint32_t xml_ref(slice body)
{
    static const struct {
        const char *name;
        uint32_t cp;
    } entity[] = {
        { "lt", '<' }, { "gt", '>' }, { "amp", '&' }, { "quot", '"' }, { "apos", '\'' }
    };

    if (body.len > 0 && body.ptr[0] == '#')
        return char_ref(slice_from(body, 1));
    for (size_t i = 0; i < sizeof entity / sizeof entity[0]; i++) {
        if (slice_is(body, entity[i].name))
            return entity[i].cp;
    }
    return 0;
}

static uint32_t xml_char_take(slice *in, size_t bytes, uint32_t cp)
{
    *in = slice_from(*in, bytes);
    return cp;
}

static uint32_t take_ref(slice *in)
{
    size_t seen = in->len < XML_REF_BYTES_MAX + 2 ? in->len : XML_REF_BYTES_MAX + 2;
    const char *semicolon = memchr(in->ptr, ';', seen);
    if (semicolon == NULL)
        return xml_char_take(in, 1, '&');
    uint32_t cp = xml_ref((slice){ in->ptr + 1, (size_t)(semicolon - in->ptr) - 1 });
    if (cp == 0)
        return xml_char_take(in, 1, '&');
    return xml_char_take(in, (size_t)(semicolon - in->ptr) + 1, cp);
}

uint32_t xml_next(slice *in, enum xml_context context)
{
    char c = in->ptr[0];
    if (c == '&')
        return take_ref(in);
    if (c == '\r') {
        size_t bytes = in->len > 1 && in->ptr[1] == '\n' ? 2 : 1;
        return xml_char_take(in, bytes, context == XML_IN_TEXT ? '\n' : ' ');
    }
    if (context == XML_IN_VALUE && xml_is(c, XML_WHITE))
        return xml_char_take(in, 1, ' ');
    uint32_t cp;
    int bytes = utf8_decode(*in, &cp);
    return bytes > 0 && xml_char(cp) ? xml_char_take(in, (size_t)bytes, cp)
                                     : xml_char_take(in, 1, 0xfffd);
}

const char *xml_skip_high(const char *p, const char *end)
{
    while (p < end && xml_high(*p)) {
        uint32_t cp;
        int bytes = utf8_decode((slice){ p, (size_t)(end - p) }, &cp);
        if (bytes <= 0 || !xml_char(cp))
            break;
        p += bytes;
    }
    return p;
}
