/* utf8: strict UTF-8 (RFC 3629): no overlong forms, surrogates or values above U+10FFFF. */
#pragma once
#include "base/slice.h"

/* Length of the valid prefix; a character cut off at the end is not part of it. */
size_t utf8_valid_len(slice s);
static inline bool utf8_valid(slice s) { return utf8_valid_len(s) == s.len; }
/* The valid prefix of the first `max` bytes, for text that is cut to be shown. */
static inline slice utf8_head(slice s, size_t max)
{
    s.len = s.len < max ? s.len : max;
    s.len = utf8_valid_len(s);
    return s;
}
/* Decodes one character at s.ptr; returns its length 1..4, 0: malformed, -1: more bytes needed. */
int utf8_decode(slice s, uint32_t *out);
/* Whether a character is not seen itself, but changes how the text beside it is shown: it marks,
 * embeds, overrides or isolates a direction (UAX #9 §2), or ends a line. Where text of others is
 * shown, its code stands for it. */
bool utf8_misleads(uint32_t cp);
/* Whether a character leaves nothing but room, or nothing at all. */
bool utf8_is_blank(uint32_t cp);
/* One line without control characters. Names may turn the direction of text. */
bool utf8_is_printable(slice s);
/* One line as it was written: no character that ends a line, or turns its direction. */
bool utf8_is_line(slice s);
int utf8_encode(char out[4], uint32_t cp); /* its length; 0: not a scalar value */
