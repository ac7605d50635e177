#include "codec/http_reply.h"

enum { STATUS_BYTES = 12 /* "HTTP/1.1 200" */ };

static bool reply_digits(slice text, uint64_t max, uint64_t *out)
{
    uint64_t n = 0;
    if (text.len == 0 || text.len > 10)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    *out = n;
    return n <= max;
}

static slice reply_trim(slice text)
{
    while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t'))
        text = slice_from(text, 1);
    while (text.len > 0 && strchr(" \t\r", text.ptr[text.len - 1]) != NULL)
        text.len--;
    return text;
}

/* RFC 9112 §4: three digits. Some servers leave out the space behind them. */
static bool reply_status(slice line, unsigned *status)
{
    uint64_t n;
    char behind = line.len > STATUS_BYTES ? line.ptr[STATUS_BYTES] : ' ';
    if (line.len < STATUS_BYTES || !slice_starts(line, SLICE("HTTP/1.")) || line.ptr[8] != ' ' ||
        !reply_digits((slice){ line.ptr + 9, 3 }, 599, &n) || n < 100 ||
        (behind != ' ' && behind != '\r'))
        return false;
    *status = (unsigned)n;
    return true;
}

/* The length of the body; -1: none is said, -2: it cannot be read. */
static int64_t reply_length(slice fields, size_t body_max)
{
    slice line, name, value;
    uint64_t n;
    int64_t length = -1;
    while (fields.len > 0) {
        slice_cut(fields, '\n', &line, &fields);
        if (!slice_cut(line, ':', &name, &value))
            continue;
        if (slice_eq_nocase(name, SLICE("transfer-encoding")))
            return -2;
        if (!slice_eq_nocase(name, SLICE("content-length")))
            continue;
        if (!reply_digits(reply_trim(value), body_max, &n) || (length >= 0 && length != (int64_t)n))
            return -2;
        length = (int64_t)n;
    }
    return length;
}

/* Bytes up to behind the empty line; 0: it has not come within `max`. */
static size_t reply_head_len(slice all, size_t max)
{
    all.len = all.len < max ? all.len : max;
    for (size_t i = 0; i + 1 < all.len; i++) {
        if (all.ptr[i] != '\n')
            continue;
        if (all.ptr[i + 1] == '\n')
            return i + 2;
        if (i + 2 < all.len && all.ptr[i + 1] == '\r' && all.ptr[i + 2] == '\n')
            return i + 3;
    }
    return 0;
}

/* The length of the final head, behind answers like "100 Continue", which may come first (RFC 9110
 * §15.2) and are cut off; 0: it has not come. All heads share one limit, as each part that comes
 * makes us read them again. */
static size_t reply_final(slice *all, size_t *max)
{
    size_t head;
    unsigned status;
    slice line, rest;
    while ((head = reply_head_len(*all, *max)) > 0) {
        slice_cut((slice){ all->ptr, head }, '\n', &line, &rest);
        if (!reply_status(line, &status) || status >= 200 || status == 101)
            break;
        *all = slice_from(*all, head);
        *max -= head;
    }
    return head;
}

/* RFC 9112 §6.3: such an answer ends with its head, whatever the fields say. */
static bool reply_has_no_body(unsigned status)
{
    return status < 200 || status == 204 || status == 304;
}

enum http_reply_end http_reply_read(struct http_reply *out, slice all, bool ended, size_t body_max)
{
    slice line, fields;
    size_t max = HTTP_REPLY_HEAD_MAX, head = reply_final(&all, &max);
    *out = (struct http_reply){ 0 };
    if (head == 0)
        return ended || all.len >= max ? HTTP_REPLY_BAD : HTTP_REPLY_MORE;
    slice_cut((slice){ all.ptr, head }, '\n', &line, &fields);
    if (!reply_status(line, &out->status))
        return HTTP_REPLY_BAD;
    int64_t length = reply_has_no_body(out->status) ? 0 : reply_length(fields, body_max);
    if (length == -2)
        return HTTP_REPLY_BAD;
    out->body = slice_from(all, head);
    if (length >= 0 && out->body.len >= (size_t)length) {
        out->body.len = (size_t)length;
        return HTTP_REPLY_DONE;
    }
    if (out->body.len > body_max)
        return HTTP_REPLY_BAD;
    if (!ended)
        return HTTP_REPLY_MORE;
    return length < 0 ? HTTP_REPLY_DONE : HTTP_REPLY_BAD;
}

/* Printable ASCII only: nothing that would end the line of the request. */
static bool uri_is_plain(slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] <= ' ' || text.ptr[i] > '~')
            return false;
    return true;
}

static bool uri_port(struct http_uri *out, slice text)
{
    uint64_t n;
    if (text.len == 0)
        return true;
    if (text.ptr[0] != ':' || !reply_digits(slice_from(text, 1), UINT16_MAX, &n) || n == 0)
        return false;
    out->port = (uint16_t)n;
    return true;
}

static bool uri_read(struct http_uri *out, slice uri, slice scheme, uint16_t port)
{
    slice rest, host;
    *out = (struct http_uri){ .port = port };
    if (!slice_starts(uri, scheme) || !uri_is_plain(uri))
        return false;
    rest = slice_from(uri, scheme.len);
    size_t len = 0;
    while (len < rest.len && strchr("/?#", rest.ptr[len]) == NULL)
        len++;
    out->authority = (slice){ rest.ptr, len };
    out->path = slice_from(rest, len);
    if (out->path.len == 0)
        out->path = SLICE("/");
    if (out->path.ptr[0] != '/' || memchr(out->path.ptr, '#', out->path.len) != NULL)
        return false;
    host = out->authority;
    if (host.len > 0 && host.ptr[0] == '[') {
        const char *end = memchr(host.ptr, ']', host.len);
        if (end == NULL)
            return false;
        out->host = (slice){ host.ptr + 1, (size_t)(end - host.ptr) - 1 };
        return out->host.len > 0 && uri_port(out, slice_from(host, out->host.len + 2));
    }
    len = 0;
    while (len < host.len && host.ptr[len] != ':')
        len++;
    out->host = (slice){ host.ptr, len };
    return len > 0 && memchr(host.ptr, '@', len) == NULL && uri_port(out, slice_from(host, len));
}

bool http_uri_read(struct http_uri *out, slice uri)
{
    return uri_read(out, uri, SLICE("http://"), 80);
}

bool https_uri_read(struct http_uri *out, slice uri)
{
    return uri_read(out, uri, SLICE("https://"), 443);
}
