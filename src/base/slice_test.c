#include "base/arena.h"
#include "base/mem.h"
#include "base/slice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void cut_takes_the_first_separator(void **state)
{
    (void)state;
    slice head, tail;
    assert_true(slice_cut(SLICE("a@b@c"), '@', &head, &tail));
    assert_true(slice_is(head, "a"));
    assert_true(slice_is(tail, "b@c"));
    assert_true(slice_cut(SLICE("@"), '@', &head, &tail));
    assert_int_equal(head.len + tail.len, 0);
    assert_false(slice_cut(SLICE("abc"), '@', &head, &tail));
    assert_true(slice_is(head, "abc"));
    assert_int_equal(tail.len, 0);
    assert_false(slice_cut((slice){ 0 }, '@', &head, &tail));
}

static void cut_may_write_over_its_input(void **state)
{
    (void)state;
    slice rest = SLICE("a,bb,ccc"), head;
    size_t total = 0, count = 0;
    for (bool more = true; more; count++) {
        more = slice_cut(rest, ',', &head, &rest);
        total += head.len;
    }
    assert_int_equal(count, 3);
    assert_int_equal(total, 6);
}

static void numbers_are_whole_and_in_range(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } rows[] = {
        { "0", true, 0 },
        { "-0", true, 0 },
        { "007", true, 7 },
        { "-42", true, -42 },
        { "9223372036854775807", true, INT64_MAX },
        { "-9223372036854775808", true, INT64_MIN },
        { "9223372036854775808", false, 0 },
        { "-9223372036854775809", false, 0 },
        { "99999999999999999999999", false, 0 },
        { "", false, 0 },
        { "-", false, 0 },
        { "+1", false, 0 },
        { " 1", false, 0 },
        { "1 ", false, 0 },
        { "1x", false, 0 },
        { "--1", false, 0 },
        { "0x10", false, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t value = 12345;
        assert_int_equal(slice_int(slice_of(rows[i].text), &value), rows[i].ok);
        assert_int_equal(value, rows[i].ok ? rows[i].value : 12345);
    }
}

static void comparisons(void **state)
{
    (void)state;
    assert_true(slice_eq((slice){ 0 }, SLICE("")));
    assert_false(slice_eq(SLICE("a"), SLICE("ab")));
    assert_true(slice_starts(SLICE("abc"), SLICE("ab")));
    assert_true(slice_starts((slice){ 0 }, (slice){ 0 }));
    assert_false(slice_starts(SLICE("a"), SLICE("ab")));
    assert_true(slice_eq_nocase(SLICE("Ab-Z[1"), SLICE("aB-z[1")));
    assert_false(slice_eq_nocase(SLICE("@"), SLICE("`"))); /* 0x20 apart, but no letters */
    assert_false(slice_eq_nocase(SLICE("a"), SLICE("ab")));
}

static void from_never_leaves_the_slice(void **state)
{
    (void)state;
    slice s = SLICE("abc");
    assert_true(slice_is(slice_from(s, 1), "bc"));
    assert_ptr_equal(slice_from(s, 3).ptr, s.ptr + 3);
    assert_ptr_equal(slice_from(s, 99).ptr, s.ptr + 3);
    assert_int_equal(slice_from(s, 99).len, 0);
    assert_null(slice_from((slice){ 0 }, 5).ptr);
}

static void copies_are_terminated(void **state)
{
    (void)state;
    struct arena *arena = arena_create(0);
    slice copy = slice_dup(arena, (slice){ "abcdef", 3 });
    assert_int_equal(copy.len, 3);
    assert_string_equal(copy.ptr, "abc");
    assert_null(slice_dup(arena, (slice){ 0 }).ptr);
    assert_non_null(slice_dup(arena, SLICE("")).ptr);
    assert_string_equal(slice_cstr(arena, (slice){ 0 }), "");
    arena_destroy(&arena);
}

static void order_is_that_of_bytes(void **state)
{
    (void)state;
    assert_int_equal(slice_compare((slice){ 0 }, SLICE("")), 0);
    assert_int_equal(slice_compare(SLICE("ab"), SLICE("ab")), 0);
    assert_true(slice_compare(SLICE(""), SLICE("a")) < 0);
    assert_true(slice_compare(SLICE("a"), SLICE("ab")) < 0);
    assert_true(slice_compare(SLICE("b"), SLICE("ab")) > 0);
    assert_true(slice_compare(SLICE("\xc3"), SLICE("z")) > 0);
}

static void words_are_between_spaces(void **state)
{
    (void)state;
    slice list = SLICE("  a bc   d "), word;
    assert_true(slice_word(&list, &word) && slice_is(word, "a"));
    assert_true(slice_word(&list, &word) && slice_is(word, "bc"));
    assert_true(slice_word(&list, &word) && slice_is(word, "d"));
    assert_false(slice_word(&list, &word));
    assert_false(slice_word(&list, &word));
    list = (slice){ 0 };
    assert_false(slice_word(&list, &word));
}

static void an_end_is_cut_down_to_the_least(void **state)
{
    (void)state;
    assert_true(slice_is(slice_without_end(SLICE("/a/b//"), '/', 1), "/a/b"));
    assert_true(slice_is(slice_without_end(SLICE("a"), '/', 1), "a"));
    assert_true(slice_is(slice_without_end(SLICE("///"), '/', 1), "/"));
    assert_true(slice_is(slice_without_end(SLICE("///"), '/', 0), ""));
    assert_int_equal(slice_without_end((slice){ 0 }, '/', 1).len, 0);
}

static void laid_out_one_behind_the_other(void **state)
{
    (void)state;
    char block[6] = "......", *at = block;
    slice a = slice_lay(&at, SLICE("ab")), none = slice_lay(&at, (slice){ 0 }),
          c = slice_lay(&at, SLICE("c"));
    assert_memory_equal(block, "abc...", 6);
    assert_ptr_equal(a.ptr, block);
    assert_int_equal(a.len, 2);
    assert_ptr_equal(none.ptr, c.ptr);
    assert_int_equal(none.len, 0);
    assert_ptr_equal(at, block + 3);
}

static void a_box_outlives_its_source(void **state)
{
    (void)state;
    char text[] = "abc";
    slice *box = slice_box(slice_of(text)), *none = slice_box((slice){ 0 });
    memset(text, 'x', 3);
    assert_true(slice_is(*box, "abc"));
    assert_int_equal(none->len, 0);
    mem_free(&box);
    mem_free(&none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_takes_the_first_separator),
        cmocka_unit_test(cut_may_write_over_its_input),
        cmocka_unit_test(numbers_are_whole_and_in_range),
        cmocka_unit_test(comparisons),
        cmocka_unit_test(from_never_leaves_the_slice),
        cmocka_unit_test(copies_are_terminated),
        cmocka_unit_test(order_is_that_of_bytes),
        cmocka_unit_test(words_are_between_spaces),
        cmocka_unit_test(an_end_is_cut_down_to_the_least),
        cmocka_unit_test(laid_out_one_behind_the_other),
        cmocka_unit_test(a_box_outlives_its_source),
    };
    return cmocka_run_group_tests_name("slice", tests, NULL, NULL);
}
