/* domains: which domain of the node a request is for, by the host that it names. */
#include "base/mem.h"
#include "http/http_private.h"

/* Fixed once workers run. */
static struct http_domain {
    struct http_domain *next;
    slice name, ascii;
} * first;

void http_add_domain(slice name, slice ascii)
{
    struct http_domain **at = &first;
    while (*at != NULL && !slice_eq((*at)->name, name))
        at = &(*at)->next;
    if (*at != NULL)
        return;
    struct http_domain *d = mem_zalloc(sizeof *d + name.len + ascii.len);
    char *text = (char *)(d + 1);
    d->name = slice_lay(&text, name);
    d->ascii = slice_lay(&text, ascii);
    *at = d;
}

/* Without the port and the dot at its end. */
static slice host_name(slice host)
{
    size_t len = host.len;
    while (len > 0 && host.ptr[len - 1] >= '0' && host.ptr[len - 1] <= '9')
        len--;
    if (len > 0 && host.ptr[len - 1] == ':')
        host.len = len - 1;
    if (host.len > 0 && host.ptr[host.len - 1] == '.')
        host.len--;
    return host;
}

/* That name itself, or one below it. */
static bool is_within(slice host, slice domain)
{
    return domain.len > 0 && host.len >= domain.len &&
           slice_eq_nocase(slice_from(host, host.len - domain.len), domain) &&
           (host.len == domain.len || host.ptr[host.len - domain.len - 1] == '.');
}

static bool is_host_of(const struct setting *base, slice host)
{
    slice scheme, rest;
    if (!slice_cut(http_trim(slice_of(setting_text(base))), ':', &scheme, &rest))
        return false;
    slice_cut(slice_from(rest, 2), '/', &scheme, &rest); /* behind the "//" */
    return slice_eq_nocase(host_name(scheme), host);
}

/* The host of the value that http.base-url has for this domain alone, and not for all. */
static bool is_base_of(const struct http_domain *d, slice host)
{
    const struct setting *s = setting_of(&http_base, d->name);
    return s != &http_base && is_host_of(s, host) && !is_host_of(&http_base, host);
}

slice http_domain_of(const struct http_request *r)
{
    const slice host = host_name(r->host);
    slice best = { 0 };
    size_t len = 0;
    for (const struct http_domain *d = first; d != NULL; d = d->next) {
        slice is = is_within(host, d->ascii) ? d->ascii : d->name;
        if (is.len > len && is_within(host, is)) {
            best = d->name;
            len = is.len;
        }
    }
    for (const struct http_domain *d = first; d != NULL && len < host.len; d = d->next)
        if (is_base_of(d, host))
            return d->name;
    return best;
}
