#include "auth/auth.h"
#include "auth/throttle.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* needs the three above */
#include <stdio.h>

enum { SECOND = 1000000 }; /* µs; the settings' defaults are 60 s, 20 and 10 failures */

static const slice alice = { "alice@a.b", 9 }, bob = { "bob@a.b", 7 }, nobody = { NULL, 0 };

static const struct sockaddr *address(const char *text)
{
    static struct sockaddr_in v4;
    static struct sockaddr_in6 v6;
    v4 = (struct sockaddr_in){ .sin_family = AF_INET };
    v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6 };
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return (const struct sockaddr *)&v4;
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return (const struct sockaddr *)&v6;
}

static void fail_times(struct throttle *t, const char *from, slice account, int times, uint64_t at)
{
    for (int i = 0; i < times; i++)
        throttle_fail(t, address(from), account, at);
}

static void refuses_an_account_for_a_time(void **state)
{
    (void)state;
    struct throttle *t = throttle_create();
    uint64_t now = 1000 * (uint64_t)SECOND;
    for (int i = 0; i < 10; i++) { /* from ten addresses */
        char from[32];
        snprintf(from, sizeof from, "192.0.2.%d", i);
        assert_int_equal(throttle_check(t, address("198.51.100.1"), alice, now), OK);
        fail_times(t, from, alice, 1, now);
    }
    assert_int_equal(throttle_check(t, address("198.51.100.1"), alice, now), E_DENIED);
    assert_int_equal(throttle_check(t, address("198.51.100.1"), bob, now), OK);
    assert_int_equal(throttle_check(t, address("198.51.100.1"), nobody, now), OK);
    assert_int_equal(throttle_check(t, address("198.51.100.1"), alice, now + 60 * SECOND - 1),
                     E_DENIED);
    assert_int_equal(throttle_check(t, address("198.51.100.1"), alice, now + 60 * SECOND), OK);
    throttle_fail(t, address("198.51.100.1"), alice,
                  now + 61 * SECOND); /* counted from one again */
    assert_int_equal(throttle_check(t, address("198.51.100.1"), alice, now + 61 * SECOND), OK);
    throttle_destroy(&t);
    assert_null(t);
}

static void refuses_an_address_for_a_time(void **state)
{
    (void)state;
    struct throttle *t = throttle_create();
    uint64_t now = 1;
    for (int i = 0; i < 20; i++) { /* at twenty accounts */
        char name[32];
        snprintf(name, sizeof name, "user%d@a.b", i);
        assert_int_equal(throttle_check(t, address("192.0.2.1"), bob, now), OK);
        throttle_fail(t, address("192.0.2.1"), slice_of(name), now);
    }
    assert_int_equal(throttle_check(t, address("192.0.2.1"), bob, now), E_DENIED);
    assert_int_equal(throttle_check(t, address("::ffff:192.0.2.1"), nobody, now), E_DENIED);
    assert_int_equal(throttle_check(t, address("192.0.2.2"), bob, now), OK);
    throttle_ok(t, bob); /* does not free the address */
    assert_int_equal(throttle_check(t, address("192.0.2.1"), bob, now), E_DENIED);
    assert_int_equal(throttle_check(t, address("192.0.2.1"), bob, now + 60 * SECOND), OK);
    throttle_destroy(&t);
}

static void counts_ipv6_by_network(void **state)
{
    (void)state;
    struct throttle *t = throttle_create();
    for (int i = 0; i < 20; i++) {
        char from[64];
        snprintf(from, sizeof from, "2001:db8:1:2::%x", i);
        throttle_fail(t, address(from), nobody, 1);
    }
    assert_int_equal(throttle_check(t, address("2001:db8:1:2:ffff::1"), nobody, 1), E_DENIED);
    assert_int_equal(throttle_check(t, address("2001:db8:1:3::1"), nobody, 1), OK);
    throttle_destroy(&t);
}

static void forgets_after_the_window(void **state)
{
    (void)state;
    struct throttle *t = throttle_create();
    fail_times(t, "192.0.2.1", alice, 9, 1);
    fail_times(t, "192.0.2.1", alice, 9, 1 + 60 * (uint64_t)SECOND);
    assert_int_equal(throttle_check(t, address("192.0.2.1"), alice, 61 * (uint64_t)SECOND), OK);
    throttle_fail(t, address("192.0.2.1"), alice, 61 * (uint64_t)SECOND);
    assert_int_equal(throttle_check(t, address("192.0.2.1"), alice, 61 * (uint64_t)SECOND),
                     E_DENIED);
    throttle_destroy(&t);
}

