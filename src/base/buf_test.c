#include "base/buf.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void appends_in_order(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100000);
    assert_null(b.ptr);
    for (int i = 0; i < 10000; i++)
        buf_printf(&b, "%d,", i % 10);
    buf_lit(&b, "end");
    buf_add(&b, (slice){ 0 });
    assert_int_equal(b.len, 20003);
    assert_false(b.overflow);
    assert_true(slice_starts(buf_slice(&b), SLICE("0,1,2,3,")));
    assert_true(slice_is(slice_from(buf_slice(&b), 20000), "end"));
    buf_fini(&b);
    assert_null(b.ptr);
}

static void numbers_are_decimal(void **state)
{
    static const int64_t numbers[] = { 0, 7, -1, 10, 4294967296, INT64_MAX, INT64_MIN };
    (void)state;
    struct buf b, as_printed;
    buf_init(&b, 1000);
    buf_init(&as_printed, 1000);
    for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        buf_int(&b, numbers[i]);
        buf_lit(&b, ",");
        buf_printf(&as_printed, "%" PRId64 ",", numbers[i]);
    }
    assert_true(slice_eq(buf_slice(&b), buf_slice(&as_printed)));
    buf_fini(&b);
    buf_fini(&as_printed);
    buf_init(&b, 3);
    buf_int(&b, 1234);
    assert_true(b.overflow && b.len == 0);
    buf_fini(&b);
}

static void holds_exactly_its_maximum(void **state)
{
    (void)state;
    struct buf b;
    for (size_t max = 1; max < 200; max++) {
        buf_init(&b, max);
        for (size_t i = 0; i < max; i++)
            buf_append(&b, "x", 1);
        assert_false(b.overflow);
        assert_int_equal(b.len, max);
        buf_append(&b, "x", 1);
        assert_true(b.overflow);
        assert_int_equal(b.len, max);
        buf_fini(&b);
    }
}

static void printf_holds_exactly_its_maximum(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    buf_printf(&b, "%s", "12345");
    buf_printf(&b, "%s", "67890");
    assert_false(b.overflow);
    assert_true(slice_is(buf_slice(&b), "1234567890"));
    buf_printf(&b, "%s", "");
    assert_false(b.overflow);
    buf_printf(&b, "%s", "x");
    assert_true(b.overflow);
    assert_true(slice_is(buf_slice(&b), "1234567890"));
    buf_fini(&b);
}

static void overflow_lasts_until_cleared(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 8);
    buf_lit(&b, "1234");
    buf_lit(&b, "too long");
    assert_true(b.overflow);
    buf_lit(&b, "5"); /* would fit, but the text before it is missing */
    assert_null(buf_reserve(&b, 1));
    buf_printf(&b, "%d", 5);
    assert_true(slice_is(buf_slice(&b), "1234"));
    buf_consume(&b, 4);
    buf_lit(&b, "5");
    assert_int_equal(b.len, 0);
    buf_clear(&b);
    buf_lit(&b, "12345678");
    assert_false(b.overflow);
    assert_true(slice_is(buf_slice(&b), "12345678"));
    buf_fini(&b);
}

static void reserve_then_fill(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    char *room = buf_reserve(&b, 500);
    assert_non_null(room);
    memset(room, 'r', 500);
    b.len += 500;
    assert_non_null(buf_reserve(&b, 0));
    assert_non_null(buf_reserve(&b, 500));
    assert_null(buf_reserve(&b, 501));
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_int_equal(b.ptr[499], 'r');
    buf_fini(&b);
}

static void consume_drops_the_front(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    buf_consume(&b, 0);
    buf_lit(&b, "abcdef");
    buf_consume(&b, 2);
    assert_true(slice_is(buf_slice(&b), "cdef"));
    buf_consume(&b, 4);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_in_order),
        cmocka_unit_test(numbers_are_decimal),
        cmocka_unit_test(holds_exactly_its_maximum),
        cmocka_unit_test(printf_holds_exactly_its_maximum),
        cmocka_unit_test(overflow_lasts_until_cleared),
        cmocka_unit_test(reserve_then_fill),
        cmocka_unit_test(consume_drops_the_front),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
