#include "codec/http_reply.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static enum http_reply_end reads(const char *text, bool ended, struct http_reply *out)
{
    return http_reply_read(out, slice_of(text), ended, 10);
}

static void reads_answers(void **state)
{
    struct http_reply r;
    (void)state;
    assert_int_equal(reads("HTTP/1.0 200 OK\r\n\r\nhallo", true, &r), HTTP_REPLY_DONE);
    assert_int_equal(r.status, 200);
    assert_true(slice_is(r.body, "hallo"));
    assert_int_equal(reads("HTTP/1.0 200 OK\r\n\r\nhallo", false, &r), HTTP_REPLY_MORE);
    assert_int_equal(reads("HTTP/1.1 200 OK\r\ncontent-LENGTH:  3 \r\n\r\nhallo", false, &r),
                     HTTP_REPLY_DONE);
    assert_true(slice_is(r.body, "hal"));
    assert_int_equal(reads("HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", false, &r),
                     HTTP_REPLY_DONE);
    assert_int_equal(r.status, 404);
    assert_int_equal(reads("HTTP/1.1 200 OK\nContent-Length: 1\n\nx", false, &r), HTTP_REPLY_DONE);
    assert_int_equal(reads("HTTP/1.1 200 OK\r\nA: b", false, &r), HTTP_REPLY_MORE);
    assert_int_equal(reads("HTTP/1.1 100 Continue\r\n\r\n", false, &r), HTTP_REPLY_MORE);
    assert_int_equal(reads("HTTP/1.1 100 Continue\r\n\r\n", true, &r), HTTP_REPLY_BAD);
    assert_int_equal(reads("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\n"
                           "HTTP/1.1 200 OK\r\n\r\nhallo",
                           true, &r),
                     HTTP_REPLY_DONE);
    assert_true(r.status == 200 && slice_is(r.body, "hallo"));
}

/* RFC 9112 §6.3: they end with the head, so a server may leave the connection open behind it. */
static void knows_answers_without_a_body(void **state)
{
    static const char *const fields[] = { "", "Content-Length: 5\r\n", "Content-Length: 99\r\n",
                                          "Transfer-Encoding: chunked\r\n" };
    static const unsigned none[] = { 101, 204, 304 }, some[] = { 200, 205, 299, 300, 404, 500 };
    char text[128];
    struct http_reply r;
    (void)state;
    for (size_t f = 0; f < sizeof fields / sizeof fields[0]; f++)
        for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
            snprintf(text, sizeof text, "HTTP/1.1 %u x\r\n%s\r\nhallo", none[i], fields[f]);
            for (int ended = 0; ended <= 1; ended++) {
                assert_int_equal(reads(text, ended, &r), HTTP_REPLY_DONE);
                assert_true(r.status == none[i] && r.body.len == 0);
            }
        }
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        snprintf(text, sizeof text, "HTTP/1.1 %u x\r\n\r\nhallo", some[i]);
        assert_int_equal(reads(text, false, &r), HTTP_REPLY_MORE);
        assert_int_equal(reads(text, true, &r), HTTP_REPLY_DONE);
        assert_true(slice_is(r.body, "hallo"));
    }
}

static void refuses_others(void **state)
{
    static const char *const bad[] = {
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 999 OK\r\n\r\n",
        "HTTP/1.0 2000 x\r\n\r\n",
        "HTTP/1.1 200x OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\n\r\nmore than ten bytes",
        "HTTP/1.1 200 OK\r\nA: b",
        "",
    };
    struct http_reply r;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(reads(bad[i], true, &r), HTTP_REPLY_BAD);
    (void)reads("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", true, &r);
    assert_int_equal(r.status, 200);
    (void)reads("SSH-2.0-x\r\n\r\n", true, &r);
    assert_int_equal(r.status, 0);
}

/* "100 Continue" so often, and then the answer: each part that comes is read from the start. */
static enum http_reply_end continues(size_t count, bool ended)
{
    static const char one[] = "HTTP/1.1 100 C\r\n\r\n", last[] = "HTTP/1.1 200 OK\r\n\r\nhallo";
    static char text[2 * HTTP_REPLY_HEAD_MAX];
    struct http_reply r;
    size_t len = 0;
    for (; count > 0; count--, len += sizeof one - 1)
        memcpy(text + len, one, sizeof one - 1);
    memcpy(text + len, last, sizeof last);
    return reads(text, ended, &r);
}

static void limits_what_comes_before(void **state)
{
    (void)state;
    assert_int_equal(continues(HTTP_REPLY_HEAD_MAX / 18 - 2, true), HTTP_REPLY_DONE);
    assert_int_equal(continues(HTTP_REPLY_HEAD_MAX / 18 + 1, false), HTTP_REPLY_BAD);
}

static void reads_addresses(void **state)
{
    struct http_uri u;
    (void)state;
    assert_true(http_uri_read(&u, SLICE("http://ocsp.test")));
    assert_true(slice_is(u.host, "ocsp.test") && slice_is(u.path, "/") && u.port == 80);
    assert_true(http_uri_read(&u, SLICE("http://ocsp.test:81/a/b?c")));
    assert_true(slice_is(u.authority, "ocsp.test:81") && slice_is(u.path, "/a/b?c"));
    assert_int_equal(u.port, 81);
    assert_false(http_uri_read(&u, SLICE("https://ocsp.test")));
    assert_true(https_uri_read(&u, SLICE("https://ocsp.test/a")));
    assert_int_equal(u.port, 443);
    assert_false(https_uri_read(&u, SLICE("http://ocsp.test/a")));
    assert_true(http_uri_read(&u, SLICE("http://[::1]:82/")));
    assert_true(slice_is(u.host, "::1") && u.port == 82);
    static const char *const bad[] = { "",           "https://a/",     "http://",
                                       "http:///",   "http://a:0/",    "http://a:65536/",
                                       "http://a:x", "http://u@a/",    "http://[::1/",
                                       "http://[]/", "http://a/\r\nX", "http://a?b" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(http_uri_read(&u, slice_of(bad[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_answers),   cmocka_unit_test(knows_answers_without_a_body),
        cmocka_unit_test(refuses_others),  cmocka_unit_test(limits_what_comes_before),
        cmocka_unit_test(reads_addresses),
    };
    return cmocka_run_group_tests_name("codec/http_reply", tests, NULL, NULL);
}
