/* http_read: the requests of HTTP/1.0 and 1.1 as a server reads them (RFC 9112). Pure.
 *
 * The reader takes bytes as they come and may be interrupted behind any of them. It keeps to the
 * grammar: where RFC 9112 lets a recipient be lenient (a bare LF as line end, folded lines, blanks
 * around names, repeated or listed lengths), the request is refused, because a proxy in front of
 * this server may read it otherwise and see other requests than we do (request smuggling).
 *
 * States: START ─▶ VERB ─▶ TARGET ─▶ VERSION ─▶ fields ─▶ HEAD ─▶ body ─▶ START. */
#pragma once
#include "base/buf.h"

struct arena;

enum {
    HTTP_FIELDS_MAX = 64,
    HTTP_TARGET_MAX = 8192,
    HTTP_EXTRA_MAX = 4096 /* chunk extensions and trailers of one request, bytes */
};

enum http_method {
    METHOD_UNKNOWN,
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_PUT,
    METHOD_DELETE,
    METHOD_PATCH,
    METHOD_OPTIONS
};

struct http_span {
    uint32_t at, len; /* in http_head.text */
};
struct http_field {
    struct http_span name, value; /* the value without blanks around it */
};

/* One request without its body. */
struct http_head {
    struct buf text;  /* target, names and values one behind the other */
    size_t bytes_max; /* of names and values together */
    struct http_span target;
    struct http_span
        path; /* of the target, before '?', not decoded; "*" with OPTIONS; empty: "/" */
    struct http_span query; /* behind '?' */
    struct http_span
        host; /* of the target or of Host: [A-Za-z0-9.:_-] and brackets; may be empty */
    struct http_field field[HTTP_FIELDS_MAX];
    uint16_t field_count; /* at most HTTP_FIELDS_MAX */
    uint8_t method;       /* enum http_method */
    uint8_t minor;        /* HTTP/1.minor; 1 until it is known */
    bool keep_alive;      /* by version and Connection (RFC 9112 §9.3) */
    int64_t body_len;     /* -1: chunked, not known yet */
};
void http_head_init(struct http_head *head, size_t bytes_max); /* allocates nothing yet */
void http_head_fini(struct http_head *head);
static inline slice http_span(const struct http_head *head, struct http_span span)
{
    return (slice){ head->text.ptr + span.at, span.len };
}
/* The value of the field of that name, in any case of letters; ptr NULL: there is none. The values
 * of several lines are one list with commas (RFC 9110 §5.3); they are joined in `tmp`. Where only
 * one value is allowed, a request with two lines is refused before. */
slice http_field(const struct http_head *head, const char *name, struct arena *tmp);

slice http_trim(slice text); /* without blanks and tabs around it */

struct http_reader {
    uint64_t left;  /* bytes of the body or of the chunk that are still to come */
    uint32_t extra; /* bytes of chunk extensions and trailers so far */
    uint8_t state;
    uint8_t got; /* bytes of the word so far, at most 18 */
    bool blank;  /* an empty line was skipped before this request */
    bool chunked;
    char word[8];
};
void http_reader_init(struct http_reader *r);

enum http_read {
    HTTP_READ_MORE,  /* all input was taken */
    HTTP_READ_BEGIN, /* a request begins: call again with a fresh head */
    HTTP_READ_HEAD,  /* `head` is filled and its framing is right */
    HTTP_READ_BODY,  /* a piece of the body */
    HTTP_READ_END,   /* of the request */
    HTTP_READ_BAD    /* refuse with `status` and close: nothing behind it can be read */
};
struct http_step {
    size_t used;     /* bytes of the input that were taken; may be 0 */
    slice body;      /* in the input */
    unsigned status; /* of the refusal: 400, 413, 414, 431, 501, 505 */
};
/* Reads up to the next event. `in` is not empty. `head` is needed from BEGIN to HEAD and may be
 * NULL otherwise. HEAD and the last BODY are returned before the last byte of their part is
 * consumed, so a caller that pauses there always has input left to continue with. */
enum http_read http_read(struct http_reader *r, struct http_head *head, slice in,
                         struct http_step *out);
