#include "ext/quota.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static const uint64_t hour_us = 3600ull * 1000000;

static void test_limit_and_window(void **state)
{
    static struct quota q = QUOTA_INIT;
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_true(quota_take(&q, SLICE("192.0.2.1"), 3, 1000));
    assert_false(quota_take(&q, SLICE("192.0.2.1"), 3, 2000));
    assert_true(quota_take(&q, SLICE("192.0.2.2"), 3, 2000));
    assert_false(quota_take(&q, SLICE("192.0.2.1"), 3, 1000 + hour_us - 1));
    assert_true(quota_take(&q, SLICE("192.0.2.1"), 3, 1000 + hour_us));
    assert_true(quota_take(&q, SLICE("192.0.2.1"), INT64_MAX >> 1, 1000 + hour_us));
}

static void test_ipv6_counts_by_64(void **state)
{
    static struct quota q = QUOTA_INIT;
    (void)state;
    assert_true(quota_take(&q, SLICE("2001:db8:1:2::1"), 1, 1));
    assert_false(quota_take(&q, SLICE("2001:db8:1:2:ffff::9"), 1, 1));
    assert_true(quota_take(&q, SLICE("2001:db8:1:3::1"), 1, 1));
    assert_true(quota_take(&q, SLICE("::1"), 1, 1));
    assert_false(quota_take(&q, SLICE("::1"), 1, 1));
}

static void test_mapped_ipv4_is_ipv4(void **state)
{
    static struct quota q = QUOTA_INIT;
    (void)state;
    assert_true(quota_take(&q, SLICE("::ffff:192.0.2.1"), 1, 1));
    assert_false(quota_take(&q, SLICE("192.0.2.1"), 1, 1));
    assert_true(quota_take(&q, SLICE("::ffff:192.0.2.2"), 1, 1));
}

/* Many more addresses than the table holds, so that every set has seen others: each is still let
 * in, nothing grows. */
static void test_table_is_bounded(void **state)
{
    static struct quota q = QUOTA_INIT;
    (void)state;
    for (unsigned i = 0; i < 10 * QUOTA_SETS * QUOTA_WAYS; i++) {
        char text[32];
        int len = snprintf(text, sizeof text, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
        assert_true(quota_take(&q, (slice){ text, (size_t)len }, 1, i + 1));
    }
    assert_true(quota_take(&q, SLICE("10.0.0.0"), 1, 999999)); /* the oldest gave way */
}

static void test_strange_addresses(void **state)
{
    static struct quota q = QUOTA_INIT;
    static const char long_one[200] = { 'x' };
    (void)state;
    assert_true(quota_take(&q, SLICE("unix"), 1, 1));
    assert_false(quota_take(&q, SLICE("unix"), 1, 1));
    assert_true(quota_take(&q, (slice){ long_one, sizeof long_one }, 1, 1));
    assert_false(quota_take(&q, (slice){ long_one, sizeof long_one }, 1, 1));
    assert_true(quota_take(&q, SLICE(""), 1, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limit_and_window),    cmocka_unit_test(test_ipv6_counts_by_64),
        cmocka_unit_test(test_mapped_ipv4_is_ipv4), cmocka_unit_test(test_table_is_bounded),
        cmocka_unit_test(test_strange_addresses),
    };
    return cmocka_run_group_tests_name("ext/quota", tests, NULL, NULL);
}
