#include "io/conn_private.h"
#include <arpa/inet.h>

/* The binary header of "The PROXY protocol" (HAProxy), section 2.2: 12 bytes signature, version and
 * command, family and transport, length of the rest, addresses, then type-length-values, which are
 * skipped. */

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

enum err conn_proxy_parse(slice in, size_t *taken, struct conn_info *info)
{
    size_t have = in.len < sizeof(signature) ? in.len : sizeof(signature);
    const char *body = in.ptr + PROXY_HEADER_BYTES;
    size_t body_len;
    unsigned char command, family;

    if (memcmp(in.ptr, signature, have) != 0)
        return E_PROTO; /* at the first wrong byte, not after the sixteenth */
    if (in.len < PROXY_HEADER_BYTES)
        return E_AGAIN;
    command = (unsigned char)in.ptr[AT_COMMAND];
    family = (unsigned char)in.ptr[AT_FAMILY];
    body_len = (size_t)(unsigned char)in.ptr[AT_LENGTH] << 8 | (unsigned char)in.ptr[AT_LENGTH + 1];
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
    *info = (struct conn_info){ .peer.ss_family = AF_UNSPEC };
    if (peer == NULL)
        return;
    if (peer->sa_family == AF_INET) {
        struct sockaddr_in sin;
        memcpy(&sin, peer, sizeof(sin));
        memcpy(&info->peer, &sin, sizeof(sin));
        inet_ntop(AF_INET, &sin.sin_addr, info->peer_text, sizeof(info->peer_text));
        info->peer_port = ntohs(sin.sin_port);
    } else if (peer->sa_family == AF_INET6) {
        struct sockaddr_in6 sin6;
        memcpy(&sin6, peer, sizeof(sin6));
        if (IN6_IS_ADDR_V4MAPPED(&sin6.sin6_addr)) { /* on a socket for both: one form an address */
            struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = sin6.sin6_port };
            memcpy(&sin.sin_addr, sin6.sin6_addr.s6_addr + 12, 4);
            conn_info_set(info, (const struct sockaddr *)&sin);
            return;
        }
        memcpy(&info->peer, &sin6, sizeof(sin6));
        inet_ntop(AF_INET6, &sin6.sin6_addr, info->peer_text, sizeof(info->peer_text));
        info->peer_port = ntohs(sin6.sin6_port);
    } else {
        info->peer.ss_family = peer->sa_family;
        memcpy(info->peer_text, "local", sizeof("local"));
    }
}
