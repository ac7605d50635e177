#include "convert/erlang.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/utf8.h"

struct erlang_reader {
    const char *at, *end, *begin;
    struct arena *tmp;
    struct why *why;
    unsigned terms;
};

static bool erlang_fail(const struct erlang_reader *r, const char *what)
{
    size_t line = 1;
    for (const char *c = r->begin; c < r->at; c++)
        line += *c == '\n';
    why_set(r->why, "line %zu of it: %s", line, what);
    return false;
}

static bool erlang_is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static void erlang_skip(struct erlang_reader *r)
{
    while (r->at < r->end && erlang_is_space(*r->at))
        r->at++;
}

static bool erlang_take(struct erlang_reader *r, const char *mark)
{
    size_t n = strlen(mark);
    erlang_skip(r);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, mark, n) != 0)
        return false;
    r->at += n;
    return true;
}

static bool erlang_is_digit(char c) { return c >= '0' && c <= '9'; }

static bool erlang_is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || erlang_is_digit(c) || c == '_' ||
           c == '@';
}

/* Where a quoted text ends, behind its quote; NULL: nowhere. */
static const char *erlang_quoted_end(const char *at, const char *end)
{
    for (char quote = *at++; at < end; at++) {
        if (*at == '\\')
            at++;
        else if (*at == quote)
            return at + 1;
    }
    return NULL;
}

size_t erlang_length(slice text, bool last)
{
    const char *at = text.ptr, *end = text.ptr + text.len;
    while (at < end) {
        if (*at == '"' || *at == '\'') {
            at = erlang_quoted_end(at, end);
            if (at == NULL)
                return 0;
        } else if (*at == '.' && (end - at > 1 ? erlang_is_space(at[1]) : last)) {
            at++;
            while (at < end && erlang_is_space(*at))
                at++;
            return (size_t)(at - text.ptr);
        } else {
            at++;
        }
    }
    return 0;
}

