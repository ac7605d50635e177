/* socks5: what a client of a SOCKS version 5 proxy says first (RFC 1928 §3, §4), read from bytes
 * that may be incomplete. Results borrow the input. Pure. */
#pragma once
#include "base/slice.h"

enum socks5_result { SOCKS5_MORE, SOCKS5_READ, SOCKS5_BAD };

enum socks5_command { SOCKS5_CONNECT = 1, SOCKS5_BIND = 2, SOCKS5_UDP = 3 };
enum socks5_address { SOCKS5_IPV4 = 1, SOCKS5_NAME = 3, SOCKS5_IPV6 = 4 };
enum socks5_reply {
    SOCKS5_OK = 0,
    SOCKS5_FAILED = 1,
    SOCKS5_NOT_ALLOWED = 2,
    SOCKS5_NO_COMMAND = 7,
    SOCKS5_NO_ADDRESS = 8
};
enum { SOCKS5_REPLY_MAX = 4 + 1 + 255 + 2, SOCKS5_NO_METHOD = 0xff };

struct socks5_greeting {
    size_t bytes;
    bool no_auth; /* whether the method "no authentication" is offered */
};
enum socks5_result socks5_read_greeting(struct socks5_greeting *out, slice in);

struct socks5_request {
    size_t bytes;
    uint8_t command, kind; /* as sent, also unknown commands */
    slice address;         /* the name, or the bytes of the address */
    uint16_t port;
};
enum socks5_result socks5_read_request(struct socks5_request *out, slice in);

/* The reply to a request (§6), with a name as the bound address (XEP-0065 §5.3); returns its
 * length. A name is at most 255 bytes. */
size_t socks5_write_reply(char out[SOCKS5_REPLY_MAX], enum socks5_reply code, slice name,
                          uint16_t port);
