#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "http/forms.h"
#include <cmocka.h>

static void test_urls(void **state)
{
    (void)state;
    assert_true(http_is_url(SLICE("")));
    assert_true(http_is_url(SLICE("https://chat.example.org:5443")));
    assert_true(http_is_url(SLICE("http://[::1]:5280/xmpp/")));
    assert_false(http_is_url(SLICE("nonsense")));
    assert_false(http_is_url(SLICE("ftp://example.org")));
    assert_false(http_is_url(SLICE("https://")));
    assert_false(http_is_url(SLICE("https://:5443")));
    assert_false(http_is_url(SLICE("https://a b")));
    assert_false(http_is_url(SLICE("https://a/?b")));
    assert_false(http_is_url(SLICE("https://a/\"")));
}

static void test_paths(void **state)
{
    (void)state;
    assert_true(http_is_path(SLICE("")));
    assert_true(http_is_path(SLICE("/http-bind/v1.0")));
    assert_false(http_is_path(SLICE("http-bind")));
    assert_false(http_is_path(SLICE("/a b")));
    assert_false(http_is_path(SLICE("/a?b")));
}

static void test_origins(void **state)
{
    (void)state;
    assert_true(http_are_origins(SLICE("")));
    assert_true(http_are_origins(SLICE("*")));
    assert_true(http_are_origins(SLICE("https://a.example, http://localhost:8080,app://host")));
    assert_false(http_are_origins(SLICE("a.example")));
    assert_false(http_are_origins(SLICE("https://a.example/")));
    assert_false(http_are_origins(SLICE("https://a.example https://b.example")));
}

static void test_addresses(void **state)
{
    (void)state;
    assert_true(http_are_addresses(SLICE("")));
    assert_true(http_are_addresses(SLICE("127.0.0.1, ::1")));
    assert_false(http_are_addresses(SLICE("localhost")));
    assert_false(http_are_addresses(SLICE("10.0.0.0/8")));
    assert_false(http_are_addresses(SLICE("127.0.0.1,,::1")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests_name("forms", tests, NULL, NULL);
}
