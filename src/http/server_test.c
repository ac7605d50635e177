#include "base/mem.h"
#include "http/http_private.h"
#include "http/parse.h"
#include "http/server.h"
#include "io/test_bed.h"
#include <arpa/inet.h>

/* A server on loopback, and one client. */
static struct bed {
    struct loop *loop;
    struct http_server *server;
    int fd;
    char got[1 << 20];
    size_t len;
    bool eof;
    const char *await;         /* until this was received */
    struct http_request *held; /* by the routes below */
    unsigned gone, pieces, drained;
    uint64_t bytes, to_send;
    bool holding;
} bed;

static void hello(struct http_request *r)
{
    struct buf b;
    buf_init(&b, 4096);
    buf_printf(&b, "%.*s|%.*s|%.*s|%.*s\n", SLICE_ARG(r->path), SLICE_ARG(r->query),
               SLICE_ARG(r->body), SLICE_ARG(r->host));
    http_answer_text(r, 200, buf_slice(&b));
    buf_fini(&b);
}

static void later(struct http_request *r) { bed.held = r; }
static void later_gone(struct http_request *r)
{
    assert_ptr_equal(r, bed.held);
    bed.held = NULL;
    bed.gone++;
}

static void upload_begin(struct http_request *r)
{
    bed.bytes = bed.pieces = 0;
    if (slice_is(r->query, "no"))
        http_answer_text(r, 403, SLICE("no\n"));
}
static void upload_data(struct http_request *r, slice piece)
{
    bed.bytes += piece.len;
    if (bed.pieces++ == 0 && slice_is(r->query, "hold")) {
        bed.held = r;
        bed.holding = true;
        http_hold(r);
    }
}
static void upload(struct http_request *r)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%llu bytes\n", (unsigned long long)bed.bytes);
    http_answer_text(r, 201, (slice){ text, (size_t)n });
}
static void upload_gone(struct http_request *r)
{
    (void)r;
    bed.gone++;
}

static void download_more(struct http_request *r)
{
    static const char piece[65536];
    bed.drained++;
    while (bed.to_send > 0 && http_waiting(r) < 200000) {
        size_t n = bed.to_send < sizeof piece ? (size_t)bed.to_send : sizeof piece;
        http_send(r, (slice){ piece, n });
        bed.to_send -= n;
    }
    if (bed.to_send == 0)
        http_finish(r);
}
static void download(struct http_request *r)
{
    bool chunked = slice_is(r->query, "chunked");
    bed.to_send = 700000;
    bed.drained = 0;
    http_start(r, &(struct http_answer){ .status = 200, .type = "application/octet-stream" },
               chunked ? -1 : (int64_t)bed.to_send);
    download_more(r);
}

static const struct http_route routes[] = {
    { .path = "/large", .methods = HTTP_M_POST, .body_max = 1 << 20, .handle = hello },
    { .path = "/hello",
      .methods = HTTP_M_GET | HTTP_M_POST,
      .flags = HTTP_CORS,
      .body_max = 100,
      .handle = hello },
    { .path = "/tree/", .methods = HTTP_M_GET, .handle = hello },
    { .path = "/leaf", .methods = HTTP_M_GET, .flags = HTTP_BELOW, .handle = hello },
    { .path = "/later", .methods = HTTP_M_GET, .handle = later, .gone = later_gone },
    { .path = "/up",
      .methods = HTTP_M_PUT,
      .body_max = 1 << 20,
      .begin = upload_begin,
      .data = upload_data,
      .handle = upload,
      .gone = upload_gone },
    { .path = "/down",
      .methods = HTTP_M_GET,
      .handle = download,
      .gone = upload_gone,
      .drained = download_more },
    { .path = "/only", .group = "one", .methods = HTTP_M_GET, .handle = hello },
    { 0 },
};

