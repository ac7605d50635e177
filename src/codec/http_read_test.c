/* A table of requests, good and bad; each is read at once, byte by byte, and in halves. */
#include "base/arena.h"
#include "codec/http_read.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

/* The requests that the reader accepted, as text: "GET /a 1.1 close [a: b] {body}" for each
 * request, then the status of a refusal, or "..." for a request that is not complete. */
struct reading {
    struct http_reader reader;
    struct http_head head;
    struct buf log;
    bool open;
    bool over;
};

static void on_head(struct reading *r)
{
    static const char *const methods[] = { "?",   "GET",    "HEAD",  "POST",
                                           "PUT", "DELETE", "PATCH", "OPTIONS" };
    slice target = http_span(&r->head, r->head.target);
    buf_printf(&r->log, "%s %.*s 1.%u%s", methods[r->head.method], SLICE_ARG(target), r->head.minor,
               r->head.keep_alive ? "" : " close");
    for (unsigned i = 0; i < r->head.field_count; i++) {
        slice name = http_span(&r->head, r->head.field[i].name);
        slice value = http_span(&r->head, r->head.field[i].value);
        if (!slice_eq_nocase(name, SLICE("host")))
            buf_printf(&r->log, " [%.*s: %.*s]", SLICE_ARG(name), SLICE_ARG(value));
    }
    if (r->head.body_len != 0)
        buf_lit(&r->log, " {");
}

static void feed(struct reading *r, slice in)
{
    struct http_step step;
    while (in.len > 0 && !r->over) {
        enum http_read event = http_read(&r->reader, r->open ? &r->head : NULL, in, &step);
        assert_true(step.used <= in.len);
        in = slice_from(in, step.used);
        if (event == HTTP_READ_BEGIN) {
            http_head_init(&r->head, 1000);
            r->open = true;
        } else if (event == HTTP_READ_HEAD) {
            on_head(r);
        } else if (event == HTTP_READ_BODY) {
            buf_add(&r->log, step.body);
        } else if (event == HTTP_READ_END) {
            buf_printf(&r->log, "%s\n", r->head.body_len != 0 ? "}" : "");
            http_head_fini(&r->head);
            r->open = false;
        } else if (event == HTTP_READ_BAD) {
            buf_printf(&r->log, "%u", step.status);
            r->over = true;
        }
    }
}

/* `step` bytes at a time; an exact copy of each piece, so that a read beyond it is seen. */
static char *read_text(slice text, size_t step)
{
    struct reading r = { 0 };
    http_reader_init(&r.reader);
    buf_init(&r.log, 1 << 20);
    for (size_t at = 0; at < text.len; at += step) {
        size_t n = text.len - at < step ? text.len - at : step;
        char *piece = test_malloc(n);
        memcpy(piece, text.ptr + at, n);
        feed(&r, (slice){ piece, n });
        test_free(piece);
    }
    if (!r.over && r.open)
        buf_lit(&r.log, "...");
    if (r.open)
        http_head_fini(&r.head);
    buf_append(&r.log, "", 1);
    return r.log.ptr;
}

static void is_read(slice text, const char *as)
{
    const size_t steps[] = { text.len, 1, text.len / 2 + 1, 3 };
    for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        char *log = read_text(text, steps[i]);
        if (strcmp(log, as) != 0)
            fail_msg("%.*s\n%zu bytes at a time is read as\n%s\nnot as\n%s", SLICE_ARG(text),
                     steps[i], log, as);
        free(log);
    }
}

struct row {
    slice text;
    const char *as;
};
#define H       "Host: x\r\n"
#define GET     "GET / HTTP/1.1\r\n" H
#define POST    "POST / HTTP/1.1\r\n" H
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

static void table(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        is_read(rows[i].text, rows[i].as);
}
#define TABLE(rows) table(rows, sizeof(rows) / sizeof(rows)[0])

