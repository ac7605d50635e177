#include "codec/cookie.h"

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

static slice trimmed(slice s)
{
    while (s.len > 0 && is_blank(s.ptr[0]))
        s = slice_from(s, 1);
    while (s.len > 0 && is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

slice cookie_find(slice header, slice name)
{
    while (header.len > 0) {
        slice one, key, value;
        slice_cut(header, ';', &one, &header);
        if (!slice_cut(one, '=', &key, &value) || !slice_eq(trimmed(key), name))
            continue;
        value = trimmed(value);
        if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"')
            value = (slice){ value.ptr + 1, value.len - 2 };
        return value;
    }
    return (slice){ 0 };
}
