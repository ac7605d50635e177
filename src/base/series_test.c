#include "base/series.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { SAMPLES = 5, SECOND = 1000000 };

static void add(struct series *s, unsigned at_s, int64_t first, int64_t second)
{
    series_add(s, (uint64_t)at_s * SECOND, (const int64_t[]){ first, second });
}

static size_t read_all(const struct series *s, unsigned which, unsigned step_s,
                       struct series_point out[SAMPLES])
{
    struct series_range all = { 0, UINT64_MAX, (uint64_t)step_s * SECOND };
    return series_read(s, which, &all, out, SAMPLES);
}

/* Against the plain list of what was added, of which only the newest SAMPLES are left. */
static void the_newest_rows_stay(void **state)
{
    struct series_point p[SAMPLES];
    struct series *s = series_create(2, SAMPLES);
    (void)state;
    size_t bytes = series_bytes(s);
    for (unsigned i = 1; i <= 23; i++) {
        add(s, i, (int64_t)i * 10, -(int64_t)i);
        size_t n = read_all(s, 0, 1, p);
        unsigned first = i < SAMPLES ? 1 : i - SAMPLES + 1;
        assert_int_equal(n, i - first + 1);
        for (unsigned k = 0; k < n; k++) {
            assert_int_equal(p[k].at_us, (uint64_t)(first + k) * SECOND);
            assert_int_equal(p[k].last, (int64_t)(first + k) * 10);
            assert_int_equal(p[k].count, 1);
        }
        assert_int_equal(read_all(s, 1, 1, p), n);
        assert_int_equal(p[n - 1].last, -(int64_t)i);
    }
    assert_int_equal(series_bytes(s), bytes);
    series_destroy(&s);
}

static void rows_of_one_step_are_merged(void **state)
{
    struct series_point p[SAMPLES];
    struct series *s = series_create(2, SAMPLES);
    (void)state;
    add(s, 10, 4, 0);
    add(s, 12, -3, 0);
    add(s, 19, 5, 0);
    add(s, 20, 7, 0);
    add(s, 45, 1, 0);
    assert_int_equal(read_all(s, 0, 10, p), 3);
    assert_int_equal(p[0].at_us, 10u * SECOND);
    assert_int_equal(p[0].count, 3);
    assert_int_equal(p[0].min, -3);
    assert_int_equal(p[0].max, 5);
    assert_int_equal(p[0].sum, 6);
    assert_int_equal(p[0].last, 5);
    assert_int_equal(p[1].min, 7);
    assert_int_equal(p[2].at_us, 40u * SECOND);
    series_destroy(&s);
}

static void a_range_and_a_maximum(void **state)
{
    struct series_point p[SAMPLES];
    struct series *s = series_create(2, SAMPLES);
    (void)state;
    struct series_range middle = { 2 * SECOND, 4 * SECOND, SECOND };
    struct series_range all = { 0, UINT64_MAX, SECOND };
    struct series_range behind = { 6 * SECOND, UINT64_MAX, SECOND };
    for (unsigned i = 1; i <= SAMPLES; i++)
        add(s, i, i, 0);
    assert_int_equal(series_read(s, 0, &middle, p, SAMPLES), 3);
    assert_int_equal(p[0].last, 2);
    assert_int_equal(p[2].last, 4);
    assert_int_equal(series_read(s, 0, &all, p, 2), 2);
    assert_int_equal(p[1].last, 2);
    assert_int_equal(series_read(s, 0, &behind, p, SAMPLES), 0);
    series_destroy(&s);
}

/* What was later than the clock says now is forgotten, and times go on rising. */
static void a_clock_that_is_set_back(void **state)
{
    struct series_point p[SAMPLES];
    struct series *s = series_create(2, SAMPLES);
    (void)state;
    for (unsigned i = 1; i <= 7; i++)
        add(s, i, i, 0);
    add(s, 5, 55, 0);
    assert_int_equal(read_all(s, 0, 1, p), 3);
    assert_int_equal(p[0].last, 3);
    assert_int_equal(p[2].last, 55);
    add(s, 1, 11, 0);
    assert_int_equal(read_all(s, 0, 1, p), 1);
    assert_int_equal(p[0].last, 11);
    series_destroy(&s);
    series_destroy(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_rows_stay),
        cmocka_unit_test(rows_of_one_step_are_merged),
        cmocka_unit_test(a_range_and_a_maximum),
        cmocka_unit_test(a_clock_that_is_set_back),
    };
    return cmocka_run_group_tests_name("series", tests, NULL, NULL);
}
