#include "codec/socks5.h"
#include <string.h>

enum { VERSION = 5 };

static uint8_t byte(slice in, size_t i) { return (uint8_t)in.ptr[i]; }

enum socks5_result socks5_read_greeting(struct socks5_greeting *out, slice in)
{
    *out = (struct socks5_greeting){ 0 };
    if (in.len > 0 && byte(in, 0) != VERSION)
        return SOCKS5_BAD;
    if (in.len < 2 || in.len < 2u + byte(in, 1))
        return SOCKS5_MORE;
    out->bytes = 2u + byte(in, 1);
    out->no_auth = memchr(in.ptr + 2, 0, byte(in, 1)) != NULL;
    return SOCKS5_READ;
}

enum socks5_result socks5_read_request(struct socks5_request *out, slice in)
{
    size_t at = 4, len;
    *out = (struct socks5_request){ 0 };
    if ((in.len > 0 && byte(in, 0) != VERSION) || (in.len > 2 && byte(in, 2) != 0))
        return SOCKS5_BAD;
    if (in.len < 5)
        return SOCKS5_MORE;
    switch (byte(in, 3)) {
    case SOCKS5_IPV4:
        len = 4;
        break;
    case SOCKS5_IPV6:
        len = 16;
        break;
    case SOCKS5_NAME:
        len = byte(in, at++);
        break;
    default:
        return SOCKS5_BAD;
    }
    if (in.len < at + len + 2)
        return SOCKS5_MORE;
    *out = (struct socks5_request){ .bytes = at + len + 2,
                                    .command = byte(in, 1),
                                    .kind = byte(in, 3),
                                    .address = { in.ptr + at, len } };
    out->port = (uint16_t)(byte(in, at + len) << 8 | byte(in, at + len + 1));
    return SOCKS5_READ;
}

size_t socks5_write_reply(char out[SOCKS5_REPLY_MAX], enum socks5_reply code, slice name,
                          uint16_t port)
{
    size_t len = name.len > 255 ? 255 : name.len;
    const char head[] = { VERSION, (char)code, 0, SOCKS5_NAME, (char)(uint8_t)len };
    memcpy(out, head, sizeof head);
    if (len > 0)
        memcpy(out + sizeof head, name.ptr, len);
    out[sizeof head + len] = (char)(uint8_t)(port >> 8);
    out[sizeof head + len + 1] = (char)(uint8_t)port;
    return sizeof head + len + 2;
}
