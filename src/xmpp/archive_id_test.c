#include "xmpp/archive_id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct hash_key one = { 1, 2 }, other = { 1, 3 };

static void what_is_written_is_read(void **state)
{
    static const uint64_t ids[] = { 1, 2, 0xffffffff, 1ull << 32, 1700000000000000, INT64_MAX };
    (void)state;
    archive_id_key_set(&one);
    for (unsigned i = 0; i < sizeof ids / sizeof *ids; i++) {
        char text[ARCHIVE_ID_LEN];
        uint64_t id;
        archive_id_write(text, ids[i]);
        assert_true(archive_id_read((slice){ text, sizeof text }, &id));
        assert_true(id == ids[i]);
    }
}

/* Half of the bits, about, whatever the distance. */
static void the_next_one_cannot_be_told(void **state)
{
    unsigned same = 0;
    char last[ARCHIVE_ID_LEN], text[ARCHIVE_ID_LEN];
    (void)state;
    archive_id_key_set(&one);
    archive_id_write(last, 1700000000000000);
    for (uint64_t id = 1700000000000001; id < 1700000000001001; id++) {
        archive_id_write(text, id);
        for (unsigned i = 0; i < ARCHIVE_ID_LEN; i++)
            same += text[i] == last[i];
        memcpy(last, text, sizeof last);
    }
    assert_in_range(same, 800, 1200); /* of 16,000 digits, one in 16 */
}

static void another_key_makes_other_ids(void **state)
{
    char text[ARCHIVE_ID_LEN];
    uint64_t id;
    (void)state;
    archive_id_key_set(&one);
    archive_id_write(text, 1700000000000000);
    archive_id_key_set(&other);
    assert_true(!archive_id_read((slice){ text, sizeof text }, &id) || id != 1700000000000000);
}

/* The same for ever: clients keep them. */
static void ids_stay_what_they_are(void **state)
{
    char text[ARCHIVE_ID_LEN];
    (void)state;
    archive_id_key_set(&one);
    archive_id_write(text, 1700000000000000);
    assert_memory_equal(text, "4e5d4d160d2ac122", sizeof text);
}

static void others_are_not_read(void **state)
{
    static const char *const texts[] = { "",
                                         "1",
                                         "123456789012345",
                                         "12345678901234567",
                                         "123456789012345g",
                                         "ABCDEF0123456789",
                                         " 23456789012345a" };
    uint64_t id;
    (void)state;
    archive_id_key_set(&one);
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_false(archive_id_read(slice_of(texts[i]), &id));
    char text[ARCHIVE_ID_LEN];
    archive_id_write(text, 0);
    assert_false(archive_id_read((slice){ text, sizeof text }, &id));
    archive_id_write(text, UINT64_MAX);
    assert_false(archive_id_read((slice){ text, sizeof text }, &id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(the_next_one_cannot_be_told),
        cmocka_unit_test(another_key_makes_other_ids),
        cmocka_unit_test(ids_stay_what_they_are),
        cmocka_unit_test(others_are_not_read),
    };
    return cmocka_run_group_tests_name("xmpp/archive_id", tests, NULL, NULL);
}
