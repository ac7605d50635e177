#include "base/mem.h"
#include "io/loop_private.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Time is moved by the tests: the wheel looks at loop->now_us alone. */

struct probe {
    struct timer timer;
    uint64_t due_us, fired_us;
    unsigned count;
    struct probe *other;
};

static struct loop *loop;

static int set_up(void **state)
{
    (void)state;
    loop = loop_create(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop_destroy(&loop);
    return 0;
}

static void on_fire(struct timer *t, struct loop *l)
{
    struct probe *p = CONTAINER_OF(t, struct probe, timer);

    p->fired_us = loop_now_us(l);
    p->count++;
}

static void probe_set(struct probe *p, uint64_t delay_ms)
{
    p->timer.fn = on_fire;
    p->due_us = loop->now_us + delay_ms * 1000;
    timer_set(loop, &p->timer, delay_ms);
}

static void pass(uint64_t ms)
{
    loop->now_us += ms * 1000;
    wheel_advance(loop, &loop->wheel);
}

/* Sleeps as the loop would, until no timer is set. */
static unsigned pass_all(void)
{
    unsigned sleeps = 0;
    int ms;
    while ((ms = wheel_wait_ms(&loop->wheel, loop->now_us)) >= 0) {
        pass((uint64_t)ms);
        sleeps++;
    }
    return sleeps;
}

static void test_never_early_and_soon_enough(void **state)
{
    enum { COUNT = 3000 };
    static struct probe p[COUNT];
    uint64_t delay_ms = 0;
    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        probe_set(&p[i], delay_ms);
        delay_ms = delay_ms + delay_ms / 250 + i % 117; /* to about two weeks: beyond both wheels */
    }
    assert_true(delay_ms > UINT64_C(10) * 86400 * 1000);
    pass_all();
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(p[i].count, 1);
        assert_false(timer_is_set(&p[i].timer));
        assert_in_range(p[i].fired_us, p[i].due_us, p[i].due_us + 200000);
    }
}

static void test_sleeps_only_for_timers(void **state)
{
    struct probe p = { 0 };

    (void)state;
    assert_int_equal(wheel_wait_ms(&loop->wheel, loop->now_us), -1);
    probe_set(&p, 40000);
    assert_int_equal(pass_all(), 1); /* within the near wheel: exactly one sleep */
    assert_int_equal(p.count, 1);
    probe_set(&p, 3600 * 1000);
    assert_in_range(pass_all(), 1, 2);
    assert_int_equal(p.count, 2);
}

static void test_cancelled_do_not_wake(void **state)
{
    struct probe near = { 0 }, far = { 0 };

    (void)state;
    probe_set(&near, 1000);
    probe_set(&far, 1000000);
    timer_cancel(&near.timer);
    timer_cancel(&far.timer);
    timer_cancel(&far.timer);
    assert_int_equal(wheel_wait_ms(&loop->wheel, loop->now_us), -1);
    pass(2000000);
    assert_int_equal(near.count + far.count, 0);
}

static void test_setting_again_replaces(void **state)
{
    struct probe p = { 0 };

    (void)state;
    probe_set(&p, 500);
    probe_set(&p, 5000);
    pass(1000);
    assert_int_equal(p.count, 0);
    pass(4200);
    assert_int_equal(p.count, 1);
}

static void fire_and_cancel_other(struct timer *t, struct loop *l)
{
    struct probe *p = CONTAINER_OF(t, struct probe, timer);

    on_fire(t, l);
    timer_cancel(&p->other->timer);
    timer_set(l, t, 300);
}

static void test_callbacks_may_cancel_and_repeat(void **state)
{
    struct probe a = { 0 }, b = { 0 };

    (void)state;
    probe_set(&a, 1000);
    probe_set(&b, 1000); /* in the same slot, behind a */
    a.timer.fn = fire_and_cancel_other;
    a.other = &b;
    pass(1200);
    assert_int_equal(a.count, 1);
    assert_int_equal(b.count, 0);
    pass(10000); /* after a long sleep it fires late, but not many times at once */
    assert_true(a.count > 1);
    timer_cancel(&a.timer);
}

static void test_a_long_stall_fires_everything_once(void **state)
{
    struct probe p[4] = { 0 };
    static const uint64_t delays_ms[] = { 100, 51100, 51200, 4000000 };

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        probe_set(&p[i], delays_ms[i]);
    pass(5000000);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(p[i].count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_never_early_and_soon_enough, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sleeps_only_for_timers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cancelled_do_not_wake, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_setting_again_replaces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_callbacks_may_cancel_and_repeat, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_long_stall_fires_everything_once, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("io/timer", tests, NULL, NULL);
}
