#include "base/record_ring.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BYTES = 32 * 512, RECORDS = 20000, LONGEST = 200, HEAD = 8, BLOCK = BYTES / RECORD_BLOCKS };

static size_t length_of(unsigned number) { return 8 + number * 7919u % (LONGEST - 8); }

static void write_record(struct record_ring *r, unsigned number)
{
    char *text = record_ring_add(r, length_of(number));
    memset(text, (int)(number & 0xff), length_of(number));
    memcpy(text, &number, sizeof number);
}

/* What is there are the newest records, whole and in order: of all blocks but the one that has just
 * begun, and what is lost at the end of a block. */
static void check(const struct record_ring *r, unsigned newest)
{
    unsigned expected = 0, number = 0;
    size_t bytes = 0;
    for (const char *at = record_ring_next(r, NULL); at != NULL; at = record_ring_next(r, at)) {
        memcpy(&number, at, sizeof number);
        assert_true(expected == 0 || number == expected);
        for (size_t i = sizeof number; i < length_of(number); i++)
            assert_int_equal((unsigned char)at[i], number & 0xff);
        expected = number + 1;
        bytes += length_of(number) + HEAD;
    }
    assert_int_equal(number, newest);
    assert_true(bytes <= BYTES);
    assert_true(newest < 400 || bytes >= (RECORD_BLOCKS - 1) * (size_t)(BLOCK - LONGEST - HEAD));
}

static void the_newest_records_stay_whole(void **state)
{
    struct record_ring *r = record_ring_create(BYTES + 3);
    (void)state;
    assert_null(record_ring_next(r, NULL));
    for (unsigned number = 1; number <= RECORDS; number++) {
        write_record(r, number);
        if (number < 1000 || number % 97 == 0)
            check(r, number);
    }
    record_ring_destroy(&r);
    record_ring_destroy(&r);
}

/* Also those that fill a block exactly. */
static void records_of_one_length(void **state)
{
    (void)state;
    for (size_t bytes = 8; bytes <= BLOCK - HEAD; bytes += 8) {
        struct record_ring *r = record_ring_create(BYTES);
        for (uint64_t number = 1; number <= 300; number++) {
            memcpy(record_ring_add(r, bytes), &number, sizeof number);
            uint64_t last = 0, count = 0, one;
            for (const void *at = record_ring_next(r, NULL); at != NULL;
                 at = record_ring_next(r, at), count++) {
                memcpy(&one, at, sizeof one);
                assert_true(last == 0 || one == last + 1);
                last = one;
            }
            assert_int_equal(last, number);
            assert_true(count >= (number < RECORD_BLOCKS - 1 ? number : RECORD_BLOCKS - 1));
        }
        record_ring_destroy(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_records_stay_whole),
        cmocka_unit_test(records_of_one_length),
    };
    return cmocka_run_group_tests_name("record_ring", tests, NULL, NULL);
}
