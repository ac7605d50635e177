#include "bus/sequence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct step {
    uint32_t epoch;
    uint64_t seq;
    enum sequence_verdict verdict;
};

static void check(const struct step *steps, size_t count)
{
    struct sequence s = { 0 };
    for (size_t i = 0; i < count; i++)
        assert_int_equal(sequence_check(&s, steps[i].epoch, steps[i].seq), steps[i].verdict);
}
#define CHECK(...)                                                                                 \
    check((const struct step[]){ __VA_ARGS__ },                                                    \
          sizeof(const struct step[]){ __VA_ARGS__ } / sizeof(struct step))

static void test_in_order(void **state)
{
    (void)state;
    CHECK({ 7, 1, SEQUENCE_NEXT }, { 7, 2, SEQUENCE_NEXT }, { 7, 3, SEQUENCE_NEXT });
}

static void test_a_gap_is_noticed_once(void **state)
{
    (void)state;
    CHECK({ 7, 1, SEQUENCE_NEXT }, { 7, 4, SEQUENCE_GAP }, { 7, 5, SEQUENCE_NEXT });
    CHECK({ 7, 2, SEQUENCE_GAP }, { 7, 3, SEQUENCE_NEXT }); /* we began later than the sender */
}

static void test_repeats_are_dropped(void **state)
{
    (void)state;
    CHECK({ 7, 1, SEQUENCE_NEXT }, { 7, 1, SEQUENCE_REPEAT }, { 7, 2, SEQUENCE_NEXT },
          { 7, 1, SEQUENCE_REPEAT }, { 7, 5, SEQUENCE_GAP }, { 7, 3, SEQUENCE_REPEAT },
          { 7, 0, SEQUENCE_REPEAT });
}

static void test_a_new_epoch_begins_again(void **state)
{
    (void)state;
    CHECK({ 7, 1, SEQUENCE_NEXT }, { 7, 2, SEQUENCE_NEXT }, { 8, 1, SEQUENCE_NEXT },
          { 7, 3, SEQUENCE_REPEAT }, { 8, 2, SEQUENCE_NEXT }, { 9, 2, SEQUENCE_GAP });
}

static void test_numbers_need_not_be_small(void **state)
{
    (void)state;
    CHECK({ UINT32_MAX, UINT64_MAX, SEQUENCE_GAP }, { UINT32_MAX, UINT64_MAX, SEQUENCE_REPEAT },
          { UINT32_MAX, 0, SEQUENCE_REPEAT });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_a_gap_is_noticed_once),
        cmocka_unit_test(test_repeats_are_dropped),
        cmocka_unit_test(test_a_new_epoch_begins_again),
        cmocka_unit_test(test_numbers_need_not_be_small),
    };
    return cmocka_run_group_tests_name("bus/sequence", tests, NULL, NULL);
}
