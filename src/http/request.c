/* Reading: what the parser tells, and whether the request is one that we answer. */
#include "base/mem.h"
#include "http/http_private.h"
#include "http/parse.h"
#include <arpa/inet.h>
#include <limits.h>

static slice span(const struct exchange *x, struct http_span s)
{
    return (slice){ x->head.ptr + s.at, s.len };
}

slice http_header(const struct http_request *r, const char *name)
{
    const struct exchange *x = CONTAINER_OF(r, const struct exchange, r);
    for (unsigned i = 0; i < x->field_count; i++)
        if (slice_eq_nocase(span(x, x->field[i].name), slice_of(name)))
            return http_trim(span(x, x->field[i].value));
    return (slice){ 0 };
}

/* The bytes that the gathered body has on the heap now. */
static bool count_body(struct exchange *x)
{
    struct http_server *s = x->h->local->server;
    int64_t more = (int64_t)x->body.cap - (int64_t)x->body_counted;
    x->body_counted = x->body.cap;
    bool share = http_address_gather(x->h, more, (int64_t)x->body_counted);
    return atomic_fetch_add(&s->gathered, more) + more <= setting_int(&http_bodies_max) && share;
}

void http_take_body(struct http_request *r, struct buf *out)
{
    struct exchange *x = CONTAINER_OF(r, struct exchange, r);
    *out = x->body;
    x->body = (struct buf){ 0 };
    (void)count_body(x);
    r->body = (slice){ 0 };
}

struct arena *http_scratch(const struct http_request *r) { return loop_scratch(r->loop); }

static void exchange_make(struct http_conn *h)
{
    struct exchange *x = mem_new(struct exchange);
    x->h = h;
    x->r.loop = h->local->loop;
    buf_init(&x->head, HTTP_TARGET_MAX + (size_t)setting_int(&http_header_bytes));
    h->x = x;
}

void exchange_free(struct http_conn *h)
{
    struct exchange *x = h->x;
    if (x == NULL)
        return;
    if (x->engaged && !x->answered && x->r.route->gone != NULL)
        x->r.route->gone(&x->r);
    h->x = NULL;
    buf_fini(&x->head);
    buf_fini(&x->body);
    (void)count_body(x);
    mem_free(&x->path);
    mem_free(&x);
}

static struct http_conn *owner(const http_parser *p) { return p->data; }

/* The parser stops and the request is answered with that. */
static int bad(struct http_conn *h, unsigned status)
{
    h->bad = status;
    return -1;
}

static int on_begin(http_parser *p)
{
    struct http_conn *h = owner(p);
    exchange_make(h);
    http_phase_set(h, PHASE_HEAD);
    if (h->key_len == 0 && !http_address_enter(h))
        return bad(h, 429);
    return 0;
}

static int on_target(http_parser *p, const char *ptr, size_t len)
{
    struct http_conn *h = owner(p);
    struct exchange *x = h->x;
    if (x->target.len + len > HTTP_TARGET_MAX)
        return bad(h, 414);
    buf_append(&x->head, ptr, len);
    x->target.len += (uint32_t)len;
    return 0;
}

static int add(struct http_conn *h, struct http_span *span, const char *ptr, size_t len)
{
    struct exchange *x = h->x;
    if (span->len == 0)
        span->at = (uint32_t)x->head.len;
    buf_append(&x->head, ptr, len);
    span->len += (uint32_t)len;
    size_t fields = x->head.len - x->target.len;
    return x->head.overflow || (int64_t)fields > setting_int(&http_header_bytes) ? bad(h, 431) : 0;
}

static int on_name(http_parser *p, const char *ptr, size_t len)
{
    struct http_conn *h = owner(p);
    struct exchange *x = h->x;
    if (h->phase != PHASE_HEAD) /* trailers of a chunked body are not looked at */
        return 0;
    if (x->in_value || x->field_count == 0) {
        if (x->field_count == HTTP_FIELDS_MAX)
            return bad(h, 431);
        x->field_count++;
        x->in_value = false;
    }
    return add(h, &x->field[x->field_count - 1].name, ptr, len);
}

static int on_value(http_parser *p, const char *ptr, size_t len)
{
    struct http_conn *h = owner(p);
    if (h->phase != PHASE_HEAD)
        return 0;
    h->x->in_value = true;
    return add(h, &h->x->field[h->x->field_count - 1].value, ptr, len);
}

