/* Writing: status line, headers and bodies of answers. */
#include "base/ensure.h"
#include "base/latency.h"
#include "http/http_private.h"
#include "http/parse.h"
#include <stdio.h>
#include <time.h>

enum {
    ANSWER_HEAD_MAX = 32768,
    HTTP_ORIGIN_MAX = 512,
    ALLOW_BYTES_MAX = 128,
    REFUSED_TEXT_MAX = 512,
    REFUSED_LINES_MAX = 1024
};

const char *http_status_text(unsigned status)
{
    static const struct {
        unsigned status;
        const char *text;
    } table[] = {
        { 101, "Switching Protocols" },
        { 200, "OK" },
        { 201, "Created" },
        { 202, "Accepted" },
        { 204, "No Content" },
        { 206, "Partial Content" },
        { 301, "Moved Permanently" },
        { 302, "Found" },
        { 303, "See Other" },
        { 304, "Not Modified" },
        { 307, "Temporary Redirect" },
        { 308, "Permanent Redirect" },
        { 400, "Bad Request" },
        { 401, "Unauthorized" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 408, "Request Timeout" },
        { 409, "Conflict" },
        { 410, "Gone" },
        { 411, "Length Required" },
        { 412, "Precondition Failed" },
        { 413, "Content Too Large" },
        { 414, "URI Too Long" },
        { 415, "Unsupported Media Type" },
        { 416, "Range Not Satisfiable" },
        { 417, "Expectation Failed" },
        { 422, "Unprocessable Content" },
        { 426, "Upgrade Required" },
        { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" },
        { 500, "Internal Server Error" },
        { 501, "Not Implemented" },
        { 502, "Bad Gateway" },
        { 503, "Service Unavailable" },
        { 504, "Gateway Timeout" },
        { 505, "HTTP Version Not Supported" },
        { 507, "Insufficient Storage" },
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].status == status)
            return table[i].text;
    return "Status";
}

void http_header_line(struct buf *out, const char *name, slice value)
{
    buf_add(out, slice_of(name));
    buf_lit(out, ": ");
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        buf_append(out, (unsigned char)c < 0x20 || c == 0x7f ? " " : &c, 1);
    }
    buf_lit(out, "\r\n");
}

/* RFC 9110 §5.6.7, once a second. */
static const char *date_now(struct http_local *l)
{
    uint64_t now_s = loop_wall_us(l->loop) / 1000000;
    time_t t = (time_t)now_s;
    struct tm tm;
    if (now_s != l->date_s) {
        strftime(l->date, sizeof l->date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&t, &tm));
        l->date_s = now_s;
    }
    return l->date;
}

bool http_origin_allowed(slice origin)
{
    slice list = slice_of(setting_text(&http_cors_origins)), item;
    if (origin.len > HTTP_ORIGIN_MAX) /* it is repeated in the answer */
        return false;
    while (list.len > 0) {
        slice_cut(list, ',', &item, &list);
        item = http_trim(item);
        if (slice_is(item, "*") || (origin.len > 0 && slice_eq_nocase(item, origin)))
            return true;
    }
    return false;
}

static void cors_lines(const struct exchange *x, struct buf *b)
{
    slice origin = http_header(&x->r, "Origin");
    bool all = slice_is(http_trim(slice_of(setting_text(&http_cors_origins))), "*");
    if (x->r.route == NULL || (x->r.route->flags & HTTP_CORS) == 0) {
        buf_lit(b, "Cross-Origin-Resource-Policy: same-origin\r\n");
        return;
    }
    buf_lit(b, "Cross-Origin-Resource-Policy: cross-origin\r\n");
    if (!all)
        buf_lit(b, "Vary: Origin\r\n");
    if (origin.len == 0 || !http_origin_allowed(origin))
        return;
    http_header_line(b, "Access-Control-Allow-Origin", all ? SLICE("*") : origin);
}

