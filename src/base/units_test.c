#include "base/units.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void check(const char *text, const struct unit *units, int64_t alone,
                  enum units_result result, int64_t value)
{
    int64_t found = -1;
    enum units_result r = units_parse(slice_of(text), units, alone, &found);
    if (r != result || (r == UNITS_OK && found != value))
        fail_msg("\"%s\": result %d, value %lld", text, (int)r, (long long)found);
}

static void times(void **state)
{
    (void)state;
    check("90s", units_time, 0, UNITS_OK, 90000);
    check("90 S", units_time, 0, UNITS_OK, 90000);
    check("1500ms", units_time, 0, UNITS_OK, 1500);
    check("2 minutes", units_time, 0, UNITS_OK, 120000);
    check("1h30min", units_time, 0, UNITS_OK, 5400000);
    check("1 h 30 m", units_time, 0, UNITS_OK, 5400000);
    check("30 days", units_time, 0, UNITS_OK, 30LL * 86400000);
    check("2w", units_time, 0, UNITS_OK, 14LL * 86400000);
    check("0", units_time, 0, UNITS_OK, 0);
    check("90", units_time, 1000, UNITS_OK, 90000);
    check("90", units_time, 0, UNITS_MISSING, 0);
    check("9 parsecs", units_time, 1000, UNITS_UNKNOWN, 0);
    check("10MB", units_time, 0, UNITS_UNKNOWN, 0);
    check("", units_time, 1, UNITS_SYNTAX, 0);
    check("s", units_time, 1, UNITS_SYNTAX, 0);
    check("-1s", units_time, 1, UNITS_SYNTAX, 0);
    check("1.5h", units_time, 1, UNITS_OK, 5400000);
    check("0.25d 1.5s", units_time, 1, UNITS_OK, 21601500);
    check("1.5", units_time, 1000, UNITS_SYNTAX, 0);
    check("1.h", units_time, 1, UNITS_SYNTAX, 0);
    check(".5h", units_time, 1, UNITS_SYNTAX, 0);
    check("1.5.5h", units_time, 1, UNITS_SYNTAX, 0);
    check("1.0000001h", units_time, 1, UNITS_SYNTAX, 0);
    check("1.5GB", units_bytes, 1, UNITS_OK, 1500000000);
    check("1.999999TiB", units_bytes, 1, UNITS_OK, 2199022156040);
    check("1h 30", units_time, 1, UNITS_SYNTAX, 0);
    check("1 2", units_time, 1, UNITS_SYNTAX, 0);
    check("9223372036854775807d", units_time, 1, UNITS_OVERFLOW, 0);
    check("9223372036854775808s", units_time, 1, UNITS_OVERFLOW, 0);
    check("9223372036854775807ms 1ms", units_time, 1, UNITS_OVERFLOW, 0);
}

static void sizes(void **state)
{
    (void)state;
    check("10MB", units_bytes, 1, UNITS_OK, 10000000);
    check("10 MiB", units_bytes, 1, UNITS_OK, 10485760);
    check("10M", units_bytes, 1, UNITS_OK, 10485760);
    check("64k", units_bytes, 1, UNITS_OK, 65536);
    check("64kb", units_bytes, 1, UNITS_OK, 64000);
    check("1000", units_bytes, 1, UNITS_OK, 1000);
    check("4GiB", units_bytes, 1, UNITS_OK, 4294967296);
    check("4TiB", units_bytes, 1, UNITS_OK, 4398046511104);
    check("2T", units_bytes, 1, UNITS_OK, 2199023255552);
    check("3 TB", units_bytes, 1, UNITS_OK, 3000000000000);
    check("4PiB", units_bytes, 1, UNITS_UNKNOWN, 0);
}

static void the_best_unit(void **state)
{
    (void)state;
    assert_string_equal(units_best(units_bytes, 10000000)->name, "MB");
    assert_string_equal(units_best(units_bytes, 10485760)->name, "MiB");
    assert_string_equal(units_best(units_bytes, 1024000)->name, "KiB");
    assert_string_equal(units_best(units_bytes, 1001)->name, "B");
    assert_string_equal(units_best(units_time, 90000)->name, "s");
    assert_string_equal(units_best(units_time, 60000)->name, "min");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times),
        cmocka_unit_test(sizes),
        cmocka_unit_test(the_best_unit),
    };
    return cmocka_run_group_tests_name("units", tests, NULL, NULL);
}
