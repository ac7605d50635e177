#include "base/clock.h"
#include "io/pace.h"
#include "io/test_bed.h"

enum { EVERY_US = 2000, MANY = 20 };

static struct loop *loop;
static struct pace pace;
static unsigned begun, rooms;

static void begin_what_may(struct pace *p)
{
    rooms++;
    while (begun < MANY && pace_take(p))
        begun++;
}

static int set_up(void **state)
{
    (void)state;
    loop = loop_create(0);
    begun = rooms = 0;
    pace_init(&pace, loop, EVERY_US, begin_what_may);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pace_end(&pace);
    loop_destroy(&loop);
    return 0;
}

static bool all_have_begun(void *arg)
{
    (void)arg;
    return begun == MANY;
}

static void test_some_begin_at_once_and_the_others_one_by_one(void **state)
{
    (void)state;
    uint64_t since_us = clock_mono_us();
    bed_ticks(loop, 1); /* its clock goes on here */
    begin_what_may(&pace);
    assert_int_equal(begun, PACE_AT_ONCE);
    assert_false(pace_take(&pace)); /* it would overtake those who wait */
    bed_run(loop, all_have_begun, NULL);
    assert_true(clock_mono_us() - since_us >= (MANY - PACE_AT_ONCE) * EVERY_US - EVERY_US);
    assert_true(rooms > 1);
}

static bool room_has_come(void *arg)
{
    (void)arg;
    return rooms > 0;
}

static void test_after_a_rest_some_begin_at_once_again(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        uint64_t since_us = clock_mono_us();
        bed_ticks(loop, 1);
        for (unsigned i = 0; i < PACE_AT_ONCE; i++)
            assert_true(pace_take(&pace));
        while (clock_mono_us() - since_us <= 2 * PACE_AT_ONCE * EVERY_US)
            ; /* nobody was refused, so no callback is waited for */
    }
    assert_int_equal(rooms, 0);
}

static void test_nothing_comes_after_its_end(void **state)
{
    (void)state;
    while (pace_take(&pace))
        ;
    pace_end(&pace);
    uint64_t since_us = clock_mono_us();
    while (clock_mono_us() - since_us <= 2 * EVERY_US)
        bed_ticks(loop, 1);
    assert_int_equal(rooms, 0);
    while (pace_take(&pace)) /* it can be used again */
        ;
    bed_run(loop, room_has_come, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_some_begin_at_once_and_the_others_one_by_one, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_after_a_rest_some_begin_at_once_again, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_comes_after_its_end, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
