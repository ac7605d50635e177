#include "base/arena.h"
#include "http/parse.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const char *path_of(struct arena *tmp, const char *raw)
{
    slice out;
    return http_path_decode(slice_of(raw), tmp, &out) == OK ? out.ptr : NULL;
}

static void paths(void **state)
{
    struct arena *tmp = arena_create(0);
    (void)state;
    assert_string_equal(path_of(tmp, "/"), "/");
    assert_string_equal(path_of(tmp, "/a%20b/%C3%A4+c"), "/a b/\xC3\xA4+c");
    assert_string_equal(path_of(tmp, "/a//b/"), "/a//b/");
    assert_string_equal(path_of(tmp, "/.well-known/..."), "/.well-known/...");
    static const char *const bad[] = { "",        "a",    "*",      "/..",  "/a/../b", "/a/.",
                                       "/%2e%2E", "/a%2", "/a%",    "/%zz", "/%00",    "/a%0d",
                                       "/\x7f",   "/%ff", "/a\\..", "/%5c", "/%c3" };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_null(path_of(tmp, bad[i]));
    arena_destroy(&tmp);
}

static void queries(void **state)
{
    struct arena *tmp = arena_create(0);
    slice query = SLICE("a=1&token=x%26y+z&empty=&flag&a=2&bad=%zz"), v;
    (void)state;
    assert_true(http_query_get(query, "a", tmp, &v) && slice_is(v, "1"));
    assert_true(http_query_get(query, "token", tmp, &v) && slice_is(v, "x&y z"));
    assert_true(http_query_get(query, "empty", tmp, &v) && v.len == 0);
    assert_true(http_query_get(query, "flag", tmp, &v) && v.len == 0);
    assert_false(http_query_get(query, "bad", tmp, &v));
    assert_false(http_query_get(query, "A", tmp, &v));
    assert_false(http_query_get((slice){ 0 }, "a", tmp, &v));
    arena_destroy(&tmp);
}

static void tokens(void **state)
{
    (void)state;
    assert_true(http_has_token(SLICE("keep-alive , UPGRADE"), "upgrade"));
    assert_true(http_has_token(SLICE("websocket"), "websocket"));
    assert_false(http_has_token(SLICE("websocket2, web socket"), "websocket"));
    assert_false(http_has_token(SLICE(""), "websocket"));
}

static void entity_tags(void **state)
{
    (void)state;
    assert_true(http_has_etag(SLICE("\"b\""), SLICE("\"b\"")));
    assert_true(http_has_etag(SLICE("\"a\",\t W/\"b\" ,\"c\""), SLICE("\"b\"")));
    assert_true(http_has_etag(SLICE(" * "), SLICE("\"b\"")));
    assert_false(http_has_etag(SLICE("w/\"b\", W/ \"b\", W/W/\"b\", b, W/*"), SLICE("\"b\"")));
    assert_false(http_has_etag(SLICE(""), SLICE("\"b\"")));
}

static void ranges(void **state)
{
    static const struct {
        const char *header;
        enum http_range is;
        uint64_t first, last; /* of 100 bytes */
    } table[] = {
        { "bytes=0-0", HTTP_RANGE_PART, 0, 0 },
        { "bytes=10-", HTTP_RANGE_PART, 10, 99 },
        { "Bytes= 10-19 ", HTTP_RANGE_PART, 10, 19 },
        { "bytes=90-1000", HTTP_RANGE_PART, 90, 99 },
        { "bytes=-1", HTTP_RANGE_PART, 99, 99 },
        { "bytes=-1000", HTTP_RANGE_PART, 0, 99 },
        { "bytes=100-", HTTP_RANGE_UNSATISFIABLE, 0, 0 },
        { "bytes=-0", HTTP_RANGE_UNSATISFIABLE, 0, 0 },
        { "bytes=5-4", HTTP_RANGE_NONE, 0, 0 },
        { "bytes=0-1,5-6", HTTP_RANGE_NONE, 0, 0 },
        { "bytes=--1", HTTP_RANGE_NONE, 0, 0 },
        { "bytes=+1-2", HTTP_RANGE_NONE, 0, 0 },
        { "bytes=a-b", HTTP_RANGE_NONE, 0, 0 },
        { "bytes=", HTTP_RANGE_NONE, 0, 0 },
        { "lines=1-2", HTTP_RANGE_NONE, 0, 0 },
        { "bytes=99999999999999999999-", HTTP_RANGE_NONE, 0, 0 },
        { "", HTTP_RANGE_NONE, 0, 0 },
    };
    (void)state;
    for (unsigned i = 0; i < sizeof table / sizeof table[0]; i++) {
        uint64_t first = 0, last = 0;
        assert_int_equal(http_range_parse(slice_of(table[i].header), 100, &first, &last),
                         table[i].is);
        if (table[i].is == HTTP_RANGE_PART) {
            assert_int_equal(first, table[i].first);
            assert_int_equal(last, table[i].last);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths),       cmocka_unit_test(queries), cmocka_unit_test(tokens),
        cmocka_unit_test(entity_tags), cmocka_unit_test(ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