static void request_lines(void **state)
{
    static const struct row rows[] = {
        { SLICE_INIT(GET "\r\n"), "GET / 1.1\n" },
        { SLICE_INIT("\r\n" GET "\r\n"), "GET / 1.1\n" }, /* §2.2 */
        { SLICE_INIT("\r\n\r\n" GET "\r\n"), "400" },
        { SLICE_INIT("\n" GET "\r\n"), "400" },
        { SLICE_INIT(" " GET "\r\n"), "400" },
        { SLICE_INIT("HEAD /a?b=c&d=%20 HTTP/1.1\r\n" H "\r\n"), "HEAD /a?b=c&d=%20 1.1\n" },
        { SLICE_INIT("OPTIONS * HTTP/1.1\r\n" H "\r\n"), "OPTIONS * 1.1\n" },
        { SLICE_INIT("GET http://y/z HTTP/1.1\r\n" H "\r\n"), "GET http://y/z 1.1\n" },
        { SLICE_INIT("GET HTTPS://y HTTP/1.1\r\n" H "\r\n"), "GET HTTPS://y 1.1\n" },
        { SLICE_INIT("GET http:///z HTTP/1.1\r\n" H "\r\n"), "400" }, /* RFC 9110 §4.2.1 */
        { SLICE_INIT("GET http:y/z HTTP/1.1\r\n" H "\r\n"), "400" },
        { SLICE_INIT("GET http://a@y/z HTTP/1.1\r\n" H "\r\n"), "400" },
        { SLICE_INIT("GET ftp://y/z HTTP/1.1\r\n" H "\r\n"), "400" },
        { SLICE_INIT("GET x:443 HTTP/1.1\r\n" H "\r\n"), "400" },
        { SLICE_INIT("GET * HTTP/1.1\r\n" H "\r\n"), "400" },
        { SLICE_INIT("GET /a#b HTTP/1.1\r\n" H "\r\n"), "400" },
        { SLICE_INIT("GET z HTTP/1.1\r\n" H "\r\n"), "400" },
        { SLICE_INIT("PUT / HTTP/1.0\r\n\r\n"), "PUT / 1.0 close\n" },
        { SLICE_INIT("DELETE / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
          "DELETE / 1.0 [Connection: keep-alive]\n" },
        { SLICE_INIT("PATCH / HTTP/1.1\r\n" H "Connection: a, Close\r\n\r\n"),
          "PATCH / 1.1 close [Connection: a, Close]\n" },
        { SLICE_INIT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "505" }, /* the preface of HTTP/2 */
        { SLICE_INIT("GET / HTTP/1.2\r\n" H "\r\n"), "505" },
        { SLICE_INIT("GET / HTTP/0.9\r\n" H "\r\n"), "505" },
        { SLICE_INIT("GET / HTTP/11.1\r\n" H "\r\n"), "400" },
        { SLICE_INIT("GET / http/1.1\r\n" H "\r\n"), "400" },
        { SLICE_INIT("GET /\r\n"), "505" }, /* HTTP/0.9 */
        { SLICE_INIT("GET  / HTTP/1.1\r\n" H "\r\n"), "400" },
        { SLICE_INIT("GET /  HTTP/1.1\r\n" H "\r\n"), "400" },
        { SLICE_INIT("GET / HTTP/1.1 \r\n" H "\r\n"), "400" },
        { SLICE_INIT("GET\t/ HTTP/1.1\r\n" H "\r\n"), "400" },
        { SLICE_INIT("GET /a\tb HTTP/1.1\r\n" H "\r\n"), "400" },
        { SLICE_INIT("GET /\0 HTTP/1.1\r\n" H "\r\n"), "400" },
        { SLICE_INIT("GET /\xC3\xA4 HTTP/1.1\r\n" H "\r\n"), "400" },
        { SLICE_INIT("GET / HTTP/1.1\n" H "\r\n"), "400" },
        { SLICE_INIT("GET / HTTP/1.1\r" H "\r\n"), "400" },
        { SLICE_INIT("get / HTTP/1.1\r\n" H "\r\n"), "501" },
        { SLICE_INIT("CONNECT x:443 HTTP/1.1\r\n" H "\r\n"), "501" },
        { SLICE_INIT("PROPPATCHES / HTTP/1.1\r\n" H "\r\n"), "501" },
        { SLICE_INIT("\x16\x03\x01\x02"), "400" }, /* a TLS handshake */
        { SLICE_INIT("<?xml version='1.0'?>"), "400" },
        { SLICE_INIT("GET /a"), "..." },
    };
    (void)state;
    TABLE(rows);
}

static void targets(void **state)
{
    static const struct {
        const char *target, *path, *query, *host;
    } rows[] = {
        { "/a/b?c=d?e", "/a/b", "c=d?e", "x" },
        { "/?", "/", "", "x" },
        { "http://y:1/a?b", "/a", "b", "y:1" },
        { "https://[::1]", "", "", "[::1]" },
    };
    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct http_reader r;
        struct http_head head;
        struct http_step step;
        char text[100];
        int n = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n" H "\r\n", rows[i].target);
        http_reader_init(&r);
        http_head_init(&head, 100);
        assert_int_equal(http_read(&r, NULL, (slice){ text, (size_t)n }, &step), HTTP_READ_BEGIN);
        assert_int_equal(http_read(&r, &head, (slice){ text, (size_t)n }, &step), HTTP_READ_HEAD);
        assert_true(slice_is(http_span(&head, head.path), rows[i].path));
        assert_true(slice_is(http_span(&head, head.query), rows[i].query));
        assert_true(slice_is(http_span(&head, head.host), rows[i].host));
        http_head_fini(&head);
    }
}