/* What may stand in Host: it gets into links and logs. */
static bool host_valid(slice host)
{
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) &&
            strchr(".-_:[]", c) == NULL)
            return false;
    }
    return host.len <= 255;
}

static unsigned check_host(struct exchange *x, const http_parser *p)
{
    unsigned count = 0;
    for (unsigned i = 0; i < x->field_count; i++)
        count += slice_eq_nocase(span(x, x->field[i].name), SLICE("host"));
    if (count > 1 || (count == 0 && p->http_minor > 0)) /* RFC 9112 §3.2 */
        return 400;
    if (x->r.host.len == 0)
        x->r.host = http_header(&x->r, "Host");
    return host_valid(x->r.host) ? 0 : 400;
}

/* The target in its four forms (RFC 9112 §3.2). */
static unsigned check_target(struct exchange *x, const http_parser *p)
{
    slice target = span(x, x->target), path;
    if (p->method == HTTP_OPTIONS && slice_is(target, "*"))
        return 0;
    for (unsigned i = 0; i < 2; i++) {
        slice scheme = i == 0 ? SLICE("http://") : SLICE("https://");
        if (target.len > scheme.len && slice_eq_nocase((slice){ target.ptr, scheme.len }, scheme)) {
            target = slice_from(target, scheme.len);
            const char *slash = memchr(target.ptr, '/', target.len);
            x->r.host =
                (slice){ target.ptr, slash == NULL ? target.len : (size_t)(slash - target.ptr) };
            target = slash == NULL ? SLICE("/") : slice_from(target, x->r.host.len);
        }
    }
    slice_cut(target, '?', &path, &x->r.query);
    if (memchr(target.ptr, '#', target.len) != NULL ||
        http_path_decode(path, http_scratch(&x->r), &path) != OK)
        return 400;
    x->path = mem_alloc(path.len + 1);
    memcpy(x->path, path.ptr, path.len + 1);
    x->r.path = (slice){ x->path, path.len };
    return 0;
}

/* RFC 9112 §5.1: no blank before the colon. The parser lets it pass, and frames the body by it. */
static bool names_valid(const struct exchange *x)
{
    for (unsigned i = 0; i < x->field_count; i++) {
        slice name = span(x, x->field[i].name);
        if (name.len == 0 || memchr(name.ptr, ' ', name.len) != NULL)
            return false;
    }
    return true;
}

/* How the body ends is what the parser goes by, whatever was written how often. */
static unsigned check_body(struct exchange *x, const http_parser *p)
{
    slice coding = http_header(&x->r, "Transfer-Encoding");
    slice expect = http_header(&x->r, "Expect");
    bool coded = p->uses_transfer_encoding != 0 || (p->flags & F_CHUNKED) != 0;
    x->r.body_len = coded                               ? -1
                    : p->content_length == ULLONG_MAX   ? 0
                    : p->content_length > (1ull << 62u) ? INT64_MAX
                                                        : (int64_t)p->content_length;
    if (!names_valid(x) || (coded && p->http_minor == 0)) /* RFC 9112 §6.1 */
        return 400;
    if (coded && !slice_eq_nocase(coding, SLICE("chunked")))
        return 501;
    if (expect.len > 0 && !slice_eq_nocase(expect, SLICE("100-continue")))
        return 417;
    return 0;
}

/* The last field of that name: a proxy appends its own behind what the client made up. */
static slice last_header(const struct exchange *x, slice name)
{
    for (unsigned i = x->field_count; i-- > 0;)
        if (slice_eq_nocase(span(x, x->field[i].name), name))
            return http_trim(span(x, x->field[i].value));
    return (slice){ 0 };
}

/* From a proxy that the operator trusts: who asks, and whether over TLS. */
static void forwarded(struct exchange *x)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char address[16];
    slice list = last_header(x, SLICE("X-Forwarded-For")), last = { 0 };
    while (list.len > 0)
        slice_cut(list, ',', &last, &list);
    last = http_trim(last);
    if (last.len > 0 && last.len < sizeof text) {
        memcpy(text, last.ptr, last.len);
        text[last.len] = '\0';
        if (inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1)
            x->r.peer = last;
    }
    if (slice_eq_nocase(last_header(x, SLICE("X-Forwarded-Proto")), SLICE("https")))
        x->r.secure = true;
}

static enum http_verb method_of(const http_parser *p)
{
    switch (p->method) {
    case HTTP_GET:
    case HTTP_HEAD:
        return HTTP_M_GET;
    case HTTP_POST:
        return HTTP_M_POST;
    case HTTP_PUT:
        return HTTP_M_PUT;
    case HTTP_DELETE:
        return HTTP_M_DELETE;
    case HTTP_PATCH:
        return HTTP_M_PATCH;
    default:
        return 0;
    }
}

