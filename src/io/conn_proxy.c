#include "base/ensure.h"
#include "io/address.h"
#include "io/conn_private.h"
#include <arpa/inet.h>

/* "The PROXY protocol" (HAProxy). Version 2, section 2.2: 12 bytes signature, version and command,
 * family and transport, length of the rest, addresses, then type-length-values, which are skipped.
 * Version 1, section 2.1: one line of text. The first byte tells them apart. */

static const char signature[12] = "\r\n\r\n\0\r\nQUIT\n";

enum {
    AT_COMMAND = 12,
    AT_FAMILY = 13,
    AT_LENGTH = 14,
    COMMAND_LOCAL = 0x20, /* version 2 in the high half */
    COMMAND_PROXY = 0x21,
    FAMILY_UNSPEC = 0x00,
    FAMILY_TCP4 = 0x11,
    FAMILY_TCP6 = 0x21,
    TCP4_BYTES = 12,
    TCP6_BYTES = 36
};

static void peer_v4(const char *body, struct conn_info *info)
{
    struct sockaddr_in sin = { .sin_family = AF_INET };

    memcpy(&sin.sin_addr, body, 4);
    memcpy(&sin.sin_port, body + 8, 2);
    conn_info_set(info, (const struct sockaddr *)&sin);
}

static void peer_v6(const char *body, struct conn_info *info)
{
    struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6 };

    memcpy(&sin6.sin6_addr, body, 16);
    memcpy(&sin6.sin6_port, body + 32, 2);
    conn_info_set(info, (const struct sockaddr *)&sin6);
}

static const char text_begin[6] = "PROXY ";

static bool port_text(slice text, uint16_t *port)
{
    bool digits = text.len > 0 && text.len <= 5 && text.ptr[0] >= '0' && text.ptr[0] <= '9';
    int64_t n;
    if (!digits || (text.ptr[0] == '0' && text.len > 1) || !slice_int(text, &n) || n > UINT16_MAX)
        return false;
    *port = (uint16_t)n;
    return true;
}

static bool address_text(slice text, int family, void *out)
{
    char copy[INET6_ADDRSTRLEN];
    if (text.len == 0 || text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return inet_pton(family, copy, out) == 1;
}

/* What is behind "PROXY ": "TCP4 1.2.3.4 5.6.7.8 1024 5222", or "UNKNOWN" and anything. */
static enum err parse_line(slice line, struct conn_info *info)
{
    slice rest = line;
    unsigned count = 0;
    bool more = true;
    slice part[5];
    while (count < 5 && more)
        more = slice_cut(rest, ' ', &part[count++], &rest);
    if (slice_is(part[0], "UNKNOWN"))
        return OK;
    int family = slice_is(part[0], "TCP4") ? AF_INET : AF_INET6;
    struct in6_addr from, to;
    uint16_t from_port, to_port;
    if (count != 5 || more || (family == AF_INET6 && !slice_is(part[0], "TCP6")) ||
        !address_text(part[1], family, &from) || !address_text(part[2], family, &to) ||
        !port_text(part[3], &from_port) || !port_text(part[4], &to_port))
        return E_PROTO;
    if (family == AF_INET) {
        struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(from_port) };
        memcpy(&sin.sin_addr, &from, sizeof(sin.sin_addr));
        conn_info_set(info, (const struct sockaddr *)&sin);
    } else {
        struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6, .sin6_port = htons(from_port) };
        sin6.sin6_addr = from;
        conn_info_set(info, (const struct sockaddr *)&sin6);
    }
    return OK;
}

static enum err parse_text(slice in, size_t *taken, struct conn_info *info)
{
    size_t most = in.len < PROXY_LINE_MAX ? in.len : PROXY_LINE_MAX, len = 0;
    if (memcmp(in.ptr, text_begin, most < sizeof(text_begin) ? most : sizeof(text_begin)) != 0)
        return E_PROTO;
    while (len < most && in.ptr[len] >= ' ' && in.ptr[len] <= '~')
        len++;
    if (len == PROXY_LINE_MAX || (len + 1 < most && memcmp(in.ptr + len, "\r\n", 2) != 0) ||
        (len + 1 == most && in.ptr[len] != '\r'))
        return E_PROTO;
    if (len + 1 >= most)
        return most == PROXY_LINE_MAX ? E_PROTO : E_AGAIN;
    enum err e = len < sizeof(text_begin)
                     ? E_PROTO
                     : parse_line(slice_from((slice){ in.ptr, len }, sizeof(text_begin)), info);
    *taken = e == OK ? len + 2 : 0;
    return e;
}

enum err conn_proxy_parse(slice in, size_t *taken, struct conn_info *info)
{
    if (in.len > 0 && in.ptr[0] == text_begin[0])
        return parse_text(in, taken, info);
    size_t have = in.len < sizeof(signature) ? in.len : sizeof(signature);
    const char *body = in.ptr + PROXY_HEADER_BYTES;
    if (memcmp(in.ptr, signature, have) != 0)
        return E_PROTO; /* at the first wrong byte, not after the sixteenth */
    if (in.len < PROXY_HEADER_BYTES)
        return E_AGAIN;
    unsigned char command = (unsigned char)in.ptr[AT_COMMAND];
    unsigned char family = (unsigned char)in.ptr[AT_FAMILY];
    size_t body_len =
        (size_t)(unsigned char)in.ptr[AT_LENGTH] << 8 | (unsigned char)in.ptr[AT_LENGTH + 1];
    if ((command != COMMAND_LOCAL && command != COMMAND_PROXY) || body_len > PROXY_BODY_MAX)
        return E_PROTO;
    if (command == COMMAND_PROXY && family != FAMILY_UNSPEC &&
        !(family == FAMILY_TCP4 && body_len >= TCP4_BYTES) &&
        !(family == FAMILY_TCP6 && body_len >= TCP6_BYTES))
        return E_PROTO;
    if (in.len - PROXY_HEADER_BYTES < body_len)
        return E_AGAIN;
    if (command == COMMAND_PROXY && family == FAMILY_TCP4)
        peer_v4(body, info);
    else if (command == COMMAND_PROXY && family == FAMILY_TCP6)
        peer_v6(body, info);
    *taken = PROXY_HEADER_BYTES + body_len;
    return OK;
}

void conn_info_set(struct conn_info *info, const struct sockaddr *peer)
{
    *info = (struct conn_info){ .peer.any.sa_family = AF_UNSPEC };
    if (peer == NULL)
        return;
    union address a;
    address_set(&a, peer);
    if (a.any.sa_family == AF_INET)
        info->peer.v4 = a.v4;
    else if (a.any.sa_family == AF_INET6)
        info->peer.v6 = a.v6;
    else
        info->peer.any.sa_family = peer->sa_family;
}

struct ip_text conn_info_text(const struct conn_info *info)
{
    struct ip_text out = { "" };
    const char *text = out.text;
    if (info->peer.any.sa_family == AF_INET)
        text = inet_ntop(AF_INET, &info->peer.v4.sin_addr, out.text, sizeof out.text);
    else if (info->peer.any.sa_family == AF_INET6)
        text = inet_ntop(AF_INET6, &info->peer.v6.sin6_addr, out.text, sizeof out.text);
    else if (info->peer.any.sa_family != AF_UNSPEC)
        out = (struct ip_text){ "local" };
    ensure(text != NULL); /* there is room for any address */
    return out;
}
