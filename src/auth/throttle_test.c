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

static struct throttle_try try_of(const char *from, slice account)
{
    struct throttle_try try;
    throttle_try_init(&try, address(from), account, NULL);
    return try;
}

static const uint8_t phone[16] = { 1 };

/* One whose device is known to be of the account. */
static struct throttle_try try_by(const char *from, slice account, const uint8_t *device)
{
    struct throttle_try try;
    throttle_try_init(&try, address(from), account, device);
    try.trust = TRUST_DEVICE;
    return try;
}

static enum err take(struct throttle *t, struct throttle_try *try, uint64_t at, uint32_t *wait_ms)
{
    return throttle_take(t, try, at, wait_ms);
}

/* One that need not wait for its turn, because nobody is guessing. */
static void begin(struct throttle *t, struct throttle_try *try, uint64_t at)
{
    uint32_t wait_ms;
    assert_int_equal(take(t, try, at, &wait_ms), OK);
    assert_int_equal(wait_ms, 0);
}

static void fail_times(struct throttle *t, const char *from, slice account, int times, uint64_t at)
{
    for (int i = 0; i < times; i++) {
        struct throttle_try try = try_of(from, account);
        begin(t, &try, at);
        throttle_failed(t, &try, at);
    }
}

static void pass(struct throttle *t, const char *from, slice account, uint64_t at)
{
    struct throttle_try try = try_of(from, account);
    uint32_t wait_ms;
    assert_int_equal(take(t, &try, at, &wait_ms), OK);
    throttle_passed(t, &try, at);
}

static enum throttle_answer ask_try(struct throttle *t, struct throttle_try try, uint64_t at)
{
    return throttle_ask(t, &try, at);
}

static enum throttle_answer ask(struct throttle *t, const char *from, slice account, uint64_t at)
{
    return ask_try(t, try_of(from, account), at);
}

static void refuses_an_account_at_an_address(void **state)
{
    (void)state;
    struct throttle *t = throttle_create();
    uint64_t now = 1000 * (uint64_t)SECOND;
    fail_times(t, "192.0.2.1", alice, 10, now);
    assert_int_equal(ask(t, "192.0.2.1", alice, now), THROTTLE_REFUSE);
    assert_int_equal(ask(t, "192.0.2.1", bob, now), THROTTLE_GO);
    assert_int_equal(ask(t, "192.0.2.1", alice, now + 60 * SECOND - 1), THROTTLE_REFUSE);
    assert_int_equal(ask(t, "192.0.2.1", alice, now + 60 * SECOND), THROTTLE_GO);
    fail_times(t, "192.0.2.1", alice, 1, now + 61 * SECOND); /* counted from one again */
    assert_int_equal(ask(t, "192.0.2.1", alice, now + 61 * SECOND), THROTTLE_GO);
    throttle_destroy(&t);
    assert_null(t);
}

/* An attempt by another address, by number. */
static struct throttle_try try_from(unsigned n, slice account)
{
    char from[32];
    snprintf(from, sizeof from, "10.%u.%u.%u", n / 62500 % 250, n / 250 % 250, n % 250);
    return try_of(from, account);
}

/* One wrong password as alice by each of the addresses, one after the other; when the last one is
 * answered. */
static uint64_t guess_in_a_row(struct throttle *t, unsigned first, unsigned count, uint64_t now)
{
    uint32_t wait_ms;
    for (unsigned n = first; n < first + count; n++) {
        struct throttle_try try = try_from(n, alice);
        assert_int_equal(take(t, &try, now, &wait_ms), OK);
        now += wait_ms * (uint64_t)1000;
        throttle_failed(t, &try, now);
    }
    return now;
}

static void slows_down_more_and_more(void **state)
{
    (void)state;
    static const struct {
        unsigned guesses;
        uint32_t ms;
    } steps[] = { { 10, 0 }, { 1, 1000 }, { 9, 1000 }, { 1, 2000 }, { 19, 2000 }, { 1, 4000 } };
    struct throttle *t = throttle_create();
    uint64_t now = 1;
    unsigned done = 0;
    for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        uint64_t end = guess_in_a_row(t, done, steps[i].guesses, now);
        assert_int_equal(end - now, (uint64_t)steps[i].guesses * steps[i].ms * 1000);
        done += steps[i].guesses;
        now = end;
    }
    throttle_destroy(&t);
}

