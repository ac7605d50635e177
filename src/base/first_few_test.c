#include "base/arena.h"
#include "base/first_few.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { MANY = 1000 };

static struct arena *arena;
static char text[MANY][8];

/* "k0000" to "k0999": 7 has no divisor in common with MANY, so each comes once. */
static slice key_at(uint32_t i)
{
    uint32_t n = i * 7 % MANY;
    snprintf(text[n], sizeof text[n], "k%04u", n);
    return slice_of(text[n]);
}

static int begin(void **state)
{
    (void)state;
    arena = arena_create(0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_destroy(&arena);
    return 0;
}

static void walk(struct first_few *f, slice after, uint32_t most)
{
    first_few_init(f, arena, after, most);
    for (uint32_t i = 0; i < MANY; i++) {
        slice key = key_at(i);
        first_few_add(f, key, key.ptr);
        assert_true(f->count <= most && f->room <= most);
    }
    first_few_sort(f);
}

static void they_are_in_order_up_to_any_limit(void **state)
{
    (void)state;
    struct first_few f;
    for (uint32_t most = 1; most <= MANY + 1; most++) {
        walk(&f, SLICE(""), most);
        assert_int_equal(f.count, most < MANY ? most : MANY);
        for (uint32_t i = 0; i < f.count; i++) {
            assert_ptr_equal(f.item[i].of, text[i]);
            assert_ptr_equal(f.item[i].key.ptr, text[i]);
        }
    }
}

static void pages_behind_each_other_have_each_once(void **state)
{
    (void)state;
    struct first_few f;
    slice after = SLICE("");
    uint32_t n = 0;
    for (walk(&f, after, 33); f.count > 0; walk(&f, after, 33)) {
        for (uint32_t i = 0; i < f.count; i++)
            assert_ptr_equal(f.item[i].of, text[n++]);
        after = f.item[f.count - 1].key;
    }
    assert_int_equal(n, MANY);
}

static void a_cursor_between_keys_and_behind_all(void **state)
{
    (void)state;
    struct first_few f;
    walk(&f, SLICE("k0998x"), 5);
    assert_int_equal(f.count, 1);
    assert_ptr_equal(f.item[0].of, text[MANY - 1]);
    walk(&f, SLICE("k0999"), 5);
    assert_int_equal(f.count, 0);
}

static void same_keys_are_kept_as_long_as_there_is_room(void **state)
{
    (void)state;
    struct first_few f;
    first_few_init(&f, arena, SLICE(""), 4);
    static const char *const keys[] = { "b", "a", "b", "a", "c", "b", "a" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        first_few_add(&f, slice_of(keys[i]), &keys[i]);
    first_few_sort(&f);
    assert_int_equal(f.count, 4);
    for (uint32_t i = 0; i < 4; i++)
        assert_true(slice_is(f.item[i].key, i < 3 ? "a" : "b"));
    for (uint32_t i = 1; i < 4; i++)
        for (uint32_t j = 0; j < i; j++)
            assert_ptr_not_equal(f.item[i].of, f.item[j].of);
}

static void nothing_has_nothing(void **state)
{
    (void)state;
    struct first_few f;
    first_few_init(&f, arena, SLICE(""), 4);
    first_few_sort(&f);
    assert_int_equal(f.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(they_are_in_order_up_to_any_limit, begin, end),
        cmocka_unit_test_setup_teardown(pages_behind_each_other_have_each_once, begin, end),
        cmocka_unit_test_setup_teardown(a_cursor_between_keys_and_behind_all, begin, end),
        cmocka_unit_test_setup_teardown(same_keys_are_kept_as_long_as_there_is_room, begin, end),
        cmocka_unit_test_setup_teardown(nothing_has_nothing, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
