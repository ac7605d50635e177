/* http_reply: one answer of an HTTP server to a request with HTTP/1.0 and `Connection: close`, as a
 * whole (RFC 9112): the status, and the body up to its length or the end. Without transfer codings,
 * which such an answer may not have. Pure. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>

enum { HTTP_REPLY_HEAD_MAX = 16 << 10 /* with answers like "100 Continue" before it */ };

enum http_reply_end {
    HTTP_REPLY_MORE, /* bytes are missing */
    HTTP_REPLY_DONE,
    HTTP_REPLY_BAD /* it is none, or longer than allowed */
};

struct http_reply {
    unsigned status; /* 200; 0: its head has not come, or is none */
    slice body;      /* in the input */
};

/* all: what has come so far; ended: nothing more will come. */
enum http_reply_end http_reply_read(struct http_reply *out, slice all, bool ended, size_t body_max);

/* "http://host:port/path" taken apart; without a port 80, without a path "/". false: it is not. */
struct http_uri {
    slice host; /* of a name, or an address in numbers, without brackets */
    slice authority, path;
    uint16_t port;
};
bool http_uri_read(struct http_uri *out, slice uri);
bool https_uri_read(struct http_uri *out, slice uri); /* "https://…"; without a port 443 */
