#include "base/ip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const char *there_and_back(const char *text)
{
    static struct ip_text out;
    struct ip ip = ip_parse(slice_of(text));
    out = ip_print(&ip);
    return out.text;
}

static void test_each_address_has_one_form(void **state)
{
    (void)state;
    assert_string_equal(there_and_back("192.0.2.1"), "192.0.2.1");
    assert_string_equal(there_and_back("0.0.0.0"), "0.0.0.0");
    assert_string_equal(there_and_back("::ffff:192.0.2.1"), "192.0.2.1");
    assert_string_equal(there_and_back("2001:0DB8::0001"), "2001:db8::1");
    assert_string_equal(there_and_back("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
                        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
}

static void test_what_is_no_address_is_nothing(void **state)
{
    static const char *const none[] = { "",
                                        "none",
                                        "192.0.2",
                                        "192.0.2.1:5222",
                                        "fe80::1%1",
                                        "::",
                                        "1111111111111111111111111111111111111111111111111" };
    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_string_equal(there_and_back(none[i]), "");
    struct ip ip = ip_parse((slice){ "192.0.2.1\0x", 11 });
    assert_string_equal(ip_print(&ip).text, "");
    assert_string_equal(there_and_back("local"), "local");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_address_has_one_form),
        cmocka_unit_test(test_what_is_no_address_is_nothing),
    };
    return cmocka_run_group_tests_name("ip", tests, NULL, NULL);
}
