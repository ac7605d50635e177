#include "base/clock.h"
#include "xmpp/datetime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int64_t parse(const char *text)
{
    int64_t us = -7;
    if (!datetime_parse(slice_of(text), &us))
        fail_msg("refused: %s", text);
    return us;
}

static void reads_what_the_xep_shows(void **state)
{
    (void)state;
    assert_int_equal(parse("1970-01-01T00:00:00Z"), 0);
    assert_int_equal(parse("1969-07-21T02:56:15Z"), -14159025000000);
    assert_int_equal(parse("1969-07-20T21:56:15-05:00"), -14159025000000);
    assert_int_equal(parse("2000-02-29T23:59:59.5Z"), 951868799500000);
    assert_int_equal(parse("2010-06-07T02:00:00.123456789+02:00"), 1275868800123456);
    assert_int_equal(parse("0001-01-01T00:00:00Z"), -62135596800000000);
}

static void reads_what_the_clock_writes(void **state)
{
    (void)state;
    static const uint64_t times[] = {
        1, 951782400000000, 951868800000000, 1735689599999999, 4107542400000000, 253402300799999999
    };
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        char stamp[CLOCK_STAMP_LEN];
        clock_stamp(stamp, times[i]);
        assert_int_equal(parse(stamp), times[i]);
    }
}

static void refuses_all_else(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "2010",
        "2010-06-07",
        "2010-06-07T00:00:00",
        "2010-06-07 00:00:00Z",
        "20100607T00:00:00",
        "2010-13-07T00:00:00Z",
        "2010-00-07T00:00:00Z",
        "2010-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2010-06-31T00:00:00Z",
        "2010-06-07T24:00:00Z",
        "2010-06-07T00:60:00Z",
        "2010-06-07T00:00:60Z",
        "2010-06-07T00:00:00.Z",
        "2010-06-07T00:00:00.1",
        "2010-06-07T00:00:00+2:00",
        "2010-06-07T00:00:00+24:00",
        "2010-06-07T00:00:00+02:60",
        "2010-06-07T00:00:00Zz",
        "-010-06-07T00:00:00Z",
        " 2010-06-07T00:00:00Z",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        int64_t us;
        if (datetime_parse(slice_of(wrong[i]), &us))
            fail_msg("taken: %s", wrong[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_the_xep_shows),
        cmocka_unit_test(reads_what_the_clock_writes),
        cmocka_unit_test(refuses_all_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