static void client_connect_from(const struct sockaddr_in *from)
{
    struct sockaddr_in sin = { .sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                               .sin_port =
                                   htons((uint16_t)listener_port(bed.server->listen[0].listener)) };
    bed.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (from != NULL)
        assert_int_equal(bind(bed.fd, (const struct sockaddr *)from, sizeof *from), 0);
    assert_int_equal(connect(bed.fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
    bed.len = 0;
    bed.eof = false;
    bed.got[0] = '\0';
}

static void client_connect(void) { client_connect_from(NULL); }

static int setup(void **state)
{
    struct http_listen listen = { .address = "127.0.0.1:0" };
    struct why why;
    (void)state;
    memset(&bed, 0, sizeof bed);
    for (struct setting *const *s = http_settings; *s != NULL; s++)
        setting_reset(*s);
    bed.loop = loop_create(0);
    assert_int_equal(http_create(&bed.server, &listen, 1, NULL, &why), OK);
    http_add_routes(bed.server, routes);
    http_worker_start(bed.server, bed.loop);
    http_worker_accept(bed.server, bed.loop);
    client_connect();
    return 0;
}

static bool idle(void *arg)
{
    (void)arg;
    return http_worker_idle(bed.server, bed.loop);
}

static int teardown(void **state)
{
    (void)state;
    close(bed.fd);
    http_worker_stop(bed.server, bed.loop);
    bed_run(bed.loop, idle, NULL);
    http_destroy(&bed.server);
    loop_destroy(&bed.loop);
    return 0;
}

static void say(const char *text)
{
    assert_int_equal(send(bed.fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void drain(void)
{
    ssize_t n = 1;
    while (n > 0 && bed.len + 1 < sizeof bed.got) {
        n = recv(bed.fd, bed.got + bed.len, sizeof bed.got - 1 - bed.len, MSG_DONTWAIT);
        if (n > 0)
            bed.len += (size_t)n;
    }
    bed.eof = bed.eof || n == 0;
    bed.got[bed.len] = '\0';
}

static bool received(void *arg)
{
    (void)arg;
    drain();
    return bed.await == NULL ? bed.eof : strstr(bed.got, bed.await) != NULL;
}

/* Runs the server until the client has got that text; NULL: until the end of the connection. */
static void expect(const char *text)
{
    bed.await = text;
    bed_run(bed.loop, received, NULL);
}

static void forget(void)
{
    bed.len = 0;
    bed.got[0] = '\0';
}

static void status_is(const char *status)
{
    if (strncmp(bed.got + 9, status, 3) != 0)
        fail_msg("got %.200s, not %s", bed.got, status);
}

/* Sends a request on a new connection, which the server closes. */
static void refused(const char *request, const char *status)
{
    close(bed.fd);
    client_connect();
    say(request);
    expect(NULL);
    status_is(status);
    assert_non_null(strstr(bed.got, "Connection: close\r\n"));
}

static void answers(void **state)
{
    (void)state;
    say("GET /hello?a=b HTTP/1.1\r\nHost: x:1\r\n\r\n");
    expect("/hello|a=b||x:1\n");
    status_is("200");
    static const char *const headers[] = { "Date: ", "Content-Length: 16\r\n",
                                           "X-Content-Type-Options: nosniff\r\n",
                                           "Content-Security-Policy: default-src 'none'",
                                           "Cache-Control: no-store\r\n" };
    for (unsigned i = 0; i < sizeof headers / sizeof headers[0]; i++)
        assert_non_null(strstr(bed.got, headers[i]));
    assert_null(strstr(bed.got, "Connection:"));
    forget();
    say("HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\nGET /tree/a%20b HTTP/1.1\r\nHost: x\r\n\r\n");
    expect("/tree/a b|||x\n");
    assert_non_null(
        strstr(bed.got, "Content-Length: 11\r\n")); /* of HEAD, whose body is not sent */
    assert_null(strstr(bed.got, "/hello"));
    forget();
    say("GET /leaf HTTP/1.1\r\nHost: x\r\n\r\nGET /leaf/a HTTP/1.1\r\nHost: x\r\n\r\n"
        "GET /leafy HTTP/1.1\r\nHost: x\r\n\r\n");
    expect("/leaf|||x\n");
    expect("/leaf/a|||x\n");
    expect("404 Not Found");
    forget();
    say("GET http://there/hello HTTP/1.1\r\nHost: x\r\n\r\n"); /* RFC 9112 §3.2.2 */
    expect("/hello|||there\n");
}

static void bodies(void **state)
{
    (void)state;
    say("POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab");
    bed_ticks(bed.loop, 5);
    say("cde");
    expect("/hello||abcde|x\n");
    forget();
    say("POST /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n2;ext\r\nde\r\n0\r\nTrailer: 1\r\n\r\nGET /hello HTTP/1.1\r\nHost: y\r\n\r\n");
    expect("|y\n");
    assert_non_null(strstr(bed.got, "/hello||abcde|x\n"));
    forget();
    say("POST /hello HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    expect("100 Continue\r\n\r\n");
    say("ok");
    expect("/hello||ok|x\n");
    forget();
    say("POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n");
    expect(NULL);
    status_is("413");
    refused("POST /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            "65\r\n01234567890123456789012345678901234567890123456789"
            "012345678901234567890123456789012345678901234567890\r\n0\r\n\r\n",
            "413");
}

static void bad_requests(void **state)
{
    static const char *const table[][2] = {
        { "\x16\x03\x01\x02", "400" }, /* a TLS handshake */
        { "FLY / HTTP/1.1\r\n\r\n", "501" },
        { "GET / HTTP/2.0\r\nHost: x\r\n\r\n", "505" },
        { "GET /hello\r\n\r\n", "505" },
        { "GET /hello HTTP/1.1\r\n\r\n", "400" },
        { "GET /hello HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "400" },
        { "GET /hello HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\naUTHorization: b\r\n\r\n", "400" },
        { "GET /hello HTTP/1.1\r\nHost: x\r\nCookie: a=b\r\nCookie: a=b\r\n\r\n", "400" },
        { "GET /hello HTTP/1.1\r\nHost: <x>\r\n\r\n", "400" },
        { "GET /a/../hello HTTP/1.1\r\nHost: x\r\n\r\n", "400" },
        { "GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", "400" },
        { "GET hello HTTP/1.1\r\nHost: x\r\n\r\n", "400" },
        { "GET http:///hello HTTP/1.1\r\nHost: x\r\n\r\n", "400" },
        { "GET http://a@b/hello HTTP/1.1\r\nHost: x\r\n\r\n", "400" },
        { "GET x:443 HTTP/1.1\r\nHost: x\r\n\r\n", "400" },
        { "GET * HTTP/1.1\r\nHost: x\r\n\r\n", "400" },
        { "GET /hello#a HTTP/1.1\r\nHost: x\r\n\r\n", "400" },
        { "GET /hello HTTP/1.1\nHost: x\n\n", "400" },
        { "GET /hello HTTP/1.1\r\nHost: x\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n", "400" },
        { "POST /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
          "3\r\nabcXY0\r\n\r\n",
          "400" },
        { "POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
          "400" },
        { "POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n"
          "\r\n",
          "400" },
        { "POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "400" },
        { "POST /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "501" },
        { "POST /hello HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "400" },
        { "POST /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400" },
        { "POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: more\r\n\r\n", "417" },
        { "GET /hello HTTP/1.1\r\nHost: x\r\n bad: 1\r\nno colon\r\n\r\n", "400" },
    };
    (void)state;
    for (unsigned i = 0; i < sizeof table / sizeof table[0]; i++)
        refused(table[i][0], table[i][1]);
}

static void limits(void **state)
{
    struct buf b;
    struct why why;
    (void)state;
    buf_init(&b, 100000);
    buf_lit(&b, "GET /");
    for (unsigned i = 0; i < HTTP_TARGET_MAX; i++)
        buf_lit(&b, "a");
    buf_append(&b, " HTTP/1.1\r\n\r\n", 14);
    refused(b.ptr, "414");
    buf_clear(&b);
    buf_lit(&b, "GET / HTTP/1.1\r\nHost: x\r\n");
    for (unsigned i = 0; i < HTTP_FIELDS_MAX; i++)
        buf_lit(&b, "a: b\r\n");
    buf_append(&b, "\r\n", 3);
    refused(b.ptr, "431");
    buf_clear(&b);
    buf_lit(&b, "GET / HTTP/1.1\r\nHost: x\r\nA: ");
    for (unsigned i = 0; i < 16384; i++)
        buf_lit(&b, "123456789 ");
    b.len = 32000;
    buf_append(&b, "\r\n\r\n", 5);
    refused(b.ptr, "431");
    buf_fini(&b);
    assert_int_equal(setting_set(&http_request_rate, SLICE("1"), &why), OK);
    refused("GET /hello HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n", "200");
    assert_non_null(strstr(bed.got, "HTTP/1.1 429 "));
    assert_non_null(strstr(bed.got, "Retry-After: "));
    assert_int_equal(setting_set(&http_request_rate, SLICE("none"), &why), OK);
    close(bed.fd);
    bed_run(bed.loop, idle, NULL);
    client_connect();
    assert_int_equal(setting_set(&http_connections_max, SLICE("1"), &why), OK);
    int first = bed.fd;
    say("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    expect("/hello|||x\n");
    client_connect();
    say("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(NULL);
    status_is("429");
    close(first);
}

static bool always(void) { return true; }

static void memory(void **state)
{
    struct why why;
    int slow;
    (void)state;
    assert_int_equal(setting_set(&http_bodies_max, SLICE("1MiB"), &why), OK);
    say("POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n");
    static char most[1048570];
    memset(most, 'x', sizeof most);
    for (size_t sent = 0; sent < sizeof most;) {
        ssize_t n = send(bed.fd, most, sizeof most - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
        bed_ticks(bed.loop, 1);
    }
    bed_ticks(bed.loop, 40);
    slow = bed.fd;
    client_connect();
    say("POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok");
    expect(NULL);
    status_is("503");
    close(bed.fd);
    close(slow);
    bed_run(bed.loop, idle, NULL);
    assert_int_equal(bed.server->gathered, 0);
    client_connect();
    say("POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok");
    expect("/hello||ok|x\n");
    http_set_crowded(bed.server, always);
    refused("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", "503");
}

/* A connection whose request for /large has `len` bytes of its body at the server. */
static int gather(size_t len, const char *source)
{
    static char most[600000];
    struct sockaddr_in from = { .sin_family = AF_INET };
    assert_int_equal(inet_pton(AF_INET, source, &from.sin_addr), 1);
    client_connect_from(&from);
    memset(most, 'x', sizeof most);
    say("POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n");
    for (size_t sent = 0; sent < len;) {
        ssize_t n = send(bed.fd, most, len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
        bed_ticks(bed.loop, 1);
    }
    bed_ticks(bed.loop, 40);
    return bed.fd;
}

static void memory_of_an_address(void **state)
{
    struct why why;
    (void)state;
    assert_int_equal(setting_set(&http_bodies_max, SLICE("2MiB"), &why), OK);
    close(bed.fd);
    int first = gather(600000, "127.0.0.1");
    assert_true(bed.server->gathered > 600000 - 1); /* more than a quarter, but one alone */
    client_connect();
    say("POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok");
    expect(NULL);
    status_is("503");
    close(bed.fd);
    int other = gather(100, "127.0.0.2"); /* is not in its way */
    say("ok");
    bed_ticks(bed.loop, 40);
    assert_false(bed.eof);
    assert_int_equal(bed.len, 0);
    close(first);
    bed_ticks(bed.loop, 40);
    client_connect();
    say("POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok");
    expect("/hello||ok|x\n");
    close(other);
}

static void slow_requests_end(void **state)
{
    struct why why;
    (void)state;
    assert_int_equal(setting_set(&http_request_timeout, SLICE("1s"), &why), OK);
    refused("GET /hel", "408");
    refused("POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nab", "408");
    client_connect(); /* says nothing: nothing is said to it */
    expect(NULL);
    assert_int_equal(bed.len, 0);
}

static void wrong_routes(void **state)
{
    (void)state;
    say("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    expect("404 Not Found\n");
    forget();
    say("PUT /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    expect("405 Method Not Allowed\n");
    assert_non_null(strstr(bed.got, "Allow: OPTIONS, GET, HEAD, POST\r\n"));
    forget();
    say("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n");
    expect("\r\n\r\n");
    status_is("204");
    forget();
    say("OPTIONS /hello HTTP/1.1\r\nHost: x\r\nOrigin: https://a\r\n"
        "Access-Control-Request-Method: POST\r\n\r\n");
    expect("\r\n\r\n");
    status_is("204");
    assert_non_null(strstr(bed.got, "Access-Control-Allow-Origin: *\r\n"));
    assert_non_null(strstr(bed.got, "Access-Control-Allow-Methods: OPTIONS, GET, HEAD, POST\r\n"));
}

static void origins(void **state)
{
    struct why why;
    (void)state;
    assert_int_equal(setting_set(&http_cors_origins, SLICE("https://a, https://b:1"), &why), OK);
    say("GET /hello HTTP/1.1\r\nHost: x\r\nOrigin: https://b:1\r\n\r\n");
    expect("/hello|||x\n");
    assert_non_null(strstr(bed.got, "Access-Control-Allow-Origin: https://b:1\r\n"));
    assert_non_null(strstr(bed.got, "Vary: Origin\r\n"));
    forget();
    say("GET /hello HTTP/1.1\r\nHost: x\r\nOrigin: https://c\r\n\r\n");
    expect("/hello|||x\n");
    assert_null(strstr(bed.got, "Access-Control-Allow-Origin"));
    assert_false(http_origin_allowed((slice){ 0 }));
}

static bool is_held(void *arg)
{
    (void)arg;
    return bed.held != NULL;
}

static bool is_gone(void *arg)
{
    (void)arg;
    return bed.gone > 0;
}

static void answers_later_and_in_order(void **state)
{
    (void)state;
    say("GET /later HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    bed_run(bed.loop, is_held, NULL);
    bed_ticks(bed.loop, 5);
    drain();
    assert_int_equal(bed.len, 0);
    http_answer_text(bed.held, 200, SLICE("now\n"));
    expect("/hello|||x\n");
    assert_non_null(strstr(bed.got, "now\n"));
    bed.held = NULL;
    say("GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    bed_run(bed.loop, is_held, NULL);
    close(bed.fd);
    bed_ticks(bed.loop, 20); /* the end of input alone is no reason to give up */
    http_answer_text(bed.held, 200, SLICE("too late\n"));
    client_connect();
    say("GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    bed.held = NULL;
    bed_run(bed.loop, is_held, NULL);
    struct linger reset = { 1, 0 };
    setsockopt(bed.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(bed.fd);
    bed_run(bed.loop, is_gone, NULL);
    client_connect();
    say("GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    bed_run(bed.loop, is_held, NULL);
    http_worker_stop(bed.server, bed.loop); /* it is told, and the client too */
    expect(NULL);
    status_is("504");
    assert_int_equal(bed.gone, 2);
}

static bool has_bytes(void *arg) { return bed.bytes >= *(uint64_t *)arg; }

static void uploads_in_pieces(void **state)
{
    static char body[300000];
    uint64_t all = sizeof body;
    (void)state;
    memset(body, 'x', sizeof body);
    say("PUT /up?hold HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n");
    size_t sent = 0;
    while (sent < 20000)
        sent += (size_t)send(bed.fd, body, 20000 - sent, MSG_NOSIGNAL);
    bed_run(bed.loop, is_held, NULL);
    uint64_t before = bed.bytes;
    while (sent < 60000)
        sent += (size_t)send(bed.fd, body, 60000 - sent, MSG_NOSIGNAL);
    bed_ticks(bed.loop, 20);
    assert_int_equal(bed.bytes, before); /* nothing while it is held */
    http_release(bed.held);
    while (sent < sizeof body) {
        ssize_t n = send(bed.fd, body, sizeof body - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
        bed_ticks(bed.loop, 1);
    }
    bed_run(bed.loop, has_bytes, &all);
    expect("300000 bytes\n");
    status_is("201");
    assert_true(bed.pieces > 1);
    forget();
    say("PUT /up?no HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n");
    expect(NULL);
    status_is("403"); /* and no 100 */
    client_connect();
    say("PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123");
    bed_ticks(bed.loop, 20);
    close(bed.fd);
    bed_run(bed.loop, is_gone, NULL);
}

static void an_upload_that_stalls_does_not_live_by_what_came(void **state)
{
    static const char body[200000];
    uint64_t all = sizeof body, sent = 0;
    (void)state;
    say("PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n");
    while (sent < all) {
        ssize_t n = send(bed.fd, body, all - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += n > 0 ? (uint64_t)n : 0;
        bed_ticks(bed.loop, 1);
    }
    bed_run(bed.loop, has_bytes, &all);
    const struct http_conn *h =
        CONTAINER_OF(bed.server->local[0].conns.next, struct http_conn, node);
    assert_int_equal(h->phase, PHASE_BODY);
    assert_true(h->since_us > loop_now_us(bed.loop) + 30000000);
    assert_true(h->since_us <= loop_now_us(bed.loop) + HTTP_CREDIT_MS * 1000ull);
}

static bool has_length(void *arg)
{
    drain();
    return bed.len >= *(size_t *)arg;
}

static void downloads_in_pieces(void **state)
{
    size_t all = 700000;
    (void)state;
    say("GET /down HTTP/1.1\r\nHost: x\r\n\r\n");
    bed_run(bed.loop, has_length, &all);
    assert_non_null(strstr(bed.got, "Content-Length: 700000\r\n"));
    assert_true(bed.drained > 1);
    bed_ticks(bed.loop, 10);
    drain();
    forget();
    say("GET /down?chunked HTTP/1.1\r\nHost: x\r\n\r\n");
    bed_run(bed.loop, has_length, &all);
    assert_non_null(strstr(bed.got, "Transfer-Encoding: chunked\r\n"));
    bed_ticks(bed.loop, 10);
    drain();
    assert_memory_equal(bed.got + bed.len - 5, "0\r\n\r\n", 5);
    forget();
    say("HEAD /down HTTP/1.1\r\nHost: x\r\n\r\nGET /down?chunked HTTP/1.0\r\n\r\n");
    expect(NULL);
    assert_null(strstr(bed.got, "chunked"));
    assert_true(bed.len > 700000 && bed.len < 702000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers, setup, teardown),
        cmocka_unit_test_setup_teardown(bodies, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(limits, setup, teardown),
        cmocka_unit_test_setup_teardown(memory, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_of_an_address, setup, teardown),
        cmocka_unit_test_setup_teardown(slow_requests_end, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_routes, setup, teardown),
        cmocka_unit_test_setup_teardown(origins, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_later_and_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(uploads_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(an_upload_that_stalls_does_not_live_by_what_came, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(downloads_in_pieces, setup, teardown),
    };
    for (struct setting *const *s = http_settings; *s != NULL; s++)
        setting_register(*s);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
