/* Reading: decides whether a request is accepted, and gathers its body. */
#include "base/ensure.h"
#include "base/mem.h"
#include "http/http_private.h"
#include "http/parse.h"

struct arena *http_scratch(const struct http_request *r) { return loop_scratch(r->loop); }

slice http_header(const struct http_request *r, const char *name)
{
    return http_field(&CONTAINER_OF(r, const struct exchange, r)->head, name, http_scratch(r));
}

/* Counts the bytes of the gathered body on the heap. */
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

void exchange_make(struct http_conn *h)
{
    struct exchange *x = mem_new(struct exchange);
    ensure(h->x == NULL);
    x->h = h;
    x->begun_us = loop_now_us(h->local->loop);
    x->r.loop = h->local->loop;
    x->r.secure = conn_is_secure(h->conn); /* also for the answer to what is no request */
    http_head_init(&x->head, (size_t)setting_int(&http_header_bytes));
    h->x = x;
}

void exchange_free(struct http_conn *h)
{
    struct exchange *x = h->x;
    if (x == NULL)
        return;
    ensure(x->h == h);
    if (x->engaged && !x->answered && x->r.route->gone != NULL)
        x->r.route->gone(&x->r);
    h->x = NULL;
    http_head_fini(&x->head);
    buf_fini(&x->body);
    (void)count_body(x);
    mem_free(&x->path);
    mem_free(&x);
}

static unsigned check_target(struct exchange *x)
{
    slice path = http_span(&x->head, x->head.path);
    x->r.host = http_span(&x->head, x->head.host);
    x->r.query = http_span(&x->head, x->head.query);
    if (slice_is(path, "*"))
        return 0;
    if (http_path_decode(path.len > 0 ? path : SLICE("/"), http_scratch(&x->r), &path) != OK)
        return 400;
    x->path = mem_alloc(path.len + 1);
    memcpy(x->path, path.ptr, path.len + 1);
    x->r.path = (slice){ x->path, path.len };
    x->r.raw = http_span(&x->head, x->head.path);
    return 0;
}

/* RFC 9110 §10.1.1 */
static unsigned check_expect(const struct exchange *x)
{
    slice expect = http_header(&x->r, "Expect");
    return expect.len > 0 && !slice_eq_nocase(expect, SLICE("100-continue")) ? 417 : 0;
}

static enum http_verb request_verb_of(enum http_method method)
{
    switch (method) {
    case METHOD_GET:
    case METHOD_HEAD:
        return HTTP_M_GET;
    case METHOD_POST:
        return HTTP_M_POST;
    case METHOD_PUT:
        return HTTP_M_PUT;
    case METHOD_DELETE:
        return HTTP_M_DELETE;
    case METHOD_PATCH:
        return HTTP_M_PATCH;
    case METHOD_OPTIONS:
        return HTTP_M_OPTIONS;
    default:
        return 0;
    }
}

static unsigned check_route(struct http_conn *h)
{
    struct exchange *x = h->x;
    slice coding = http_header(&x->r, "Content-Encoding");
    if (x->path == NULL) /* OPTIONS * */
        return 204;
    x->r.route = http_route_find(h->local->server, h->listener->group, x->r.path);
    if (x->r.route == NULL)
        return 404;
    if (x->r.method == HTTP_M_OPTIONS && (x->r.route->methods & HTTP_M_OPTIONS) == 0)
        return 204;
    if ((x->r.route->methods & x->r.method) == 0)
        return 405;
    if (h->local->server->crowded != NULL && h->local->server->crowded() &&
        (x->r.route->flags & HTTP_WHEN_CROWDED) == 0)
        return 503;
    if (x->r.body_len > 0 && (uint64_t)x->r.body_len > x->r.route->body_max)
        return 413;
    if (x->r.route->data == NULL && coding.len > 0 && !slice_eq_nocase(coding, SLICE("identity")))
        return 415;
    return 0;
}

/* The status of a request that is refused before it reaches a route; 0: it is accepted. */
static unsigned request_check(struct http_conn *h)
{
    struct exchange *x = h->x;
    unsigned status = 0;
    x->r.method = request_verb_of(x->head.method);
    x->r.head = x->head.method == METHOD_HEAD;
    x->r.body_len = x->head.body_len;
    x->conn_peer = conn_info_text(conn_info(h->conn));
    x->r.peer = slice_of(x->conn_peer.text);
    http_proxy_apply(x, x->conn_peer.text);
    status = check_expect(x);
    if (status == 0)
        status = check_target(x);
    if (status == 0 && !http_address_request(h, loop_now_us(h->local->loop)))
        status = 429;
    if (status == 0)
        return check_route(h);
    /* how it is said */
    x->r.route =
        http_route_find(h->local->server, h->listener->group, http_span(&x->head, x->head.path));
    return status;
}

unsigned http_on_head(struct http_conn *h)
{
    struct exchange *x = h->x;
    unsigned status;
    metric_add(&http_requests, 1);
    h->last = h->last || !x->head.keep_alive || h->served + 1 >= setting_int(&http_requests_max);
    status = request_check(h);
    http_phase_set(h, PHASE_BODY);
    x->complete = x->r.body_len == 0; /* what an answer needs to know already */
    if (status != 0)
        return status;
    if (x->r.route->data == NULL)
        buf_init(&x->body, (size_t)x->r.route->body_max + 1);
    if (x->r.route->begin != NULL) {
        x->engaged = true;
        x->r.route->begin(&x->r);
    }
    /* RFC 9110 §10.1.1: an HTTP/1.0 client does not expect it. */
    if (!x->answered && !x->complete && http_header(&x->r, "Expect").len > 0 && x->head.minor > 0)
        conn_write(h->conn, SLICE("HTTP/1.1 100 Continue\r\n\r\n"));
    return 0;
}

unsigned http_on_body(struct http_conn *h, slice piece)
{
    struct exchange *x = h->x;
    const struct http_route *route = x->r.route;
    x->body_seen += piece.len;
    http_body_credit(h, piece.len);
    if (x->body_seen > route->body_max)
        return 413;
    if (route->data != NULL)
        route->data(&x->r, piece);
    else
        buf_add(&x->body, piece);
    return count_body(x) ? 0 : 503;
}