static int erlang_hex(char c)
{
    return erlang_is_digit(c)                   ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

/* A character by its number, as \x{…} or in a list: a byte, or UTF-8 beyond 255. 0: it is a
 * surrogate. */
static size_t erlang_char(unsigned c, char *out)
{
    if (c > 255) {
        char utf8[4]; /* fewer bytes than the escape had */
        size_t n = (size_t)utf8_encode(utf8, c);
        memcpy(out, utf8, n);
        return n;
    }
    *out = (char)c;
    return 1;
}

/* Erlang reference manual, "Escape Sequences". The backslash is behind us. Returns how many bytes
 * were written, at most as many as were read; 0: it is none. */
static size_t erlang_escape(struct erlang_reader *r, const char *close, char *out)
{
    static const char names[] = "bdefnrstv", bytes[] = "\b\177\033\f\n\r \t\v";
    unsigned value = 0, digits = 0;
    ensure(r->at < close);
    const char *name = *r->at == '\0' ? NULL : strchr(names, *r->at);
    if (name != NULL) {
        *out = bytes[name - names];
        r->at++;
        return 1;
    }
    if (*r->at == 'x') {
        bool braces = close - r->at > 1 && r->at[1] == '{';
        unsigned max = braces ? 6 : 2;
        r->at += braces ? 2 : 1;
        for (; r->at < close && digits < max && erlang_hex(*r->at) >= 0; digits++)
            value = value * 16 + (unsigned)erlang_hex(*r->at++);
        if (digits == 0 || (!braces && digits != 2) || value > 0x10ffff ||
            (braces && (r->at == close || *r->at++ != '}')))
            return 0;
        return erlang_char(value, out);
    }
    for (; r->at < close && digits < 3 && *r->at >= '0' && *r->at <= '7'; digits++)
        value = value * 8 + (unsigned)(*r->at++ - '0');
    *out = (char)(digits > 0 ? (char)value : *r->at++);
    return value <= 255 ? 1 : 0;
}

static bool erlang_quoted(struct erlang_reader *r, slice *out)
{
    ensure(r->at < r->end);
    const char *from = r->at + 1, *end = erlang_quoted_end(r->at, r->end);
    if (end == NULL)
        return erlang_fail(r, "a text does not end");
    const char *close = end - 1;
    *out = (slice){ from, (size_t)(close - from) };
    r->at = end;
    if (memchr(from, '\\', out->len) == NULL)
        return true;
    char *text = arena_alloc_raw(r->tmp, out->len + 1);
    size_t n = 0;
    for (r->at = from; r->at < close;) {
        char c = *r->at++;
        size_t wrote = 1;
        if (c != '\\')
            text[n] = c;
        else
            wrote = r->at < close ? erlang_escape(r, close, text + n) : 0;
        if (wrote == 0)
            return erlang_fail(r, "a text has an escape that is none");
        n += wrote;
    }
    ensure(r->at == close && n <= out->len);
    r->at = end;
    *out = (slice){ text, n };
    return true;
}

static slice erlang_joined(struct erlang_reader *r, slice a, slice b)
{
    if (a.len == 0 || b.len == 0)
        return a.len == 0 ? b : a;
    char *text = arena_alloc_raw(r->tmp, a.len + b.len);
    memcpy(text, a.ptr, a.len);
    memcpy(text + a.len, b.ptr, b.len);
    return (slice){ text, a.len + b.len };
}

static slice erlang_digits(struct erlang_reader *r)
{
    erlang_skip(r);
    const char *from = r->at;
    if (r->at < r->end && *r->at == '-')
        r->at++;
    while (r->at < r->end && erlang_is_digit(*r->at))
        r->at++;
    if (r->end - r->at > 1 && *r->at == '.' && erlang_is_digit(r->at[1]))
        while (r->at < r->end && (erlang_is_digit(*r->at) || *r->at == '.' || *r->at == 'e' ||
                                  *r->at == '-' || *r->at == '+'))
            r->at++;
    slice s = { from, (size_t)(r->at - from) };
    return s.len > 0 && erlang_is_digit(s.ptr[s.len - 1]) ? s : (slice){ 0 };
}

/* Strings that follow each other are one: long texts are written in several lines. */
static bool erlang_string(struct erlang_reader *r, slice *out)
{
    slice more;
    *out = SLICE("");
    do {
        if (!erlang_quoted(r, &more))
            return false;
        *out = erlang_joined(r, *out, more);
        erlang_skip(r);
    } while (r->at < r->end && *r->at == '"');
    return true;
}

/* Behind <<: a string, or bytes with commas between them; a part of a byte is none that we know. */
static bool erlang_binary(struct erlang_reader *r, struct erlang_term *out)
{
    int64_t byte;
    out->type = ERLANG_TEXT;
    out->text = SLICE("");
    if (erlang_take(r, ">>"))
        return true;
    if (r->at < r->end && *r->at == '"') {
        if (!erlang_string(r, &out->text))
            return false;
        (void)erlang_take(r, "/utf8");
        return erlang_take(r, ">>") || erlang_fail(r, "a binary does not end");
    }
    const char *close = memchr(r->at, '>', (size_t)(r->end - r->at));
    if (close == NULL)
        return erlang_fail(r, "a binary does not end");
    char *bytes = arena_alloc_raw(r->tmp, (size_t)(close - r->at) / 2 + 1);
    size_t n = 0;
    do {
        if (!slice_int(erlang_digits(r), &byte) || byte < 0 || byte > 255)
            return erlang_fail(r, "a binary has what is no byte");
        bytes[n++] = (char)byte;
    } while (erlang_take(r, ","));
    out->text = (slice){ bytes, n };
    return erlang_take(r, ">>") || erlang_fail(r, "a binary does not end");
}

static bool erlang_term_in(struct erlang_reader *r, struct erlang_term *out, unsigned depth);

/* NULL: there are too many, or it is wrong. */
static struct erlang_term *erlang_child(struct erlang_reader *r, unsigned depth)
{
    if (r->terms++ >= ERLANG_TERMS_MAX) {
        erlang_fail(r, "found too many terms in one");
        return NULL;
    }
    struct erlang_term *t = arena_new(r->tmp, struct erlang_term, 1);
    return erlang_term_in(r, t, depth) ? t : NULL;
}

static bool erlang_group(struct erlang_reader *r, struct erlang_term *out, enum erlang_type type,
                         const char *close, unsigned depth)
{
    struct erlang_term **last = &out->first;
    out->type = type;
    if (depth > ERLANG_DEPTH_MAX)
        return erlang_fail(r, "found too many terms inside each other");
    if (erlang_take(r, close))
        return true;
    for (;;) {
        struct erlang_term *t = erlang_child(r, depth + 1);
        if (t == NULL)
            return false;
        *last = t;
        last = &t->next;
        if (erlang_take(r, close))
            return true;
        bool more = (type == ERLANG_MAP && erlang_take(r, "=>")) || erlang_take(r, ",") ||
                    (type == ERLANG_LIST && erlang_take(r, "|"));
        if (!more)
            return erlang_fail(r, "a tuple, list or map does not end");
    }
}

static bool erlang_term_in(struct erlang_reader *r, struct erlang_term *out, unsigned depth)
{
    if (erlang_take(r, "{"))
        return erlang_group(r, out, ERLANG_TUPLE, "}", depth);
    if (erlang_take(r, "["))
        return erlang_group(r, out, ERLANG_LIST, "]", depth);
    if (erlang_take(r, "#{"))
        return erlang_group(r, out, ERLANG_MAP, "}", depth);
    if (erlang_take(r, "<<"))
        return erlang_binary(r, out);
    out->type = ERLANG_TEXT;
    if (r->at < r->end && *r->at == '"')
        return erlang_string(r, &out->text);
    out->type = ERLANG_ATOM;
    if (r->at < r->end && *r->at == '\'')
        return erlang_quoted(r, &out->text);
    if (r->at < r->end && (*r->at == '-' || erlang_is_digit(*r->at))) {
        out->type = ERLANG_NUMBER;
        out->text = erlang_digits(r);
        return out->text.len > 0 || erlang_fail(r, "found what is no number");
    }
    const char *from = r->at;
    while (r->at < r->end && erlang_is_name(*r->at))
        r->at++;
    out->text = (slice){ from, (size_t)(r->at - from) };
    return out->text.len > 0 || erlang_fail(r, "found what is no term of constants");
}

enum err erlang_read(struct erlang_term *out, slice text, struct arena *tmp, struct why *why)
{
    struct erlang_reader r = { text.ptr, text.ptr + text.len, text.ptr, tmp, why, 0 };
    *out = (struct erlang_term){ 0 };
    if (text.len == 0) {
        why_set(why, "found no term");
        return E_SYNTAX;
    }
    if (!erlang_term_in(&r, out, 1))
        return E_SYNTAX;
    (void)erlang_take(&r, ".");
    erlang_skip(&r);
    if (r.at == r.end)
        return OK;
    (void)erlang_fail(&r, "there is something behind its end");
    return E_SYNTAX;
}

/* Looking at a term. */

static const struct erlang_term *erlang_first(const struct erlang_term *t)
{
    return t != NULL && (t->type == ERLANG_TUPLE || t->type == ERLANG_LIST) ? t->first : NULL;
}

const struct erlang_term *erlang_at(const struct erlang_term *t, unsigned at)
{
    t = erlang_first(t);
    for (; t != NULL && at > 0; at--)
        t = t->next;
    return t;
}

unsigned erlang_count(const struct erlang_term *t)
{
    unsigned n = 0;
    for (t = erlang_first(t); t != NULL; t = t->next)
        n++;
    return n;
}

slice erlang_text(const struct erlang_term *t)
{
    return t != NULL && t->type == ERLANG_TEXT ? t->text : (slice){ 0 };
}

slice erlang_word(const struct erlang_term *t)
{
    return t != NULL && (t->type == ERLANG_ATOM || t->type == ERLANG_TEXT) ? t->text : (slice){ 0 };
}

bool erlang_is(const struct erlang_term *t, const char *atom)
{
    return t != NULL && t->type == ERLANG_ATOM && slice_is(t->text, atom);
}

const struct erlang_term *erlang_get(const struct erlang_term *list, const char *key)
{
    for (const struct erlang_term *t = erlang_first(list); t != NULL; t = t->next)
        if (erlang_count(t) == 2 && erlang_is(erlang_at(t, 0), key))
            return erlang_at(t, 1);
    return NULL;
}
