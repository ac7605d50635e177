#include "base/param.h"
#include "ext/federation/federation_rate.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h> /* needs the three above */

enum { S = 1000000 };
static const uint64_t begin = 1000ull * S;

static int setup(void **s)
{
    *s = federation_rates_create();
    return 0;
}
static int teardown(void **s)
{
    federation_rates_destroy((struct federation_rates **)s);
    return 0;
}

static void each_domain_has_its_own_allowance(void **s)
{
    struct federation_rates *r = *s;
    slice a = SLICE("a.test"), b = SLICE("b.test");
    for (int i = 0; i < 3; i++)
        assert_int_equal(federation_rate_stanza(r, a, 3, begin), 0);
    assert_true(federation_rate_stanza(r, a, 3, begin) > 0);
    assert_int_equal(federation_rate_stanza(r, b, 3, begin), 0);
    assert_true(federation_rate_request(r, a, 1, begin));
    assert_false(federation_rate_request(r, a, 1, begin));
    assert_int_equal(federation_rate_stanza(r, a, PARAM_NONE, begin), 0);
}

/* Streams that read one each and wait as they are told keep to the rate together. */
static void streams_of_a_domain_share_its_rate(void **s)
{
    enum { STREAMS = 20, RATE = 10, SECONDS = 20 };
    struct federation_rates *r = *s;
    uint64_t free_us[STREAMS] = { 0 };
    int read = 0;
    for (uint64_t now = begin; now < begin + (uint64_t)SECONDS * S; now += 10000) {
        for (int i = 0; i < STREAMS; i++) {
            if (now < free_us[i])
                continue;
            free_us[i] = now + federation_rate_stanza(r, SLICE("a.test"), RATE, now);
            read++;
        }
    }
    assert_in_range(read, RATE * SECONDS / 2, RATE * (SECONDS + 1) + STREAMS);
}

static void no_more_is_owed_than_is_paid_in_half_a_minute(void **s)
{
    struct federation_rates *r = *s;
    for (int i = 0; i < 1000; i++)
        assert_true(federation_rate_stanza(r, SLICE("a.test"), 1, begin) <= 30ull * S);
    assert_true(federation_rate_stanza(r, SLICE("a.test"), 1, begin + 60ull * S) == 0);
}

static void it_comes_back_with_time_and_not_beyond(void **s)
{
    struct federation_rates *r = *s;
    slice a = SLICE("a.test");
    for (int i = 0; i < 60; i++)
        assert_true(federation_rate_request(r, a, 60, begin));
    assert_false(federation_rate_request(r, a, 60, begin + S / 2));
    assert_true(federation_rate_request(r, a, 60, begin + 2 * S));
    int taken = 0;
    for (int i = 0; i < 100; i++)
        taken += federation_rate_request(r, a, 60, begin + 3600ull * S);
    assert_int_equal(taken, 60);
    for (int i = 0; i < 3; i++) /* the clock steps back: nothing is given */
        assert_false(federation_rate_request(r, a, 60, begin));
}

static bool comes(struct federation_rates *r, const char *theirs, uint64_t now)
{
    const struct federation_pair p = { SLICE("us@our.test"), slice_of(theirs) };
    return federation_rate_stranger(r, &p, 2, now);
}

static void strangers_are_counted_once(void **s)
{
    struct federation_rates *r = *s;
    const struct federation_pair known = { SLICE("us@our.test"), SLICE("d@a.test") };
    assert_true(comes(r, "a@a.test", begin) && comes(r, "a@a.test", begin));
    assert_true(comes(r, "b@a.test", begin));
    assert_false(comes(r, "c@a.test", begin));
    assert_true(comes(r, "a@a.test", begin + S) && comes(r, "x@b.test", begin));
    federation_rate_met(r, &known, begin);
    assert_true(comes(r, "d@a.test", begin));
    assert_false(comes(r, "c@a.test", begin));
    assert_true(comes(r, "c@a.test", begin + 1801ull * S));
}

/* What a stranger says does not make the user have written, nor undo it. */
static void only_who_was_written_to_is_met(void **s)
{
    struct federation_rates *r = *s;
    const struct federation_pair p = { SLICE("us@our.test"), SLICE("a@a.test") };
    assert_true(comes(r, "a@a.test", begin) && comes(r, "a@a.test", begin));
    assert_false(federation_rate_is_met(r, &p));
    federation_rate_met(r, &p, begin);
    assert_true(federation_rate_is_met(r, &p) && comes(r, "a@a.test", begin));
    assert_true(federation_rate_is_met(r, &p));
}

/* Requests and stanzas that came under the old limit count towards the new one. */
static void another_limit_applies_at_once(void **s)
{
    struct federation_rates *r = *s;
    slice a = SLICE("a.test");
    assert_true(federation_rate_request(r, a, 2, begin) && federation_rate_request(r, a, 2, begin));
    assert_false(federation_rate_request(r, a, 2, begin));
    for (int i = 2; i < 5; i++)
        assert_true(federation_rate_request(r, a, 5, begin));
    assert_false(federation_rate_request(r, a, 5, begin));
    assert_false(federation_rate_request(r, a, 1, begin));
    assert_true(federation_rate_stanza(r, a, 1, begin) == 0);
    assert_true(federation_rate_stanza(r, a, 1, begin) > 0);
    assert_true(federation_rate_stanza(r, a, 10, begin) == 0);
}

static void the_tables_are_bounded(void **s)
{
    struct federation_rates *r = *s;
    char name[40];
    assert_true(federation_rate_request(r, SLICE("a.test"), 1, begin));
    /* Some 64 domains for each 4 places, whatever the key of the hash: with 16 it happened that
     * a.test kept its own. */
    for (int i = 0; i < 16 * FEDERATION_DOMAINS_MAX; i++) {
        int len = snprintf(name, sizeof name, "u@d%d.test", i);
        (void)federation_rate_request(r, (slice){ name + 2, (size_t)len - 2 }, 1,
                                      begin + (uint64_t)i);
        assert_true(comes(r, name, begin + (uint64_t)i));
    }
    assert_true(federation_rate_request(r, SLICE("a.test"), 1, begin + S)); /* it was forgotten */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_domain_has_its_own_allowance, setup, teardown),
        cmocka_unit_test_setup_teardown(streams_of_a_domain_share_its_rate, setup, teardown),
        cmocka_unit_test_setup_teardown(no_more_is_owed_than_is_paid_in_half_a_minute, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(it_comes_back_with_time_and_not_beyond, setup, teardown),
        cmocka_unit_test_setup_teardown(strangers_are_counted_once, setup, teardown),
        cmocka_unit_test_setup_teardown(only_who_was_written_to_is_met, setup, teardown),
        cmocka_unit_test_setup_teardown(another_limit_applies_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(the_tables_are_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