static void safety_lines(const struct exchange *x, const struct http_answer *a, struct buf *b)
{
    int64_t hsts = setting_int(&http_hsts);
    buf_lit(b, "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
               "X-Frame-Options: DENY\r\n");
    buf_printf(b, "Content-Security-Policy: %s\r\nCache-Control: %s\r\n",
               a->policy != NULL ? a->policy : "default-src 'none'; frame-ancestors 'none'",
               a->cache != NULL ? a->cache : "no-store");
    if (x->r.secure && hsts != SETTING_NONE)
        buf_printf(b, "Strict-Transport-Security: max-age=%lld\r\n", (long long)hsts / 1000);
    cors_lines(x, b);
}

static bool has_no_body(unsigned status) { return status < 200 || status == 204 || status == 304; }

static void connection_lines(struct exchange *x, unsigned status, int64_t length, struct buf *b)
{
    struct http_conn *h = x->h;
    bool old = x->head.minor == 0;
    x->chunked = length < 0 && !old;
    if (!x->complete || (length < 0 && old)) /* the rest of the request is not read */
        h->last = true;
    if (!has_no_body(status) && length >= 0)
        buf_printf(b, "Content-Length: %lld\r\n", (long long)length);
    else if (x->chunked)
        buf_lit(b, "Transfer-Encoding: chunked\r\n");
    if (h->last)
        buf_lit(b, "Connection: close\r\n");
    else if (old)
        buf_lit(b, "Connection: keep-alive\r\n");
}

void http_start(struct http_request *r, const struct http_answer *a, int64_t length)
{
    struct exchange *x = CONTAINER_OF(r, struct exchange, r);
    struct buf b;
    ensure(!x->started);
    x->started = true;
    x->owed = length;
    buf_init(&b, ANSWER_HEAD_MAX);
    buf_printf(&b, "HTTP/1.1 %u %s\r\nDate: %s\r\n", a->status, http_status_text(a->status),
               date_now(x->h->local));
    connection_lines(x, a->status, length, &b);
    if (a->type != NULL)
        buf_printf(&b, "Content-Type: %s\r\n", a->type);
    safety_lines(x, a, &b);
    buf_add(&b, a->headers);
    buf_lit(&b, "\r\n");
    ensure(!b.overflow);
    conn_write(x->h->conn, buf_slice(&b));
    buf_fini(&b);
    if (a->status >= 400)
        metric_add(&http_errors, 1);
    log_debug(&log_http, LOG_EV("http.answer"), LOG_I("status", a->status), LOG_S("path", r->path),
              LOG_S("peer", r->peer));
}

void http_send(struct http_request *r, slice piece)
{
    struct exchange *x = CONTAINER_OF(r, struct exchange, r);
    char size[24];
    ensure(x->started && !x->answered);
    if (piece.len == 0)
        return;
    if (x->owed >= 0) {
        ensure((int64_t)piece.len <= x->owed);
        x->owed -= (int64_t)piece.len;
    }
    if (r->head)
        return;
    if (x->chunked) {
        int n = snprintf(size, sizeof size, "%zx\r\n", piece.len);
        conn_write(x->h->conn, (slice){ size, (size_t)n });
    }
    conn_write(x->h->conn, piece);
    if (x->chunked)
        conn_write(x->h->conn, SLICE("\r\n"));
}

size_t http_waiting(const struct http_request *r)
{
    const struct exchange *x = CONTAINER_OF(r, const struct exchange, r);
    return conn_output_bytes(x->h->conn);
}

void http_finish(struct http_request *r)
{
    struct exchange *x = CONTAINER_OF(r, struct exchange, r);
    ensure(x->started && !x->answered && (r->head || x->owed <= 0));
    if (x->chunked && !r->head)
        conn_write(x->h->conn, SLICE("0\r\n\r\n"));
    x->answered = true;
    if (r->route == NULL || (r->route->flags & HTTP_LONG_POLL) == 0)
        latency_observe(LATENCY_HTTP, x->begun_us, loop_now_us(x->h->local->loop));
    if (!x->h->reading)
        http_exchange_done(x->h);
}

void http_break(struct http_request *r)
{
    struct exchange *x = CONTAINER_OF(r, struct exchange, r);
    struct http_conn *h = x->h;
    x->answered = true;
    h->last = true;
    conn_abort(h->conn);
    if (!h->reading)
        http_exchange_done(h);
}

