#include "base/hex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_there_and_back(void **state)
{
    const char bytes[] = { 0, 1, (char)0x7f, (char)0x80, (char)0xff };
    char text[2 * sizeof bytes + 1], back[sizeof bytes];
    (void)state;
    hex_encode(text, (slice){ bytes, sizeof bytes });
    assert_string_equal(text, "00017f80ff");
    assert_true(hex_decode(back, sizeof back, slice_of(text)));
    assert_memory_equal(back, bytes, sizeof bytes);
}

static void test_refused(void **state)
{
    char out[2];
    (void)state;
    assert_false(hex_decode(out, 2, SLICE("abc")));
    assert_false(hex_decode(out, 2, SLICE("abcde")));
    assert_false(hex_decode(out, 2, SLICE("ABCD")));
    assert_false(hex_decode(out, 2, SLICE("ab g")));
    assert_true(hex_decode(out, 0, SLICE("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("hex", tests, NULL, NULL);
}
