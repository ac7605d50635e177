#include "http/forms.h"

#include "codec/http_read.h"
#include "http/parse.h"
#include <arpa/inet.h>
#include <string.h>

static bool forms_is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool forms_all_of(slice text, const char *more)
{
    for (size_t i = 0; i < text.len; i++)
        if (!forms_is_plain(text.ptr[i]) &&
            (text.ptr[i] == '\0' || strchr(more, text.ptr[i]) == NULL))
            return false;
    return true;
}

/* HOST or HOST:PORT (RFC 3986 §3.2, without a user). */
static bool is_authority(slice text)
{
    return text.len > 0 && text.ptr[0] != ':' && forms_all_of(text, "-._:[]");
}

bool http_is_url(slice text)
{
    slice scheme, rest, host, path;
    text = http_trim(text);
    if (text.len == 0)
        return true;
    if (!slice_cut(text, ':', &scheme, &rest) || !slice_starts(rest, SLICE("//")))
        return false;
    (void)slice_cut(slice_from(rest, 2), '/', &host, &path);
    return (slice_is(scheme, "http") || slice_is(scheme, "https")) && is_authority(host) &&
           forms_all_of(path, "-._~/%");
}

bool http_is_path(slice text)
{
    return text.len == 0 || (text.ptr[0] == '/' && forms_all_of(text, "-._~/"));
}

/* Applications have schemes of their own, and some send "null" (RFC 6454 §7). */
static bool is_origin(slice text)
{
    slice scheme, rest;
    if (slice_is(text, "*") || slice_is(text, "null"))
        return true;
    return slice_cut(text, ':', &scheme, &rest) && scheme.len > 0 && forms_all_of(scheme, "+-.") &&
           slice_starts(rest, SLICE("//")) && is_authority(slice_from(rest, 2));
}

bool http_are_origins(slice text)
{
    while (text.len > 0) {
        slice one;
        (void)slice_cut(text, ',', &one, &text);
        if (!is_origin(http_trim(one)))
            return false;
    }
    return true;
}

bool http_are_addresses(slice text)
{
    while (text.len > 0) {
        slice one;
        char name[INET6_ADDRSTRLEN];
        struct in6_addr out; /* has room for either kind */
        (void)slice_cut(text, ',', &one, &text);
        one = http_trim(one);
        if (one.len >= sizeof name || memchr(one.ptr, '\0', one.len) != NULL)
            return false;
        memcpy(name, one.ptr, one.len);
        name[one.len] = '\0';
        if (inet_pton(AF_INET, name, &out) != 1 && inet_pton(AF_INET6, name, &out) != 1)
            return false;
    }
    return true;
}
