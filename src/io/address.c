#include "io/address.h"
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <stdio.h>

static bool parse_port(slice text, in_port_t *out)
{
    int64_t n;
    if (!slice_int(text, &n) || n < 0 || n > UINT16_MAX || (text.ptr[0] == '0' && text.len > 1))
        return false;
    *out = htons((uint16_t)n);
    return true;
}

static bool address_parse_path(slice path, union address *out)
{
    if (path.len == 0 || path.len >= sizeof(out->local.sun_path))
        return false;
    out->local.sun_family = AF_UNIX;
    memcpy(out->local.sun_path, path.ptr, path.len);
    return true;
}

bool address_parse(slice text, union address *out)
{
    char host[INET6_ADDRSTRLEN + 3] = ""; /* the longest, brackets, colon */
    size_t colon = text.len;

    memset(out, 0, sizeof(*out));
    if (slice_starts(text, SLICE("unix:")))
        return address_parse_path(slice_from(text, 5), out);
    while (colon > 0 && text.ptr[colon - 1] != ':')
        colon--;
    if (colon < 2 || colon > sizeof(host))
        return false;
    if (text.ptr[0] == '[' && text.ptr[colon - 2] == ']') {
        memcpy(host, text.ptr + 1, colon - 3);
        out->v6.sin6_family = AF_INET6;
        return parse_port(slice_from(text, colon), &out->v6.sin6_port) &&
               inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1;
    }
    memcpy(host, text.ptr, colon - 1);
    out->v4.sin_family = AF_INET;
    return parse_port(slice_from(text, colon), &out->v4.sin_port) &&
           inet_pton(AF_INET, host, &out->v4.sin_addr) == 1;
}

void address_set(union address *out, const struct sockaddr *from)
{
    memset(out, 0, sizeof(*out));
    if (from->sa_family == AF_INET)
        memcpy(&out->v4, from, sizeof(out->v4));
    if (from->sa_family != AF_INET6)
        return;
    memcpy(&out->v6, from, sizeof(out->v6));
    if (!IN6_IS_ADDR_V4MAPPED(&out->v6.sin6_addr))
        return;
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = out->v6.sin6_port };
    memcpy(&v4.sin_addr, out->v6.sin6_addr.s6_addr + 12, sizeof(v4.sin_addr));
    memset(out, 0, sizeof(*out));
    out->v4 = v4;
}

socklen_t address_bytes(const union address *a)
{
    switch (a->any.sa_family) {
    case AF_INET:
        return sizeof(a->v4);
    case AF_INET6:
        return sizeof(a->v6);
    case AF_UNIX:
        return sizeof(a->local);
    default:
        return 0;
    }
}

int address_port(const union address *a)
{
    if (a->any.sa_family == AF_INET)
        return ntohs(a->v4.sin_port);
    return a->any.sa_family == AF_INET6 ? ntohs(a->v6.sin6_port) : 0;
}

void address_print(const union address *a, char out[ADDRESS_TEXT_BYTES])
{
    char host[INET6_ADDRSTRLEN];
    if (a->any.sa_family == AF_INET && inet_ntop(AF_INET, &a->v4.sin_addr, host, sizeof(host)))
        snprintf(out, ADDRESS_TEXT_BYTES, "%s:%d", host, address_port(a));
    else if (a->any.sa_family == AF_INET6 &&
             inet_ntop(AF_INET6, &a->v6.sin6_addr, host, sizeof(host)))
        snprintf(out, ADDRESS_TEXT_BYTES, "[%s]:%d", host, address_port(a));
    else
        snprintf(out, ADDRESS_TEXT_BYTES, a->any.sa_family == AF_UNIX ? "local" : "none");
}

static bool is_same_host(const union address *a, const struct sockaddr *with)
{
    union address b;
    address_set(&b, with);
    if (a->any.sa_family != b.any.sa_family)
        return false;
    return a->any.sa_family == AF_INET ? a->v4.sin_addr.s_addr == b.v4.sin_addr.s_addr
                                       : a->any.sa_family == AF_INET6 &&
                                             IN6_ARE_ADDR_EQUAL(&a->v6.sin6_addr, &b.v6.sin6_addr);
}

bool address_is_own(const union address *from)
{
    union address a;
    struct ifaddrs *all;
    bool own = false;
    address_set(&a, &from->any);
    if (getifaddrs(&all) != 0)
        return true;
    for (const struct ifaddrs *i = all; i != NULL && !own; i = i->ifa_next)
        own = i->ifa_addr != NULL && is_same_host(&a, i->ifa_addr);
    freeifaddrs(all);
    return own;
}

bool address_is_local(const union address *from)
{
    union address a;
    address_set(&a, &from->any);
    if (a.any.sa_family == AF_INET) {
        uint32_t host = ntohl(a.v4.sin_addr.s_addr);
        return host >> 24 == 127 || host >> 24 == 0 || host >> 16 == 0xa9fe /* 169.254 */;
    }
    return a.any.sa_family != AF_INET6 || IN6_IS_ADDR_LOOPBACK(&a.v6.sin6_addr) ||
           IN6_IS_ADDR_LINKLOCAL(&a.v6.sin6_addr) || IN6_IS_ADDR_UNSPECIFIED(&a.v6.sin6_addr);
}
