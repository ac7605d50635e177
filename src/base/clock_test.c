#include "base/clock.h"
#include <string.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void check_stamp(uint64_t us, const char *expected)
{
    char stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, us);
    assert_string_equal(stamp, expected);
}

static void known_stamps(void **state)
{
    (void)state;
    check_stamp(0, "1970-01-01T00:00:00.000000Z");
    check_stamp(951782399999999, "2000-02-28T23:59:59.999999Z");
    check_stamp(951782400000000, "2000-02-29T00:00:00.000000Z");
    check_stamp(951868800000001, "2000-03-01T00:00:00.000001Z");
    check_stamp(1795166136123456, "2026-11-20T09:15:36.123456Z");
    check_stamp(4107542400000000, "2100-03-01T00:00:00.000000Z");
    check_stamp(253402300799000000, "9999-12-31T23:59:59.000000Z");
}

static void agrees_with_the_library(void **state)
{
    (void)state;
    for (time_t t = 0; t < (time_t)400 * 366 * 86400; t += 86399 * 3) {
        struct tm tm;
        char expected[CLOCK_STAMP_LEN];
        gmtime_r(&t, &tm);
        size_t len = strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S", &tm);
        memcpy(expected + len, ".000000Z", 9);
        check_stamp((uint64_t)t * 1000000, expected);
    }
}

static void monotonic_time_never_goes_back(void **state)
{
    (void)state;
    uint64_t last = clock_mono_us();
    for (int i = 0; i < 10000; i++) {
        uint64_t now = clock_mono_us();
        assert_true(now >= last);
        last = now;
    }
    assert_true(clock_wall_us() > 1700000000000000); /* microseconds, after 2023 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_stamps),
        cmocka_unit_test(agrees_with_the_library),
        cmocka_unit_test(monotonic_time_never_goes_back),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
