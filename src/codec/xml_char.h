/* xml_char: the character classes and references of XML 1.0 (fifth edition), and the scanners for
 * the long runs (names, text, values), 16 bytes at a time where SSE2 is there. Private to codec/.
 * Scanners never read at or behind `end`. Pure. */
#pragma once
#include "base/slice.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Bits of xml_class[]. The colon has none: it ends the parts of a qualified name. */
enum { XML_NAME_START = 1, XML_NAME = 2, XML_WHITE = 4 };
extern const uint8_t xml_class[256];

enum xml_context { XML_IN_TEXT, XML_IN_VALUE };
enum { XML_REF_BYTES_MAX = 32 }; /* between '&' and ';'; ten would do without leading zeros */

bool xml_char(uint32_t cp);       /* production [2] Char */
bool xml_name_start(uint32_t cp); /* production [4] NameStartChar, but not the colon */
bool xml_name_char(uint32_t cp);  /* production [4a] NameChar, but not the colon */

/* The character of a reference, from its body between '&' and ';'. 0: neither one of the five
 * entities (§4.6) nor a reference to a legal character (§4.1). */
uint32_t xml_ref(slice body);

/* Takes one character off the front, its reference resolved, line ends (§2.11) and in values also
 * white space (§3.3.3) normalised. In damaged text a '&' that begins no reference stands for
 * itself, and a byte that begins no character is U+FFFD. `in` is not empty. */
uint32_t xml_next(slice *in, enum xml_context context);

/* Behind the legal characters beyond ASCII at p. A byte >= 0x80 there is bad or not complete. */
const char *xml_skip_high(const char *p, const char *end);

static inline bool xml_is(char c, int classes) { return (xml_class[(uint8_t)c] & classes) != 0; }
static inline bool xml_high(char c) { return (uint8_t)c >= 0x80; }
static inline bool xml_odd(char c) { return (signed char)c < 0x20; } /* control or beyond ASCII */

static inline const char *xml_skip_white(const char *p, const char *end)
{
    while (p < end && xml_is(*p, XML_WHITE))
        p++;
    return p;
}

#ifdef __SSE2__
static inline __m128i xml_load16(const char *p) { return _mm_loadu_si128((const void *)p); }
static inline __m128i xml_equal16(__m128i v, char c) { return _mm_cmpeq_epi8(v, _mm_set1_epi8(c)); }
/* Bytes from `low` to `low + span`, unsigned. */
static inline __m128i xml_range16(__m128i v, char low, char span)
{
    v = _mm_subs_epu8(_mm_sub_epi8(v, _mm_set1_epi8(low)), _mm_set1_epi8(span));
    return _mm_cmpeq_epi8(v, _mm_setzero_si128());
}
static inline __m128i xml_odd16(__m128i v) { return _mm_cmplt_epi8(v, _mm_set1_epi8(0x20)); }

static inline unsigned xml_name_stops16(const char *p)
{
    __m128i v = xml_load16(p);
    __m128i letter = xml_range16(_mm_or_si128(v, _mm_set1_epi8(0x20)), 'a', 'z' - 'a');
    __m128i digit = xml_range16(v, '-', '9' - '-'); /* and '-', '.', '/' */
    __m128i in = _mm_or_si128(_mm_or_si128(letter, digit), xml_equal16(v, '_'));
    return (unsigned)_mm_movemask_epi8(_mm_andnot_si128(xml_equal16(v, '/'), in)) ^ 0xffff;
}
static inline unsigned xml_text_stops16(const char *p)
{
    __m128i v = xml_load16(p);
    __m128i angle = xml_equal16(_mm_andnot_si128(_mm_set1_epi8('<' ^ '>'), v), '<'); /* one bit */
    __m128i stop = _mm_or_si128(_mm_or_si128(angle, xml_equal16(v, '&')), xml_odd16(v));
    return (unsigned)_mm_movemask_epi8(stop);
}
static inline unsigned xml_value_stops16(const char *p, char quote)
{
    __m128i v = xml_load16(p);
    __m128i stop = _mm_or_si128(xml_equal16(v, quote), xml_equal16(v, '<'));
    stop = _mm_or_si128(_mm_or_si128(stop, xml_equal16(v, '&')), xml_odd16(v));
    return (unsigned)_mm_movemask_epi8(stop);
}
#define XML_SKIP16(stops_call)                                                                     \
    for (; end - p >= 16; p += 16) {                                                               \
        unsigned stops = (stops_call);                                                             \
        if (stops != 0)                                                                            \
            return p + __builtin_ctz(stops);                                                       \
    }
#else
#define XML_SKIP16(stops_call)
#endif

/* To the first byte that is no ASCII name character, or a colon. */
static inline const char *xml_skip_name(const char *p, const char *end)
{
    XML_SKIP16(xml_name_stops16(p))
    while (p < end && xml_is(*p, XML_NAME))
        p++;
    return p;
}

/* To the first '<', '>', '&', control character (white space too) or byte beyond ASCII. */
static inline const char *xml_skip_text(const char *p, const char *end)
{
    XML_SKIP16(xml_text_stops16(p))
    while (p < end && !xml_odd(*p) && *p != '<' && *p != '>' && *p != '&')
        p++;
    return p;
}

/* The same for `quote`, '<' and '&'. */
static inline const char *xml_skip_value(const char *p, const char *end, char quote)
{
    XML_SKIP16(xml_value_stops16(p, quote))
    while (p < end && !xml_odd(*p) && *p != quote && *p != '<' && *p != '&')
        p++;
    return p;
}
#undef XML_SKIP16