/* Known addresses and devices, and other accounts, do not wait; neither does anybody when the
 * window is over. */
static void never_refuses_an_account_everywhere(void **state)
{
    (void)state;
    struct throttle *t = throttle_create();
    pass(t, "203.0.113.1", alice, 1);
    uint64_t now = guess_in_a_row(t, 0, 25, 1);
    assert_int_equal(ask(t, "198.51.100.1", alice, now), THROTTLE_SLOW);
    assert_int_equal(ask(t, "203.0.113.1", alice, now), THROTTLE_GO); /* she was here before */
    assert_int_equal(ask_try(t, try_by("198.51.100.1", alice, phone), now), THROTTLE_GO);
    assert_int_equal(ask(t, "198.51.100.1", bob, now), THROTTLE_GO);
    struct throttle_try owner = try_of("198.51.100.1", alice);
    uint32_t wait_ms;
    assert_int_equal(take(t, &owner, now, &wait_ms), OK);
    assert_in_range(wait_ms, 1, THROTTLE_WAIT_MS_MAX);
    throttle_passed(t, &owner, now + wait_ms * (uint64_t)1000);
    assert_int_equal(ask(t, "198.51.100.1", alice, now), THROTTLE_GO); /* now she was there, too */
    assert_int_equal(ask(t, "198.51.100.2", alice, 1 + 60 * (uint64_t)SECOND), THROTTLE_GO);
    throttle_destroy(&t);
}

enum { CROWD = 990, GUESSES_MAX = 64 };

/* How many of a crowd that asks at every moment, each from one of `addresses`, have compared their
 * guess by `end`. `leave`: they hang up while they wait. */
static unsigned guesses_of_crowd(unsigned addresses, uint64_t step, uint64_t end, bool leave)
{
    struct throttle *t = throttle_create();
    struct throttle_try waiting[GUESSES_MAX];
    uint64_t due[GUESSES_MAX];
    unsigned count = 0, done = 0;
    for (uint64_t now = 1; now <= end; now += step) {
        for (unsigned i = 0; i < count; i++) {
            if (due[i] > now && !leave)
                continue;
            throttle_failed(t, &waiting[i], now);
            done += due[i] <= now;
            waiting[i] = waiting[--count];
            due[i--] = due[count];
        }
        for (unsigned n = 0; n < CROWD; n++) {
            struct throttle_try try = try_from(n % addresses, alice);
            uint32_t wait_ms;
            if (take(t, &try, now, &wait_ms) != OK)
                continue;
            assert_in_range(wait_ms, 0, THROTTLE_WAIT_MS_MAX);
            assert_in_range(count, 0, GUESSES_MAX - 1); /* few wait */
            due[count] = now + wait_ms * (uint64_t)1000;
            waiting[count++] = try;
        }
    }
    for (unsigned i = 0; i < count; i++)
        throttle_failed(t, &waiting[i], end);
    throttle_destroy(&t);
    return done;
}

/* However many guess at once, from however many addresses, and whether they wait for the answer or
 * not: they compare no more than one after the other would. */
static void a_crowd_gets_no_more_guesses_than_a_row(void **state)
{
    (void)state;
    static const unsigned addresses[] = { 11, 40, 110, CROWD };
    for (unsigned seconds = 1; seconds < 60; seconds += 7) {
        uint64_t end = 1 + seconds * (uint64_t)SECOND, now = 1;
        unsigned row = 0;
        struct throttle *t = throttle_create();
        for (; now <= end; row++)
            now = guess_in_a_row(t, row, 1, now);
        throttle_destroy(&t);
        for (unsigned i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
            assert_in_range(guesses_of_crowd(addresses[i], SECOND / 4, end, false), 10, row);
            assert_in_range(guesses_of_crowd(addresses[i], SECOND / 4, end, true), 10, row);
        }
    }
}

