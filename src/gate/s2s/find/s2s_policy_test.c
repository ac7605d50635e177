#include "gate/s2s/find/s2s_policy.h"
#include "xmpp/jid.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

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
    assert_true(matches("*", "127.0.0.7"));
    assert_true(matches("[::FFFF:127.0.0.7]", "127.0.0.7"));
    assert_false(matches("*.0.0.7", "127.0.0.7"));
    assert_false(matches("*.7", "127.0.0.7"));
    assert_true(matches("*.0.0.7", "x.127.0.0.7"));
}

static void patterns_have_any_form_of_a_domain(void **s)
{
    static const char *const same[] = { "A.Test", "*.TEST", "b.test a.test." }, *const encoded[] = {
        "xn--bcher-kva.test", "BÜCHER.Test", "bücher.test", "XN--BCHER-KVA.TEST"
    };
    (void)s;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        assert_true(matches(same[i], "a.test"));
    for (size_t i = 0; i < sizeof encoded / sizeof encoded[0]; i++) {
        char below[64];
        snprintf(below, sizeof below, "*.%s", encoded[i]);
        assert_true(matches(encoded[i], "bücher.test"));
        assert_true(matches(below, "x.bücher.test"));
        assert_false(matches(below, "bücher.test"));
        assert_false(matches(encoded[i], "bucher.test"));
    }
}

static void settings_are_checked(void **s)
{
    static const char *const right[] = {
        "", "a.test", "*", "*.a.test b.test", "bücher.test", "A.test", "*.xn--bcher-kva.test"
    };
    static const char *const wrong[] = { "*.",          "**",         "a b@c",     "*.*.test",
                                         "a..b",        "xn--a.test", "*.0.0.7",   "*.7",
                                         "*.127.0.0.7", "*.[::1]",    "a.test *.1" };
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
                                         "[2001:db8::1]",
                                         "[::1], ::1",
                                         "[2001:db8::1]:5353",
                                         "192.0.2.1, 192.0.2.2:5353" };
    static const char *const wrong[] = {
        "[192.0.2.1]", "[]", "[::1",        "::1]",        "ns.test",
        "192.0.2.1,",  ",",  "192.0.2.1:0", "unix:/tmp/x", "192.0.2.1 192.0.2.2"
    };
    (void)s;
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++)
        assert_true(s2s_dns_servers_ok(slice_of(right[i])));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(s2s_dns_servers_ok(slice_of(wrong[i])));
}

static void addresses_are_no_domains(void **s)
{
    (void)s;
    assert_true(jid_is_address(SLICE("")));
    assert_true(jid_is_address(SLICE("[::1]")));
    assert_true(jid_is_address(SLICE("127.0.0.1")));
    assert_false(jid_is_address(SLICE("127.0.0.1.test")));
    assert_false(jid_is_address(SLICE("a.test")));
    assert_false(jid_may_have_below(SLICE("[::1]")));
    assert_false(jid_may_have_below(SLICE("127.0.0.1")));
    assert_false(jid_may_have_below(SLICE("0.1")));
    assert_false(jid_may_have_below(SLICE("1")));
    assert_true(jid_may_have_below(SLICE("a1")));
    assert_true(jid_may_have_below(SLICE("1.test")));
    assert_true(jid_may_have_below(SLICE("127.0.0.1.test")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_are_whole_domains_or_all_below_one),
        cmocka_unit_test(patterns_have_any_form_of_a_domain),
        cmocka_unit_test(settings_are_checked),
        cmocka_unit_test(name_servers_are_checked),
        cmocka_unit_test(addresses_are_no_domains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