static void starts_again_after_success(void **state)
{
    (void)state;
    struct throttle *t = throttle_create();
    fail_times(t, "192.0.2.1", alice, 9, 1);
    throttle_ok(t, alice);
    fail_times(t, "192.0.2.1", alice, 9, 2);
    assert_int_equal(throttle_check(t, address("192.0.2.1"), alice, 2), OK);
    throttle_destroy(&t);
}

static void obeys_its_settings(void **state)
{
    (void)state;
    struct why why;
    struct throttle *t = throttle_create();
    assert_int_equal(setting_set(&auth_failures_per_account, SLICE("2"), &why), OK);
    assert_int_equal(setting_set(&auth_failures_per_address, SLICE("none"), &why), OK);
    assert_int_equal(setting_set(&auth_block_time, SLICE("5s"), &why), OK);
    fail_times(t, "192.0.2.1", alice, 2, 1);
    assert_int_equal(throttle_check(t, address("192.0.2.2"), alice, 1), E_DENIED);
    fail_times(t, "192.0.2.1", nobody, 1000, 1);
    assert_int_equal(throttle_check(t, address("192.0.2.1"), nobody, 1), OK);
    assert_int_equal(throttle_check(t, address("192.0.2.2"), alice, 1 + 5 * SECOND), OK);
    setting_reset(&auth_failures_per_account);
    setting_reset(&auth_failures_per_address);
    setting_reset(&auth_block_time);
    throttle_destroy(&t);
}

static void stays_bounded(void **state)
{
    (void)state;
    struct throttle *t = throttle_create();
    struct sockaddr unix_peer = { .sa_family = AF_UNIX };
    for (int i = 0; i < 10; i++)
        throttle_fail(t, &unix_peer, alice, 1);
    assert_int_equal(throttle_check(t, &unix_peer, alice, 1), E_DENIED);
    for (int i = 0; i < 2 * THROTTLE_ENTRIES_MAX; i++) { /* checks its bound itself */
        char name[32];
        snprintf(name, sizeof name, "u%d@a.b", i);
        throttle_fail(t, &unix_peer, slice_of(name), 2);
    }
    assert_int_equal(throttle_check(t, &unix_peer, alice, 2), OK); /* the oldest gave way */
    throttle_destroy(&t);
}

static int setup(void **state)
{
    (void)state;
    for (unsigned i = 0; auth_settings[i] != NULL; i++)
        setting_register(auth_settings[i]);
    for (unsigned i = 0; auth_metrics[i] != NULL; i++)
        metric_register(auth_metrics[i]);
    return 0;
}

static void counts_logins(void **state)
{
    (void)state;
    struct throttle *t = throttle_create();
    int64_t before = metric_read(&auth_throttled);
    fail_times(t, "192.0.2.1", alice, 10, 1);
    assert_int_equal(throttle_check(t, address("192.0.2.1"), alice, 1), E_DENIED);
    assert_int_equal(metric_read(&auth_throttled), before + 1);
    auth_count(SASL_SCRAM_SHA_1_PLUS, AUTH_OK);
    auth_count(SASL_SCRAM_SHA_512, AUTH_FAILED);
    auth_count(SASL_PLAIN, AUTH_OK);
    auth_count(SASL_PLAIN, AUTH_OK);
    static const int64_t expected[] = { 1, 0, 0, 1, 2, 0 };
    for (unsigned i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_int_equal(metric_read(auth_metrics[i]), expected[i]);
    throttle_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_an_account_for_a_time),
        cmocka_unit_test(refuses_an_address_for_a_time),
        cmocka_unit_test(counts_ipv6_by_network),
        cmocka_unit_test(forgets_after_the_window),
        cmocka_unit_test(starts_again_after_success),
        cmocka_unit_test(obeys_its_settings),
        cmocka_unit_test(stays_bounded),
        cmocka_unit_test(counts_logins),
    };
    return cmocka_run_group_tests_name("throttle", tests, setup, NULL);
}