/* A few addresses leave turns for others, also if they hang up as soon as they wait. */
static void few_addresses_do_not_fill_the_queue(void **state)
{
    (void)state;
    struct throttle *t = throttle_create();
    uint64_t now = guess_in_a_row(t, 0, 12, 1);
    struct throttle_try waiting[200];
    unsigned count = 0, refused = 0;
    uint32_t wait_ms;
    for (unsigned n = 0; n < 200; n++) {
        waiting[count] = try_from(n % 12, alice); /* all of them have failed before */
        if (take(t, &waiting[count], now, &wait_ms) == OK)
            count++;
        else
            refused++;
    }
    assert_in_range(count, 1, 8);
    assert_int_equal(count + refused, 200);
    struct throttle_try owner = try_of("198.51.100.1", alice);
    assert_int_equal(take(t, &owner, now, &wait_ms), OK);
    for (unsigned i = 0; i < count; i++)
        throttle_failed(t, &waiting[i], now);
    struct throttle_try again = try_of("198.51.100.1", alice);
    assert_int_equal(take(t, &again, now, &wait_ms), E_DENIED); /* one turn for an address */
    throttle_void(t, &owner);
    throttle_destroy(&t);
    assert_int_equal(metric_read(&auth_throttle_entries), 0);
}

static void counts_trusted_logins_too(void **state)
{
    (void)state;
    struct throttle *t = throttle_create();
    pass(t, "192.0.2.1", alice, 1);
    fail_times(t, "192.0.2.1", alice, 10, 1); /* guesses also count where she logs in */
    assert_int_equal(ask(t, "192.0.2.1", alice, 1), THROTTLE_REFUSE);
    assert_int_equal(ask_try(t, try_by("192.0.2.1", alice, phone), 1), THROTTLE_GO);
    for (int i = 0; i < 10; i++) {
        struct throttle_try try = try_by("192.0.2.9", alice, phone);
        begin(t, &try, 1);
        throttle_failed(t, &try, 1);
    }
    assert_int_equal(ask_try(t, try_by("192.0.2.9", alice, phone), 1), THROTTLE_REFUSE);
    static const uint8_t tablet[16] = { 2 };
    assert_int_equal(ask_try(t, try_by("192.0.2.9", alice, tablet), 1), THROTTLE_GO);
    assert_int_equal(ask_try(t, try_by("192.0.2.9", bob, phone), 1), THROTTLE_GO);
    throttle_destroy(&t);
}

static void refuses_an_address_for_a_time(void **state)
{
    (void)state;
    struct throttle *t = throttle_create();
    uint64_t now = 1;
    pass(t, "192.0.2.1", alice, now);
    for (int i = 0; i < 20; i++) { /* at twenty accounts */
        char name[32];
        snprintf(name, sizeof name, "user%d@a.b", i);
        assert_int_equal(ask(t, "192.0.2.1", bob, now), THROTTLE_GO);
        fail_times(t, "192.0.2.1", slice_of(name), 1, now);
    }
    assert_int_equal(ask(t, "192.0.2.1", bob, now), THROTTLE_REFUSE);
    assert_int_equal(ask(t, "::ffff:192.0.2.1", nobody, now), THROTTLE_REFUSE);
    assert_int_equal(ask(t, "192.0.2.2", bob, now), THROTTLE_GO);
    assert_int_equal(ask(t, "192.0.2.1", alice, now), THROTTLE_GO); /* she was here before */
    pass(t, "192.0.2.1", alice, now);                               /* that frees nobody else */
    assert_int_equal(ask(t, "192.0.2.1", bob, now), THROTTLE_REFUSE);
    assert_int_equal(ask(t, "192.0.2.1", bob, now + 60 * SECOND), THROTTLE_GO);
    throttle_destroy(&t);
}

