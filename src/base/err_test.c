#include "base/err.h"
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void every_error_has_its_own_name(void **state)
{
    (void)state;
    for (enum err e = OK; e < ERR_COUNT; e++) {
        assert_true(strlen(err_name(e)) > 0);
        assert_true(strlen(err_text(e)) > 0);
        for (enum err other = OK; other < e; other++)
            assert_string_not_equal(err_name(e), err_name(other));
    }
    assert_string_equal(err_name(E_LIMIT), "limit");
    assert_string_equal(err_name(E_INTERNAL), "internal");
}

static void unknown_values_are_internal_errors(void **state)
{
    (void)state;
    assert_string_equal(err_name(ERR_COUNT), "internal");
    assert_string_equal(err_text((enum err) - 1), err_text(E_INTERNAL));
}

static void why_is_cut_at_its_size(void **state)
{
    (void)state;
    struct why why;
    why_set(&why, "%s: found %d", "a.b", 5);
    assert_string_equal(why.text, "a.b: found 5");
    why_set(&why, "%600d", 1);
    assert_int_equal(strlen(why.text), sizeof why.text - 1);
    why_set(NULL, "nobody asks %d", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_its_own_name),
        cmocka_unit_test(unknown_values_are_internal_errors),
        cmocka_unit_test(why_is_cut_at_its_size),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
