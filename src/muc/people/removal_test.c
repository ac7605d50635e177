#include "muc/people/removal.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h> /* needs the three above */

static const slice who = { "bob@other.test/r", 16 };

static void what_is_written_is_read(void **state)
{
    (void)state;
    static const struct {
        struct removal m;
        const char *codes;
    } rows[] = {
        { { .affiliation = AFF_OUTCAST }, "301 333" },
        { { .affiliation = AFF_OWNER, .since_s = INT64_MAX, .tries = INT32_MAX },
          "100 200 300 400 500 600 700 800" },
        { { .affiliation = AFF_NONE, .destroyed = true, .since_s = 1764478000, .tries = 3 }, "" },
        { { .affiliation = AFF_NONE, .destroyed = true }, "332" },
        { { .affiliation = AFF_MEMBER }, "" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char id[REMOVAL_ID_MAX];
        struct removal m = rows[i].m, out;
        m.codes = slice_of(rows[i].codes);
        assert_true(removal_read(removal_id(id, &m, who), who, &out));
        assert_int_equal(out.since_s, m.since_s);
        assert_int_equal(out.tries, m.tries);
        assert_int_equal(out.affiliation, m.affiliation);
        assert_int_equal(out.destroyed, m.destroyed);
        assert_true(slice_eq(out.codes, m.codes));
    }
}

static void other_ids_are_not_read(void **state)
{
    (void)state;
    struct removal m = { .affiliation = AFF_NONE, .codes = SLICE("307") }, out;
    char id[REMOVAL_ID_MAX], other[REMOVAL_ID_MAX + 64];
    slice good = removal_id(id, &m, who);
    assert_true(removal_read(good, who, &out));
    assert_false(removal_read(good, SLICE("bob@other.test/s"), &out));
    for (size_t len = 0; len < good.len - 5; len++) /* it ends with the affiliation and " 307" */
        assert_false(removal_read((slice){ good.ptr, len }, who, &out));
    static const char *const tails[] = { " x",    " 99",      " 1000",
                                         " -307", " destroy", " 100 200 300 400 500 600 700 800" };
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        int n = snprintf(other, sizeof other, "%s%s", id, tails[i]);
        assert_false(removal_read((slice){ other, (size_t)n }, who, &out));
    }
    static const char *const others[] = { "", "removed", "removed 1 0 0 1 307", "x 1 0 0 1 307" };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(removal_read(slice_of(others[i]), who, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(other_ids_are_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
