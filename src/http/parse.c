#include "http/parse.h"
#include "base/arena.h"
#include "base/utf8.h"
#include "codec/http_read.h"

static int parse_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

enum plus { PLUS_IS_PLUS, PLUS_IS_SPACE };

static enum err parse_decode(slice raw, enum plus plus, struct arena *tmp, slice *out)
{
    char *to = arena_alloc_raw(tmp, raw.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.ptr[i];
        if (c == '+' && plus == PLUS_IS_SPACE) {
            c = ' ';
        } else if (c == '%') {
            int high = i + 2 < raw.len ? parse_hex(raw.ptr[i + 1]) : -1;
            int low = high >= 0 ? parse_hex(raw.ptr[i + 2]) : -1;
            if (low < 0)
                return E_SYNTAX;
            c = (char)(high << 4 | low);
            i += 2;
        }
        to[n++] = c;
    }
    to[n] = '\0';
    *out = (slice){ to, n };
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)to[i] < 0x20 || to[i] == 0x7f)
            return E_SYNTAX;
    return utf8_valid(*out) ? OK : E_SYNTAX;
}

enum err http_percent_decode(slice raw, struct arena *tmp, slice *out)
{
    return parse_decode(raw, PLUS_IS_PLUS, tmp, out);
}

enum err http_path_decode(slice raw, struct arena *tmp, slice *out)
{
    slice rest, segment;
    if (raw.len == 0 || raw.ptr[0] != '/' || parse_decode(raw, PLUS_IS_PLUS, tmp, out) != OK)
        return E_SYNTAX;
    rest = slice_from(*out, 1);
    while (rest.len > 0) {
        slice_cut(rest, '/', &segment, &rest);
        if (slice_is(segment, ".") || slice_is(segment, "..") ||
            (segment.len > 0 && memchr(segment.ptr, '\\', segment.len) != NULL))
            return E_SYNTAX;
    }
    return OK;
}

bool http_query_get(slice query, const char *name, struct arena *tmp, slice *value)
{
    slice pair, key, raw;
    while (query.len > 0) {
        slice_cut(query, '&', &pair, &query);
        if (!slice_cut(pair, '=', &key, &raw))
            raw = (slice){ "", 0 };
        if (parse_decode(key, PLUS_IS_SPACE, tmp, &key) == OK && slice_is(key, name))
            return parse_decode(raw, PLUS_IS_SPACE, tmp, value) == OK;
    }
    return false;
}

bool http_has_token(slice list, const char *token)
{
    slice item;
    while (list.len > 0) {
        slice_cut(list, ',', &item, &list);
        if (slice_eq_nocase(http_trim(item), slice_of(token)))
            return true;
    }
    return false;
}

bool http_has_etag(slice list, slice etag)
{
    slice item;
    while (list.len > 0) {
        slice_cut(list, ',', &item, &list);
        item = http_trim(item);
        if (slice_is(item, "*"))
            return true;
        if (slice_eq(slice_from(item, slice_starts(item, SLICE("W/")) ? 2 : 0), etag))
            return true;
    }
    return false;
}

/* Digits alone: slice_int() would take a sign. */
static bool parse_number(slice text, uint64_t *out)
{
    int64_t n;
    if (text.len == 0 || text.ptr[0] < '0' || text.ptr[0] > '9' || !slice_int(text, &n) || n < 0)
        return false;
    *out = (uint64_t)n;
    return true;
}

enum http_range http_range_parse(slice header, uint64_t size, uint64_t *first, uint64_t *last)
{
    slice unit, set, from, to;
    if (!slice_cut(header, '=', &unit, &set) || !slice_eq_nocase(http_trim(unit), SLICE("bytes")) ||
        !slice_cut(http_trim(set), '-', &from, &to))
        return HTTP_RANGE_NONE;
    if (from.len == 0) { /* the last bytes */
        uint64_t suffix;
        if (!parse_number(to, &suffix))
            return HTTP_RANGE_NONE;
        if (suffix == 0 || size == 0)
            return HTTP_RANGE_UNSATISFIABLE;
        *first = suffix < size ? size - suffix : 0;
        *last = size - 1;
        return HTTP_RANGE_PART;
    }
    *last = UINT64_MAX;
    if (!parse_number(from, first) || (to.len > 0 && !parse_number(to, last)) || *last < *first)
        return HTTP_RANGE_NONE;
    if (*first >= size)
        return HTTP_RANGE_UNSATISFIABLE;
    if (*last >= size)
        *last = size - 1;
    return HTTP_RANGE_PART;
}
