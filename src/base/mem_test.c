#include "base/mem.h"
#include <stdint.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void blocks(void **state)
{
    (void)state;
    char *text = mem_zalloc(100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(text[i], 0);
    memset(text, 'x', 100);
    text = mem_realloc(text, 200);
    assert_int_equal(text[99], 'x');
    mem_wipe(text, 50);
    assert_int_equal(text[49], 0);
    assert_int_equal(text[50], 'x');
    mem_free(&text);
    assert_null(text);
    mem_free(&text);
    mem_wipe(NULL, 0);
}

static void no_bytes_are_still_a_block(void **state)
{
    (void)state;
    void *a = mem_alloc(0), *b = mem_zalloc(0), *c = mem_realloc(NULL, 0);
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    mem_free(&a);
    mem_free(&b);
    mem_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks),
        cmocka_unit_test(no_bytes_are_still_a_block),
    };
    return cmocka_run_group_tests_name("mem", tests, NULL, NULL);
}
