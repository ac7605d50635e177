#include "gate/s2s/s2s_policy.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* needs the three above */

static bool matches(const char *patterns, const char *domain)
{
    return s2s_patterns_match(slice_of(patterns), slice_of(domain));
}

static void patterns_are_whole_domains_or_all_below_one(void **s)
{
    (void)s;
    assert_true(matches("a.test", "a.test"));
    assert_true(matches("b.test  a.test", "a.test"));
    assert_true(matches("*.a.test", "x.a.test"));
    assert_true(matches("*.a.test", "y.x.a.test"));
    assert_true(matches("*", "a.test"));
    assert_false(matches("", "a.test"));
    assert_false(matches("a.test", "x.a.test"));
    assert_false(matches("*.a.test", "a.test"));
    assert_false(matches("*.a.test", "xa.test"));
    assert_false(matches("*.a.test", ".a.test"));
    assert_false(matches("*a.test", "xa.test"));
    assert_false(matches("a.tes", "a.test"));
}

static void settings_are_checked(void **s)
{
    static const char *const right[] = { "", "a.test", "*", "*.a.test b.test", "bücher.test" };
    static const char *const wrong[] = { "*.", "**", "a b@c", "A.test", "*.*.test", "a..b" };
    (void)s;
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++)
        assert_true(s2s_patterns_ok(slice_of(right[i])));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(s2s_patterns_ok(slice_of(wrong[i])));
    assert_true(s2s_pattern_ok(SLICE("*.a.test")));
    assert_false(s2s_pattern_ok(SLICE("")));
    assert_false(s2s_pattern_ok(SLICE("a.test b.test")));
}

static void name_servers_are_checked(void **s)
{
    static const char *const right[] = { "",
                                         "192.0.2.1",
                                         "192.0.2.1:53",
                                         "2001:db8::1",
                                         "[2001:db8::1]:5353",
                                         "192.0.2.1, 192.0.2.2:5353" };
    static const char *const wrong[] = { "ns.test",     "192.0.2.1,",  ",",
                                         "192.0.2.1:0", "unix:/tmp/x", "192.0.2.1 192.0.2.2" };
    (void)s;
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++)
        assert_true(s2s_dns_servers_ok(slice_of(right[i])));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(s2s_dns_servers_ok(slice_of(wrong[i])));
}

static void addresses_are_no_domains(void **s)
{
    (void)s;
    assert_true(s2s_is_address(SLICE("")));
    assert_true(s2s_is_address(SLICE("[::1]")));
    assert_true(s2s_is_address(SLICE("127.0.0.1")));
    assert_false(s2s_is_address(SLICE("127.0.0.1.test")));
    assert_false(s2s_is_address(SLICE("a.test")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_are_whole_domains_or_all_below_one),
        cmocka_unit_test(settings_are_checked),
        cmocka_unit_test(name_servers_are_checked),
        cmocka_unit_test(addresses_are_no_domains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