static unsigned check_route(struct http_conn *h, const http_parser *p)
{
    struct exchange *x = h->x;
    slice coding = http_header(&x->r, "Content-Encoding");
    if (x->path == NULL) /* OPTIONS * */
        return 204;
    x->r.route = http_route_find(h->local->server, h->listener->group, x->r.path);
    if (x->r.route == NULL)
        return 404;
    if (p->method == HTTP_OPTIONS)
        return 204;
    if ((x->r.route->methods & x->r.method) == 0)
        return 405;
    if (h->local->server->crowded != NULL && (x->r.route->flags & HTTP_WHEN_CROWDED) == 0 &&
        h->local->server->crowded())
        return 503;
    if (x->r.body_len > 0 && (uint64_t)x->r.body_len > x->r.route->body_max)
        return 413;
    if (x->r.route->data == NULL && coding.len > 0 && !slice_eq_nocase(coding, SLICE("identity")))
        return 415;
    return 0;
}

/* The status of a request that no route gets; 0: it is fine. */
static unsigned check(struct http_conn *h, const http_parser *p)
{
    struct exchange *x = h->x;
    const char *peer = conn_info(h->conn)->peer_text;
    unsigned status = 0;
    if (p->http_major != 1 || p->http_minor > 1)
        return 505;
    x->r.method = method_of(p);
    x->r.head = p->method == HTTP_HEAD;
    x->r.secure = conn_is_secure(h->conn);
    x->r.peer = slice_of(peer);
    if (http_has_token(slice_of(setting_text(&http_trusted_proxies)), peer))
        forwarded(x);
    status = check_body(x, p);
    if (status == 0)
        status = check_target(x, p);
    if (status == 0)
        status = check_host(x, p);
    if (status == 0 && !http_address_request(h, loop_now_us(h->local->loop)))
        status = 429;
    return status != 0 ? status : check_route(h, p);
}

static int on_head(http_parser *p)
{
    struct http_conn *h = owner(p);
    struct exchange *x = h->x;
    unsigned status;
    metric_add(&http_requests, 1);
    h->last = h->last || http_should_keep_alive(p) == 0 ||
              h->served + 1 >= setting_int(&http_requests_max);
    p->upgrade = 0; /* a handler asks for it with http_upgrade(), or it is a request as any other */
    status = check(h, p);
    http_phase_set(h, PHASE_BODY);
    x->complete = x->r.body_len == 0; /* what an answer needs to know already */
    if (status != 0) {
        h->bad = status;
        http_parser_pause(p, 1);
        return 0;
    }
    if (x->r.route->data == NULL)
        buf_init(&x->body, (size_t)x->r.route->body_max + 1);
    if (x->r.route->begin != NULL) {
        x->engaged = true;
        x->r.route->begin(&x->r);
    }
    if (x->answered || x->held)
        http_parser_pause(p, 1);
    if (!x->answered && !x->complete && http_header(&x->r, "Expect").len > 0 && p->http_minor > 0)
        conn_write(h->conn, SLICE("HTTP/1.1 100 Continue\r\n\r\n"));
    return 0;
}

static int on_body(http_parser *p, const char *ptr, size_t len)
{
    struct http_conn *h = owner(p);
    struct exchange *x = h->x;
    if (x == NULL) /* of a request that was answered: nobody's */
        return bad(h, 400);
    const struct http_route *route = x->r.route;
    x->body_seen += len;
    http_body_credit(h, len);
    if (x->body_seen > route->body_max)
        return bad(h, 413);
    if (route->data != NULL)
        route->data(&x->r, (slice){ ptr, len });
    else
        buf_append(&x->body, ptr, len);
    if (!count_body(x))
        return bad(h, 503);
    if (x->answered || x->held)
        http_parser_pause(p, 1);
    return 0;
}

static int on_complete(http_parser *p)
{
    struct http_conn *h = owner(p);
    if (h->x == NULL || h->x->answered) /* the end of one that is answered already */
        return 0;
    h->x->complete = true;
    http_phase_set(h, PHASE_WORK);
    http_parser_pause(p, 1);
    return 0;
}

const http_parser_settings http_parser_calls = {
    .on_message_begin = on_begin,
    .on_url = on_target,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_complete,
};