/* RFC 9110 §5.3 */
static void lines_of_one_name_are_one_list(void **state)
{
    static const char text[] = GET "A: b\r\nC: d\r\na: e, f\r\nG:\r\nA: h\r\n\r\n";
    struct arena *tmp = arena_create(0);
    struct http_reader r;
    struct http_head head;
    struct http_step step;
    (void)state;
    http_reader_init(&r);
    http_head_init(&head, 100);
    assert_int_equal(http_read(&r, NULL, (slice){ text, sizeof text - 1 }, &step), HTTP_READ_BEGIN);
    assert_int_equal(http_read(&r, &head, (slice){ text, sizeof text - 1 }, &step), HTTP_READ_HEAD);
    assert_true(slice_is(http_field(&head, "A", tmp), "b, e, f, h"));
    assert_true(slice_is(http_field(&head, "c", tmp), "d"));
    assert_true(slice_is(http_field(&head, "g", tmp), "") &&
                http_field(&head, "g", tmp).ptr != NULL);
    assert_null(http_field(&head, "h", tmp).ptr);
    http_head_fini(&head);
    arena_destroy(&tmp);
}

static void fields(void **state)
{
    static const struct row rows[] = {
        { SLICE_INIT(GET "A:b\r\nc-D: \t e f \t\r\ng:\r\nh: \xC3\xA4\r\n\r\n"),
          "GET / 1.1 [A: b] [c-D: e f] [g: ] [h: \xC3\xA4]\n" },
        { SLICE_INIT(GET "A : b\r\n\r\n"), "400" }, /* §5.1 */
        { SLICE_INIT(GET "Transfer-Encoding : chunked\r\n\r\n"), "400" },
        { SLICE_INIT(GET " A: b\r\n\r\n"), "400" },
        { SLICE_INIT(GET "A: b\r\n c\r\n\r\n"), "400" }, /* obs-fold, §5.2 */
        { SLICE_INIT(GET "A: b\r\n\tc\r\n\r\n"), "400" },
        { SLICE_INIT("GET / HTTP/1.1\r\n Host: x\r\n\r\n"), "400" }, /* §2.2 */
        { SLICE_INIT(GET "A: b\nC: d\r\n\r\n"), "400" },             /* bare LF, §2.2 */
        { SLICE_INIT(GET "A: b\r\n\n"), "400" },
        { SLICE_INIT(GET "A: b\rC: d\r\n\r\n"), "400" }, /* bare CR */
        { SLICE_INIT(GET "A: b\r\r\n\r\n"), "400" },
        { SLICE_INIT(GET "A: b\r\n\rX"), "400" },
        { SLICE_INIT(GET "A: b\0c\r\n\r\n"), "400" },
        { SLICE_INIT(GET "A: b\x7f\r\n\r\n"), "400" },
        { SLICE_INIT(GET "A\0: b\r\n\r\n"), "400" },
        { SLICE_INIT(GET "A(b: c\r\n\r\n"), "400" },
        { SLICE_INIT(GET "\xC3\xA4: c\r\n\r\n"), "400" },
        { SLICE_INIT(GET ": c\r\n\r\n"), "400" },
        { SLICE_INIT(GET "no colon\r\n\r\n"), "400" },
        { SLICE_INIT(GET H "\r\n"), "400" }, /* two, §3.2 */
        { SLICE_INIT(GET "HOST: y\r\n\r\n"), "400" },
        { SLICE_INIT("GET / HTTP/1.1\r\nA: b\r\n\r\n"), "400" },
        { SLICE_INIT("GET / HTTP/1.0\r\n" H H "\r\n"), "400" },
        { SLICE_INIT(GET "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\r\n\x81\x80"),
          "GET / 1.1 [Upgrade: websocket] [Connection: keep-alive, Upgrade]\n400" },
        { SLICE_INIT(GET "Expect: 100-continue\r\n\r\n"), "GET / 1.1 [Expect: 100-continue]\n" },
    };
    (void)state;
    TABLE(rows);
}

