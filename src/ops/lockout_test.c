#include "ops/lockout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { S = 1000000 };

static int setup(void **state)
{
    (void)state;
    setting_register(&lockout_failures);
    setting_register(&lockout_window);
    setting_register(&lockout_time);
    return 0;
}

static void guess(slice name, unsigned times, uint64_t now_us)
{
    for (unsigned i = 0; i < times; i++) {
        assert_true(lockout_take(name, now_us));
        lockout_failed(name, now_us);
    }
}

static void test_refused_and_again(void **state)
{
    slice name = SLICE("a");
    uint64_t now_us = 100 * S;
    (void)state;
    guess(name, 4, now_us);
    assert_true(lockout_take(name, now_us));
    assert_false(lockout_is(name, now_us));
    assert_true(lockout_failed(name, now_us));
    assert_true(lockout_is(name, now_us));
    assert_false(lockout_take(name, now_us));
    assert_false(lockout_take(name, now_us + 899 * (uint64_t)S));
    guess(name, 4, now_us + 900 * (uint64_t)S); /* the time is over: from the beginning */
    assert_false(lockout_is(name, now_us + 900 * (uint64_t)S));
}

static void test_old_failures_do_not_count(void **state)
{
    slice name = SLICE("b");
    (void)state;
    guess(name, 4, 1 * S);
    guess(name, 4, 901 * (uint64_t)S);
    assert_false(lockout_is(name, 901 * (uint64_t)S));
}

static void test_parallel_attempts_count_before_they_end(void **state)
{
    slice name = SLICE("c");
    (void)state;
    for (unsigned i = 0; i < 5; i++)
        assert_true(lockout_take(name, S));
    assert_false(lockout_take(name, S));
    lockout_void(name); /* one was none */
    assert_true(lockout_take(name, S));
    assert_false(lockout_take(name, S));
}

static void test_a_login_clears_them(void **state)
{
    slice name = SLICE("d");
    (void)state;
    guess(name, 4, S);
    assert_true(lockout_take(name, S));
    lockout_passed(name);
    guess(name, 4, S);
    assert_false(lockout_is(name, S));
}

static void test_unlocked_by_hand(void **state)
{
    slice name = SLICE("e");
    (void)state;
    assert_false(lockout_end(name, S));
    guess(name, 5, S);
    assert_true(lockout_end(name, S));
    assert_false(lockout_end(name, S));
    assert_true(lockout_take(name, S));
}

/* Many other names do not free a refused one, as long as one of its group is not refused. */
static void test_other_names_give_way_first(void **state)
{
    slice name = SLICE("f");
    char other[16];
    (void)state;
    guess(name, 5, S);
    for (unsigned i = 0; i < 3 * LOCKOUT_NAMES_MAX; i++) {
        snprintf(other, sizeof other, "n%u", i);
        assert_true(lockout_take(slice_of(other), 2 * S));
    }
    assert_true(lockout_is(name, 3 * S));
}

/* Nor do they clear the failures of one that is not refused yet. */
static void test_fewer_failures_give_way_first(void **state)
{
    slice name = SLICE("g");
    char other[16];
    (void)state;
    guess(name, 4, 2000 * (uint64_t)S);
    for (unsigned i = 0; i < 3 * LOCKOUT_NAMES_MAX; i++) {
        snprintf(other, sizeof other, "m%u", i);
        assert_true(lockout_take(slice_of(other), 2001 * (uint64_t)S));
    }
    assert_true(lockout_take(name, 2002 * (uint64_t)S));
    assert_true(lockout_failed(name, 2002 * (uint64_t)S));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_and_again),
        cmocka_unit_test(test_old_failures_do_not_count),
        cmocka_unit_test(test_parallel_attempts_count_before_they_end),
        cmocka_unit_test(test_a_login_clears_them),
        cmocka_unit_test(test_unlocked_by_hand),
        cmocka_unit_test(test_other_names_give_way_first),
        cmocka_unit_test(test_fewer_failures_give_way_first),
    };
    return cmocka_run_group_tests_name("lockout", tests, setup, NULL);
}
