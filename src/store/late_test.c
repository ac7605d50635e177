#include "store/late.h"
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void add(struct late_set *set, int64_t owner, int64_t id, int64_t log_id)
{
    int64_t row[3] = { owner, id, owner * 1000 + id };
    late_add(set, row, log_id);
}

static unsigned count_owner(const struct late_set *set, int64_t owner)
{
    unsigned count = 0;
    for (uint32_t row = late_find(set, owner, LATE_NONE); row != LATE_NONE;
         row = late_find(set, owner, row)) {
        assert_int_equal(late_row(set, row)[0], owner);
        count++;
    }
    return count;
}

static void test_empty(void **state)
{
    struct late_set set;
    (void)state;
    late_init(&set, 3);
    assert_int_equal(late_find(&set, 1, LATE_NONE), LATE_NONE);
    late_sort(&set);
    late_fini(&set);
}

static void test_order(void **state)
{
    struct late_set set;
    (void)state;
    late_init(&set, 3);
    for (int64_t i = 0; i < 5000; i++)
        add(&set, (i * 7919) % 101 - 50, (i * 104729) % 5003, i + 1);
    assert_int_equal(set.pending, 5000);
    assert_int_equal(set.log_id_max, 5000);
    late_sort(&set);
    for (uint32_t i = 1; i < set.count; i++) {
        const int64_t *a = late_row(&set, set.order[i - 1]), *b = late_row(&set, set.order[i]);
        assert_true(a[0] < b[0] || (a[0] == b[0] && a[1] <= b[1]));
        assert_int_equal(b[2], b[0] * 1000 + b[1]);
    }
    late_fini(&set);
    assert_int_equal(set.width, 3);
}

static void test_find(void **state)
{
    struct late_set set;
    (void)state;
    late_init(&set, 3);
    for (int64_t i = 0; i < 3000; i++) /* grows several times */
        add(&set, i % 300, i, i);
    for (int64_t owner = 0; owner < 300; owner++)
        assert_int_equal(count_owner(&set, owner), 10);
    assert_int_equal(count_owner(&set, 300), 0);
    assert_int_equal(count_owner(&set, INT64_MIN), 0);
    uint32_t row = late_find(&set, 5, LATE_NONE);
    late_set_inserted(&set, row);
    late_set_inserted(&set, row);
    assert_true(late_inserted(&set, row));
    assert_int_equal(set.pending, 2999);
    assert_int_equal(count_owner(&set, 5), 9);
    for (int64_t i = 3000; i < 9000; i++) /* marks stay when it grows */
        add(&set, i % 300, i, i);
    assert_int_equal(count_owner(&set, 5), 29);
    assert_true(late_inserted(&set, row));
    late_clear_inserted(&set, row);
    late_clear_inserted(&set, row);
    assert_false(late_inserted(&set, row));
    assert_int_equal(set.pending, 9000);
    assert_int_equal(count_owner(&set, 5), 30);
    late_fini(&set);
}

static void test_rewind(void **state)
{
    struct late_set set;
    (void)state;
    late_init(&set, 3);
    for (int64_t i = 0; i < 200; i++)
        add(&set, i % 10, i, i + 1);
    struct late_mark mark = late_here(&set);
    for (int round = 0; round < 3; round++) {
        for (int64_t i = 0; i < 700; i++) /* grows meanwhile */
            add(&set, i % 20, i, 1000 + i);
        late_note(&set, 5000);
        assert_int_equal(set.log_id_max, 5000);
        late_rewind(&set, mark);
        assert_int_equal(set.count, 200);
        assert_int_equal(set.pending, 200);
        assert_int_equal(set.log_id_max, 200);
        for (int64_t owner = 0; owner < 20; owner++)
            assert_int_equal(count_owner(&set, owner), owner < 10 ? 20 : 0);
    }
    late_rewind(&set, (struct late_mark){ 0, 0 });
    assert_int_equal(count_owner(&set, 1), 0);
    add(&set, 1, 1, 1);
    assert_int_equal(count_owner(&set, 1), 1);
    late_fini(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_rewind),
    };
    return cmocka_run_group_tests_name("late", tests, NULL, NULL);
}
