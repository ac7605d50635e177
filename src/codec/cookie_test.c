#include "codec/cookie.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void expect(const char *header, const char *value)
{
    slice found = cookie_find(slice_of(header), SLICE("id"));
    if (value == NULL)
        assert_null(found.ptr);
    else
        assert_true(found.ptr != NULL && slice_is(found, value));
}

static void test_found(void **state)
{
    (void)state;
    expect("id=1", "1");
    expect("a=2; id=1; b=3", "1");
    expect("a=2;id=1", "1");
    expect(" id = 1 ;", "1");
    expect("id=\"1\"", "1");
    expect("id=", "");
    expect("id=a=b", "a=b");
    expect("id=1; id=2", "1");
    expect("id=\"", "\"");
}

static void test_not_found(void **state)
{
    (void)state;
    expect("", NULL);
    expect("id", NULL);
    expect("ID=1", NULL);
    expect("xid=1; idx=2", NULL);
    expect(";;==; =id", NULL);
    expect("a=id=1", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_not_found),
    };
    return cmocka_run_group_tests_name("cookie", tests, NULL, NULL);
}