void http_answer(struct http_request *r, const struct http_answer *a)
{
    struct exchange *x = CONTAINER_OF(r, struct exchange, r);
    bool none = has_no_body(a->status);
    http_start(r, a, none ? 0 : (int64_t)a->body.len);
    if (a->constant && !none && !r->head) {
        conn_write_constant(x->h->conn, a->body);
        x->owed = 0;
    } else if (!none) {
        http_send(r, a->body);
    }
    http_finish(r);
}

void http_answer_text(struct http_request *r, unsigned status, slice text)
{
    http_answer(r, &(struct http_answer){
                       .status = status, .type = "text/plain; charset=utf-8", .body = text });
}

static void allow_names(struct buf *names, unsigned methods)
{
    static const struct {
        unsigned bit;
        const char *names;
    } table[] = { { HTTP_M_GET, ", GET, HEAD" },
                  { HTTP_M_POST, ", POST" },
                  { HTTP_M_PUT, ", PUT" },
                  { HTTP_M_DELETE, ", DELETE" },
                  { HTTP_M_PATCH, ", PATCH" } };
    buf_init(names, ALLOW_BYTES_MAX);
    buf_lit(names, "OPTIONS");
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if ((methods & table[i].bit) != 0)
            buf_add(names, slice_of(table[i].names));
}

void http_allow_line(struct buf *out, unsigned methods)
{
    struct buf names;
    allow_names(&names, methods);
    http_header_line(out, "Allow", buf_fit(&names));
    buf_fini(&names);
}

/* OPTIONS, and the preflight of scripts (Fetch §3.2.2). */
static void allow_lines(const struct exchange *x, struct buf *b)
{
    struct buf names;
    allow_names(&names, x->r.route != NULL ? x->r.route->methods : HTTP_M_GET | HTTP_M_POST);
    http_header_line(b, "Allow", buf_fit(&names));
    if (http_header(&x->r, "Access-Control-Request-Method").len > 0 && x->r.route != NULL &&
        (x->r.route->flags & HTTP_CORS) != 0) {
        http_header_line(b, "Access-Control-Allow-Methods", buf_fit(&names));
        buf_lit(b, "Access-Control-Allow-Headers: Authorization, Content-Type, Content-Encoding, "
                   "Cookie, Expires, Range, X-Requested-With\r\n"
                   "Access-Control-Max-Age: 86400\r\n");
    }
    buf_fini(&names);
}

/* After these it is unknown where the next request begins, or no further request is wanted. */
static bool ends_connection(unsigned status)
{
    return status == 400 || status == 408 || status == 414 || status == 429 || status == 431 ||
           status >= 500;
}

/* The detail for a person, and the name of the error for a program. */
static void refusal_reason(const struct exchange *x, unsigned status, struct buf *out,
                           const char **error)
{
    static const struct {
        unsigned status;
        enum err error;
        const char *detail;
    } table[] = {
        { 400, E_SYNTAX, "found a request that is not valid HTTP; allowed: RFC 9112" },
        { 404, E_NOTFOUND, "there is nothing at this path" },
        { 405, E_UNSUPPORTED, "found a method that this path does not have; Allow names them" },
        { 408, E_TIMEOUT, "the request did not come in time; send it again" },
        { 413, E_LIMIT, "found a body that is too long" },
        { 414, E_LIMIT, "found a path with a query that are too long; send a shorter one" },
        { 415, E_UNSUPPORTED, "found a Content-Encoding; send the body without" },
        { 417, E_UNSUPPORTED, "found an Expect that is not 100-continue; send it without" },
        { 429, E_LIMIT, "found too many requests or connections of this address; wait" },
        { 431, E_LIMIT, "found header fields that are too long or too many; send less" },
        { 501, E_UNSUPPORTED, "found a method or a Transfer-Encoding that no path has" },
        { 503, E_AGAIN, "the server has no room for this request now; try again" },
        { 504, E_TIMEOUT,
          "the server stops before there is an answer; what was asked for may still happen, so "
          "look before you do it again" },
        { 505, E_UNSUPPORTED, "found a version of HTTP that is not 1.0 or 1.1" },
    };
    size_t i = 0;
    while (i + 1 < sizeof table / sizeof table[0] && table[i].status != status)
        i++;
    *error = err_name(table[i].error);
    if (status == 400 && x->r.peer.len > 0 && x->path == NULL) /* the head was read */
        buf_lit(out, "found a path with a control character, a backslash, a part . or .., text "
                     "that is not UTF-8, or a wrong %-code; send it without");
    else if (status == 413 && x->r.route != NULL && x->r.route->body_max == 0)
        buf_lit(out, "found a body, and a request with this method and path has none; send it "
                     "without");
    else if (status == 413 && x->r.route != NULL)
        buf_printf(out, "found a body of more than %llu bytes, the most that is allowed here",
                   (unsigned long long)x->r.route->body_max);
    else
        buf_add(out, slice_of(table[i].detail));
}