static void counts_ipv6_by_network(void **state)
{
    (void)state;
    struct throttle *t = throttle_create();
    char from[64];
    for (int i = 0; i < 20; i++) {
        snprintf(from, sizeof from, "2001:db8:1:2::%x", i);
        fail_times(t, from, nobody, 1, 1);
    }
    assert_int_equal(ask(t, "2001:db8:1:2:ffff::1", nobody, 1), THROTTLE_REFUSE);
    assert_int_equal(ask(t, "2001:db8:1:3::1", nobody, 1), THROTTLE_GO);
    for (int i = 0; i < 180; i++) { /* a /64 each, of one /48 */
        snprintf(from, sizeof from, "2001:db8:1:%x::1", i + 256);
        fail_times(t, from, nobody, 1, 1);
    }
    assert_int_equal(ask(t, "2001:db8:1:3::1", nobody, 1), THROTTLE_REFUSE);
    assert_int_equal(ask(t, "2001:db8:2:3::1", nobody, 1), THROTTLE_GO);
    throttle_destroy(&t);
}

/* However many are begun before the first has ended. */
static void counts_attempts_under_way(void **state)
{
    (void)state;
    struct throttle *t = throttle_create();
    struct throttle_try tries[300];
    uint32_t wait_ms;
    int taken = 0;
    for (int i = 0; i < 300; i++) {
        tries[i] = try_of("192.0.2.1", alice);
        assert_int_equal(ask_try(t, tries[i], 1), i < 10 ? THROTTLE_GO : THROTTLE_REFUSE);
        if (take(t, &tries[i], 1, &wait_ms) == OK)
            tries[taken++] = tries[i];
    }
    assert_int_equal(taken, 10);
    for (int i = 0; i < taken; i++) /* given up: not counted */
        throttle_void(t, &tries[i]);
    assert_int_equal(metric_read(&auth_throttle_entries), 0);
    fail_times(t, "192.0.2.1", alice, 10, 1);
    assert_int_equal(ask(t, "192.0.2.1", alice, 1), THROTTLE_REFUSE);
    throttle_destroy(&t);
}

static void a_block_begins_once(void **state)
{
    (void)state;
    struct throttle *t = throttle_create();
    struct throttle_try tries[10];
    int64_t before = metric_read(&auth_blocks);
    for (int i = 0; i < 10; i++) {
        tries[i] = try_of("192.0.2.1", alice);
        begin(t, &tries[i], 1);
    }
    for (int i = 0; i < 10; i++)
        throttle_failed(t, &tries[i], 1);
    assert_int_equal(metric_read(&auth_blocks), before + 1);
    throttle_destroy(&t);
}

static void forgets_after_the_window(void **state)
{
    (void)state;
    struct throttle *t = throttle_create();
    fail_times(t, "192.0.2.1", alice, 9, 1);
    fail_times(t, "192.0.2.1", alice, 9, 1 + 60 * (uint64_t)SECOND);
    assert_int_equal(ask(t, "192.0.2.1", alice, 61 * (uint64_t)SECOND), THROTTLE_GO);
    fail_times(t, "192.0.2.1", alice, 1, 61 * (uint64_t)SECOND);
    assert_int_equal(ask(t, "192.0.2.1", alice, 61 * (uint64_t)SECOND), THROTTLE_REFUSE);
    throttle_destroy(&t);
}

static void starts_again_after_success(void **state)
{
    (void)state;
    struct throttle *t = throttle_create();
    fail_times(t, "192.0.2.1", alice, 9, 1);
    pass(t, "192.0.2.1", alice, 1);
    fail_times(t, "192.0.2.1", alice, 9, 2);
    assert_int_equal(ask(t, "192.0.2.1", alice, 2), THROTTLE_GO);
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
    assert_int_equal(ask(t, "192.0.2.1", alice, 1), THROTTLE_REFUSE);
    fail_times(t, "2001:db8::1", nobody, 1000, 1);
    assert_int_equal(ask(t, "2001:db8::1", nobody, 1), THROTTLE_GO);
    pass(t, "192.0.2.2", alice, 1);
    struct throttle_try again = try_of("192.0.2.1", alice); /* one more in this window */
    uint32_t wait_ms;
    assert_int_equal(take(t, &again, 1 + 5 * SECOND, &wait_ms), OK);
    assert_int_equal(wait_ms, 1000);
    throttle_failed(t, &again, 1 + 5 * SECOND);
    assert_int_equal(ask(t, "192.0.2.1", alice, 1 + 5 * SECOND), THROTTLE_REFUSE);
    setting_reset(&auth_failures_per_account);
    setting_reset(&auth_failures_per_address);
    setting_reset(&auth_block_time);
    throttle_destroy(&t);
}

