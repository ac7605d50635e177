#include "base/buf.h"
#include "codec/json_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_text(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 1024);
    json_text(&b, SLICE(""));
    json_text(&b, SLICE("a \"b\" \\ \x01\n\xc3\xa9"));
    assert_true(slice_is(buf_slice(&b), "\"\"\"a \\\"b\\\" \\\\ \\u0001\\u000a\xc3\xa9\""));
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