/* RFC 9457. */
static void refusal_problem(const struct exchange *x, unsigned status, struct buf *out)
{
    const char *error;
    buf_printf(out, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"detail\":\"",
               http_status_text(status), status);
    refusal_reason(x, status, out, &error);
    buf_printf(out, "\",\"error\":\"%s\"}\n", error);
}

/* Where a client expects a problem. A request that is not read so far may be for a path of such
 * a route, if the listener has one. */
static bool refusal_is_problem(const struct exchange *x)
{
    const struct http_head *head = &x->head;
    slice path = { 0 };
    if (x->path != NULL)
        path = x->r.path;
    else if (head->text.len > 0) /* else nothing was read */
        path = http_span(head, head->path.len > 0 ? head->path : head->target);
    return (x->r.route != NULL && (x->r.route->flags & HTTP_PROBLEMS) != 0) ||
           http_route_problems(x->h->local->server, x->h->listener->group, path);
}

void http_refuse(struct http_conn *h, unsigned status)
{
    struct exchange *x = h->x;
    struct http_answer a = { .status = status };
    struct buf text, lines;
    if (x->engaged && x->r.route->gone != NULL)
        x->r.route->gone(&x->r);
    x->engaged = false;
    if (ends_connection(status))
        h->last = true;
    if (x->started) { /* too late to send a status */
        http_break(&x->r);
        return;
    }
    buf_init(&text, REFUSED_TEXT_MAX);
    buf_init(&lines, REFUSED_LINES_MAX);
    if (status != 204 && refusal_is_problem(x)) {
        a.type = "application/problem+json";
        refusal_problem(x, status, &text);
    } else if (status != 204) {
        a.type = "text/plain; charset=utf-8";
        buf_printf(&text, "%u %s\n", status, http_status_text(status));
    }
    if (status == 204 || status == 405)
        allow_lines(x, &lines);
    if (status == 429)
        metric_add(&http_refused, 1);
    if (status == 429 || status == 503)
        buf_lit(&lines, "Retry-After: 1\r\n");
    a.body = buf_fit(&text);
    a.headers = buf_fit(&lines);
    http_answer(&x->r, &a);
    buf_fini(&text);
    buf_fini(&lines);
}

static slice configured_base(slice domain)
{
    return slice_without_end(http_trim(setting_text_of(&http_base, domain)), '/', 0);
}

/* Port of the first listener, https before http; 0: none. */
static _Atomic int public_port;
static _Atomic bool public_tls;

void http_note_port(int port, bool tls)
{
    if (public_port != 0 && (public_tls || !tls))
        return;
    public_port = port;
    public_tls = tls;
}

void http_public_base(slice domain, struct buf *out)
{
    slice base = configured_base(domain);
    int port = public_port;
    bool tls = public_tls;
    if (base.len > 0) {
        buf_add(out, base);
        return;
    }
    buf_printf(out, "%s://%.*s", tls ? "https" : "http", SLICE_ARG(domain));
    if (port != 0 && port != (tls ? 443 : 80))
        buf_printf(out, ":%d", port);
}

void http_base_url(const struct http_request *r, struct buf *out)
{
    slice base = configured_base(http_domain_of(r));
    if (base.len > 0) {
        buf_add(out, base);
        return;
    }
    buf_add(out, r->secure ? SLICE("https://") : SLICE("http://"));
    buf_add(out, r->host.len > 0 ? r->host : SLICE("localhost"));
}