/* A blocked address is not forgotten by failing elsewhere in great numbers. */
static void stays_bounded(void **state)
{
    (void)state;
    struct throttle *t = throttle_create();
    struct sockaddr unix_peer = { .sa_family = AF_UNIX };
    fail_times(t, "192.0.2.1", alice, 10, 1);
    fail_times(t, "192.0.2.1", bob, 1, 1);
    for (int i = 0; i < 2 * THROTTLE_ENTRIES_MAX; i++) { /* checks its bound itself */
        char name[32];
        struct throttle_try try;
        slice jid = { name, (size_t)snprintf(name, sizeof name, "u%d@a.b", i) };
        throttle_try_init(&try, &unix_peer, jid, NULL);
        begin(t, &try, 2);
        throttle_failed(t, &try, 2);
    }
    assert_int_equal(ask(t, "192.0.2.1", alice, 2), THROTTLE_REFUSE);
    assert_in_range(metric_read(&auth_throttle_entries), 1, 3 * THROTTLE_ENTRIES_MAX);
    throttle_destroy(&t);
    assert_int_equal(metric_read(&auth_throttle_entries), 0);
}

/* Those who log in from many places push out nobody else's. */
static void remembers_where_an_account_logged_in(void **state)
{
    (void)state;
    struct throttle *t = throttle_create();
    pass(t, "192.0.2.1", alice, 1);
    for (int i = 0; i < 10000; i++) {
        char from[32];
        snprintf(from, sizeof from, "10.%d.%d.1", i / 250, i % 250);
        pass(t, from, bob, 1);
    }
    struct throttle_try try = try_of("192.0.2.1", alice);
    throttle_ask(t, &try, 1);
    assert_int_equal(try.trust, TRUST_ADDRESS);
    try = try_of("192.0.2.2", alice);
    throttle_ask(t, &try, 1);
    assert_int_equal(try.trust, TRUST_NONE);
    throttle_destroy(&t);
}

static void knows_near_addresses(void **state)
{
    (void)state;
    struct throttle_try try = try_of("192.0.2.1", alice);
    assert_true(throttle_is_near(&try, address("192.0.2.1")));
    assert_false(throttle_is_near(&try, address("192.0.2.2")));
    try = try_of("2001:db8::1", alice);
    assert_true(throttle_is_near(&try, address("2001:db8::2")));
    assert_false(throttle_is_near(&try, address("2001:db8:0:1::1")));
    struct sockaddr none = { .sa_family = AF_UNSPEC };
    assert_false(throttle_is_near(&try, &none));
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
    auth_count(SASL_SCRAM_SHA_1_PLUS, AUTH_OK);
    auth_count(SASL_SCRAM_SHA_512, AUTH_FAILED);
    auth_count(SASL_PLAIN, AUTH_OK);
    auth_count(SASL_PLAIN, AUTH_OK);
    static const int64_t expected[] = { 1, 0, 0, 1, 2, 0 };
    for (unsigned i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_int_equal(metric_read(auth_metrics[i]), expected[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_an_account_at_an_address),
        cmocka_unit_test(never_refuses_an_account_everywhere),
        cmocka_unit_test(slows_down_more_and_more),
        cmocka_unit_test(a_crowd_gets_no_more_guesses_than_a_row),
        cmocka_unit_test(few_addresses_do_not_fill_the_queue),
        cmocka_unit_test(counts_trusted_logins_too),
        cmocka_unit_test(refuses_an_address_for_a_time),
        cmocka_unit_test(counts_ipv6_by_network),
        cmocka_unit_test(counts_attempts_under_way),
        cmocka_unit_test(a_block_begins_once),
        cmocka_unit_test(forgets_after_the_window),
        cmocka_unit_test(starts_again_after_success),
        cmocka_unit_test(obeys_its_settings),
        cmocka_unit_test(stays_bounded),
        cmocka_unit_test(remembers_where_an_account_logged_in),
        cmocka_unit_test(knows_near_addresses),
        cmocka_unit_test(counts_logins),
    };
    return cmocka_run_group_tests_name("throttle", tests, setup, NULL);
}