static void lengths(void **state)
{
    static const struct row rows[] = {
        { SLICE_INIT(POST "Content-Length: 3\r\n\r\nabc" GET "\r\n"),
          "POST / 1.1 [Content-Length: 3] {abc}\nGET / 1.1\n" },
        { SLICE_INIT(POST "Content-Length: 0\r\n\r\n" GET "\r\n"),
          "POST / 1.1 [Content-Length: 0]\nGET / 1.1\n" },
        { SLICE_INIT(POST "Content-Length: 003 \r\n\r\nabc"),
          "POST / 1.1 [Content-Length: 003] {abc}\n" },
        { SLICE_INIT(POST "Content-Length: 4\r\n\r\nabc"),
          "POST / 1.1 [Content-Length: 4] {abc..." },
        { SLICE_INIT(POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"), "400" },
        { SLICE_INIT(POST "Content-Length: 3\r\ncontent-length: 4\r\n\r\nabc"), "400" },
        { SLICE_INIT(POST "Content-Length: 3, 3\r\n\r\nabc"), "400" },
        { SLICE_INIT(POST "Content-Length: +3\r\n\r\nabc"), "400" },
        { SLICE_INIT(POST "Content-Length: -3\r\n\r\nabc"), "400" },
        { SLICE_INIT(POST "Content-Length: 0x3\r\n\r\nabc"), "400" },
        { SLICE_INIT(POST "Content-Length: 3 3\r\n\r\nabc"), "400" },
        { SLICE_INIT(POST "Content-Length: 3.0\r\n\r\nabc"), "400" },
        { SLICE_INIT(POST "Content-Length:\r\n\r\nabc"), "400" },
        { SLICE_INIT(POST "Content-Length: 999999999999999999\r\n\r\n"),
          "POST / 1.1 [Content-Length: 999999999999999999] {..." },
        { SLICE_INIT(POST "Content-Length: 18446744073709551617\r\n\r\n"), "413" },
        { SLICE_INIT(POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"), "400" },
        { SLICE_INIT(POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"), "400" },
        { SLICE_INIT(POST "Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\n"), "400" },
        { SLICE_INIT(POST "Transfer-Encoding: gzip, chunked\r\n\r\n"), "501" },
        { SLICE_INIT(POST "Transfer-Encoding: chunked, chunked\r\n\r\n"), "501" },
        { SLICE_INIT(POST "Transfer-Encoding: chunked, identity\r\n\r\n"), "501" },
        { SLICE_INIT(POST "Transfer-Encoding: xchunked\r\n\r\n"), "501" },
        { SLICE_INIT(POST "Transfer-Encoding: \"chunked\"\r\n\r\n"), "501" },
        { SLICE_INIT(POST "Transfer-Encoding:\r\n\r\n"), "501" },
        { SLICE_INIT(POST "Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n\r\n"), "501" },
        { SLICE_INIT(POST "Transfer-Encoding: x\nTransfer-Encoding: chunked\r\n\r\n"), "400" },
        { SLICE_INIT("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), "400" }, /* §6.1 */
    };
    (void)state;
    TABLE(rows);
}

#define AS "POST / 1.1 [Transfer-Encoding: chunked] {"
static void chunks(void **state)
{
    static const struct row rows[] = {
        { SLICE_INIT(CHUNKED "3\r\nabc\r\n0\r\n\r\n" GET "\r\n"), AS "abc}\nGET / 1.1\n" },
        { SLICE_INIT(CHUNKED "0a\r\n0123456789\r\n1\r\nx\r\n000\r\nA: b\r\nc:\r\n\r\n"),
          AS "0123456789x}\n" },
        { SLICE_INIT(CHUNKED "3;a\r\nabc\r\n0;b=c;d\r\n\r\n"), AS "abc}\n" },
        { SLICE_INIT(CHUNKED "3 \r\nabc\r\n"), AS "400" },
        { SLICE_INIT(CHUNKED " 3\r\nabc\r\n"), AS "400" },
        { SLICE_INIT(CHUNKED "3 ;a\r\nabc\r\n"), AS "400" },
        { SLICE_INIT(CHUNKED "3;\r\nabc\r\n"), AS "400" },
        { SLICE_INIT(CHUNKED "3;a=\r\nabc\r\n"), AS "400" },
        { SLICE_INIT(CHUNKED "3;a\nabc\r\n"), AS "400" },
        { SLICE_INIT(CHUNKED "3;a=\"b\"\r\nabc\r\n"), AS "400" },
        { SLICE_INIT(CHUNKED "3\nabc\r\n"), AS "400" },
        { SLICE_INIT(CHUNKED "3\rabc\r\n"), AS "400" },
        { SLICE_INIT(CHUNKED "0x3\r\nabc\r\n"), AS "400" },
        { SLICE_INIT(CHUNKED "+3\r\nabc\r\n"), AS "400" },
        { SLICE_INIT(CHUNKED "-3\r\nabc\r\n"), AS "400" },
        { SLICE_INIT(CHUNKED "\r\nabc\r\n"), AS "400" },
        { SLICE_INIT(CHUNKED "g\r\nabc\r\n"), AS "400" },
        { SLICE_INIT(CHUNKED "3\r\nabcXY0\r\n\r\n"), AS "abc400" }, /* what stands for CRLF */
        { SLICE_INIT(CHUNKED "3\r\nabc\r\r0\r\n\r\n"), AS "abc400" },
        { SLICE_INIT(CHUNKED "3\r\nabc\n0\r\n\r\n"), AS "abc400" },
        { SLICE_INIT(CHUNKED "3\r\nabcd\r\n0\r\n\r\n"), AS "abc400" },
        { SLICE_INIT(CHUNKED "7fffffffffffffff\r\n"), AS "..." },
        { SLICE_INIT(CHUNKED "ffffffffffffffff\r\n"), AS "413" },
        { SLICE_INIT(CHUNKED "10000000000000003\r\nabc\r\n"), AS "413" },
        { SLICE_INIT(CHUNKED "00000000000000003\r\nabc\r\n"), AS "413" },
        { SLICE_INIT(CHUNKED "0\r\n A: b\r\n\r\n"), AS "400" },
        { SLICE_INIT(CHUNKED "0\r\nA : b\r\n\r\n"), AS "400" },
        { SLICE_INIT(CHUNKED "0\r\nA: b\nC: d\r\n\r\n"), AS "400" },
        { SLICE_INIT(CHUNKED "0\r\nA\r\n\r\n"), AS "400" },
        { SLICE_INIT(CHUNKED "0\r\n\n"), AS "400" },
        { SLICE_INIT(CHUNKED "0\r\nContent-Length: 5\r\n\r\n"), AS "400" }, /* RFC 9110 §6.5.1 */
        { SLICE_INIT(CHUNKED "0\r\na: b\r\ntransfer-ENCODING: chunked\r\n\r\n"), AS "400" },
        { SLICE_INIT(CHUNKED "0\r\nContent-Lengths: 5\r\nContent: 1\r\n\r\n" GET "\r\n"),
          AS "}\nGET / 1.1\n" },
    };
    (void)state;
    TABLE(rows);
}

/* `text`, `count` times `more`, and `rest`. */
static void is_read_long(const char *text, const char *more, unsigned count, const char *rest,
                         const char *as)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_add(&b, slice_of(text));
    for (unsigned i = 0; i < count; i++)
        buf_add(&b, slice_of(more));
    buf_add(&b, slice_of(rest));
    const size_t steps[] = { b.len, 1, 1000 };
    for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        char *log = read_text(buf_slice(&b), steps[i]);
        size_t len = strlen(log), want = strlen(as);
        if (len < want || strcmp(log + len - want, as) != 0)
            fail_msg("%s..., %zu bytes at a time, ends as %s, not as %s", text, steps[i], log, as);
        free(log);
    }
    buf_fini(&b);
}

static void limits(void **state)
{
    (void)state;
    is_read_long("GET /", "a", HTTP_TARGET_MAX - 1, " HTTP/1.1\r\n" H "\r\n", "a 1.1\n");
    is_read_long("GET /", "a", HTTP_TARGET_MAX, " HTTP/1.1\r\n" H "\r\n", "414");
    is_read_long(GET, "a: b\r\n", HTTP_FIELDS_MAX - 1, "\r\n", "[a: b]\n");
    is_read_long(GET, "a: b\r\n", HTTP_FIELDS_MAX, "\r\n", "431");
    is_read_long(GET "a: ", "b", 900, "\r\n\r\n", "b]\n");
    is_read_long(GET "a: ", "b", 1000, "\r\n\r\n", "431");
    is_read_long(GET, "a", 1000, ": b\r\n\r\n", "431");
    is_read_long(CHUNKED "0;a=", "b", HTTP_EXTRA_MAX - 10, "\r\n\r\n", "}\n");
    is_read_long(CHUNKED "0;a=", "b", HTTP_EXTRA_MAX, "\r\n\r\n", "431");
    is_read_long(CHUNKED, "1;a\r\nx\r\n", HTTP_EXTRA_MAX, "0\r\n\r\n", "431");
    is_read_long(CHUNKED "0\r\n", "a: b\r\n", HTTP_EXTRA_MAX, "\r\n", "431");
    is_read_long(CHUNKED "0\r\na: ", "b", HTTP_EXTRA_MAX, "\r\n\r\n", "431");
    is_read_long(CHUNKED "0\r\n", "a", HTTP_EXTRA_MAX + 1, "\r\n\r\n", "431");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_lines),
        cmocka_unit_test(targets),
        cmocka_unit_test(lines_of_one_name_are_one_list),
        cmocka_unit_test(fields),
        cmocka_unit_test(lengths),
        cmocka_unit_test(chunks),
        cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
