/* What a list of parts is gathered into: for each member those that have it, in order, and slots.
 */
#include "muc/room/part.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static unsigned first_slot = 99, third_slot = 99, first_at = 99, second_at = 99;
static const struct affiliate_memory first_bytes = { 9, &first_at },
                                     second_bytes = { 8, &second_at };
static char heard[8];
static unsigned count;

static void hear(struct room *r, const struct room_said *said)
{
    (void)r;
    heard[count++] = said->kept ? 'k' : '-';
}

static void hear_twice(struct room *r, const struct room_said *said)
{
    hear(r, said);
    hear(r, said);
}

static void forget_all(struct room *r) { (void)r; }
static bool owns_boss(slice bare) { return slice_is(bare, "boss@localhost"); }
static bool owns_nothing(slice bare) { return bare.len == 0; }

static const struct room_part first = {
    .name = "first",
    .slot = &first_slot,
    .in_affiliates = &first_bytes,
    .said = hear,
    .owns = owns_nothing,
};
static const struct room_part second = { .name = "second",
                                         .in_affiliates = &second_bytes,
                                         .clear = forget_all };
static const struct room_part third = {
    .name = "third", .slot = &third_slot, .said = hear_twice, .owns = owns_boss
};

static int use_three(void **state)
{
    static const struct room_part *const list[] = { &first, &second, &third, NULL };
    (void)state;
    room_parts_set(list);
    count = 0;
    return 0;
}

static void test_an_event_goes_to_the_parts_that_have_it_in_order(void **state)
{
    const struct room_part *const *said = room_parts_with(offsetof(struct room_part, said));
    (void)state;
    assert_ptr_equal(said[0], &first);
    assert_ptr_equal(said[1], &third);
    assert_null(said[2]);
    ROOM_EMIT(said, NULL, &(struct room_said){ .kept = true });
    assert_int_equal(count, 3);
    assert_memory_equal(heard, "kkk", 3);
}

static void test_nobody_has_it(void **state)
{
    (void)state;
    assert_null(*room_parts_with(offsetof(struct room_part, welcome)));
    assert_null(*room_parts_with(offsetof(struct room_part, lines)));
}

static void test_slots_are_numbered(void **state)
{
    (void)state;
    assert_int_equal(room_slots(), 2);
    assert_int_equal(first_slot, 0);
    assert_int_equal(third_slot, 1);
}

static void test_memory_in_affiliates_is_apart_and_aligned(void **state)
{
    (void)state;
    assert_int_equal(first_at, 0);
    assert_int_equal(second_at, 16);
    assert_int_equal(affiliate_memory_bytes(), 24);
}

static void test_one_part_is_enough_to_own_all_rooms(void **state)
{
    (void)state;
    assert_true(muc_is_administrator(SLICE("boss@localhost")));
    assert_false(muc_is_administrator(SLICE("other@localhost")));
}

static void test_another_list_replaces_it(void **state)
{
    static const struct room_part *const none[] = { NULL };
    (void)state;
    room_parts_set(none);
    assert_int_equal(room_slots(), 0);
    assert_int_equal(affiliate_memory_bytes(), 0);
    assert_null(*room_parts_with(offsetof(struct room_part, said)));
    assert_false(muc_is_administrator(SLICE("boss@localhost")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_an_event_goes_to_the_parts_that_have_it_in_order, use_three),
        cmocka_unit_test_setup(test_nobody_has_it, use_three),
        cmocka_unit_test_setup(test_slots_are_numbered, use_three),
        cmocka_unit_test_setup(test_memory_in_affiliates_is_apart_and_aligned, use_three),
        cmocka_unit_test_setup(test_one_part_is_enough_to_own_all_rooms, use_three),
        cmocka_unit_test_setup(test_another_list_replaces_it, use_three),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
