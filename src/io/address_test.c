#include "io/address.h"
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_text_and_back(void **state)
{
    static const char *const forms[] = { "127.0.0.1:5222", "[::1]:0", "[2001:db8::9]:65535",
                                         "0.0.0.0:1" };
    (void)state;
    char text[ADDRESS_TEXT_BYTES];
    union address a;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        assert_true(address_parse(slice_of(forms[i]), &a));
        address_print(&a, text);
        assert_string_equal(text, forms[i]);
    }
    assert_true(address_parse(SLICE("unix:/run/x.sock"), &a));
    assert_string_equal(a.local.sun_path, "/run/x.sock");
    assert_int_equal(address_port(&a), 0);
    address_print(&a, text);
    assert_string_equal(text, "local");
}

static void test_longest_text(void **state)
{
    static const char longest[] = "[1111:2222:3333:4444:5555:6666:255.255.255.255]:65535";
    (void)state;
    union address a;
    assert_true(address_parse(slice_of(longest), &a));
    char text[ADDRESS_TEXT_BYTES];
    address_print(&a, text);
    assert_string_equal(text, "[1111:2222:3333:4444:5555:6666:ffff:ffff]:65535");
}

static void test_what_is_no_address(void **state)
{
    static const char *const bad[] = {
        "",      ":",      "5222", "host:5222", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:-1",
        "[::1]", "[::1]5", "[]:5", "unix:",     "1.2.3:4"
    };
    (void)state;
    union address a;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(address_parse(slice_of(bad[i]), &a));
}

static void test_one_form_for_each_address(void **state)
{
    struct sockaddr_un local = { .sun_family = AF_UNIX };
    (void)state;
    union address mapped;
    assert_true(address_parse(SLICE("[::ffff:192.0.2.7]:25"), &mapped));
    union address a;
    address_set(&a, &mapped.any);
    assert_int_equal(a.any.sa_family, AF_INET);
    assert_int_equal(address_bytes(&a), sizeof(struct sockaddr_in));
    char text[ADDRESS_TEXT_BYTES];
    address_print(&a, text);
    assert_string_equal(text, "192.0.2.7:25");
    address_set(&a, (const struct sockaddr *)&local);
    assert_int_equal(address_bytes(&a), 0);
    address_print(&a, text);
    assert_string_equal(text, "none");
}

static void knows_this_machine(void **state)
{
    static const char *const here[] = { "127.0.0.1:1",         "127.9.9.9:1", "0.0.0.0:1",
                                        "169.254.1.2:1",       "[::1]:1",     "[::]:1",
                                        "[fe80::1]:1",         "[febf::1]:1", "unix:/x",
                                        "[::ffff:127.0.0.1]:1" };
    static const char *const there[] = { "192.0.2.1:1", "10.0.0.1:1", "[2001:db8::1]:1",
                                         "[fec0::1]:1", "169.253.1.2:1" };
    union address a;
    (void)state;
    for (size_t i = 0; i < sizeof here / sizeof here[0]; i++) {
        assert_true(address_parse(slice_of(here[i]), &a));
        assert_true(address_is_local(&a));
    }
    for (size_t i = 0; i < sizeof there / sizeof there[0]; i++) {
        assert_true(address_parse(slice_of(there[i]), &a));
        assert_false(address_is_local(&a));
    }
    assert_true(address_parse(SLICE("[::ffff:127.0.0.1]:1"), &a));
    assert_true(address_is_own(&a));
    assert_true(address_parse(SLICE("203.0.113.1:1"), &a)); /* RFC 5737: nobody's */
    assert_false(address_is_own(&a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_and_back),      cmocka_unit_test(test_longest_text),
        cmocka_unit_test(test_what_is_no_address), cmocka_unit_test(test_one_form_for_each_address),
        cmocka_unit_test(knows_this_machine),
    };
    return cmocka_run_group_tests_name("io/address", tests, NULL, NULL);
}
