#include "base/utf8.h"
#include "ext/federation/federation_list.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h> /* needs the three above */

static struct federation_list *read_list(const char *text)
{
    struct federation_list *l;
    struct why why;
    if (federation_list_read(&l, slice_of(text), &why) != OK)
        fail_msg("%s", why.text);
    return l;
}

static void patterns_are_domains_and_addresses(void **s)
{
    struct federation_list *l = read_list("# head\n\n Spam.Test\t# this one\r\n*.bad.test\n"
                                          "bob@near.test\nwin*er@near.test\n*@all.test\n*.0.0.7\n"
                                          "[::ffff:127.0.0.8]");
    static const char *const listed[] = { "spam.test",       "x@spam.test",
                                          "a.bad.test",      "x@b.a.bad.test",
                                          "bob@near.test",   "winner@near.test",
                                          "winer@near.test", "winerer@near.test",
                                          "x@all.test",      "x@127.0.0.8" };
    static const char *const free_ones[] = { "x.spam.test",     "bad.test",        "xbad.test",
                                             "near.test",       "bobby@near.test", "win@near.test",
                                             "winner@far.test", "all.test",        "test",
                                             "127.0.0.7",       "x@127.0.0.7" };
    (void)s;
    assert_int_equal(federation_list_count(l), 7);
    assert_int_equal(federation_list_useless(l), 8); /* its line */
    for (size_t i = 0; i < sizeof listed / sizeof listed[0]; i++)
        if (!federation_list_has(l, slice_of(listed[i])))
            fail_msg("%s is free", listed[i]);
    for (size_t i = 0; i < sizeof free_ones / sizeof free_ones[0]; i++)
        if (federation_list_has(l, slice_of(free_ones[i])))
            fail_msg("%s is listed", free_ones[i]);
    assert_true(federation_list_has_domain(l, SLICE("spam.test")));
    assert_false(federation_list_has_domain(l, SLICE("near.test")));
    federation_list_free(&l);
}

static void a_fault_names_its_line(void **s)
{
    static const char *const wrong[] = { "*",        "a b",      "a@b@c d",
                                         "*.*.test", "x@*.test", "x@a.test/r",
                                         "@a.test",  "a..b",     "a.test, b.test" };
    (void)s;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct federation_list *l;
        struct why why = { "" };
        char text[100];
        snprintf(text, sizeof text, "good.test\n%s\n", wrong[i]);
        if (federation_list_read(&l, slice_of(text), &why) == OK)
            fail_msg("'%s' is taken", wrong[i]);
        assert_null(l);
        assert_non_null(strstr(why.text, "line 2: "));
    }
}

/* An alarm shows it as a whole only if it is UTF-8. */
static void bytes_that_are_not_utf8_are_no_part_of_the_fault(void **s)
{
    struct federation_list *l;
    struct why why = { "" };
    (void)s;
    assert_int_equal(federation_list_read(&l, SLICE("m\xfcnchen.test\n"), &why), E_SYNTAX);
    assert_non_null(strstr(why.text, "line 1: found bytes that are not UTF-8, expected"));
    assert_true(utf8_valid(slice_of(why.text)));
}

static void an_empty_list_has_nothing(void **s)
{
    struct federation_list *l = read_list("");
    (void)s;
    assert_int_equal(federation_list_count(l), 0);
    assert_false(federation_list_has(l, SLICE("a.test")));
    assert_false(federation_list_has(NULL, SLICE("a.test")));
    assert_int_equal(federation_list_useless(l), 0);
    assert_int_equal(federation_list_useless(NULL), 0);
    federation_list_free(&l);
    federation_list_free(&l);
}

static void a_byte_order_mark_is_passed_over(void **s)
{
    struct federation_list *l = read_list("\xEF\xBB\xBFspam.test\n");
    (void)s;
    assert_true(federation_list_has(l, SLICE("spam.test")));
    federation_list_free(&l);
    l = read_list("\xEF\xBB\xBF");
    assert_int_equal(federation_list_count(l), 0);
    federation_list_free(&l);
    l = read_list("\xEF\xBB\xBF# a comment\n");
    assert_int_equal(federation_list_count(l), 0);
    federation_list_free(&l);
}

static void names_with_stars_are_bounded(void **s)
{
    enum { LINES = FEDERATION_LIST_GLOBS + 1, LINE = 16 };
    struct federation_list *l;
    struct why why = { "" };
    char *text = malloc(LINES * LINE + 1);
    size_t len = 0;
    (void)s;
    for (int i = 0; i < LINES; i++)
        len += (size_t)snprintf(text + len, LINE, "x%d*@a.test\n", i);
    assert_int_equal(federation_list_read(&l, (slice){ text, len }, &why), E_LIMIT);
    assert_non_null(strstr(why.text, "line 1001: "));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_are_domains_and_addresses),
        cmocka_unit_test(a_fault_names_its_line),
        cmocka_unit_test(bytes_that_are_not_utf8_are_no_part_of_the_fault),
        cmocka_unit_test(an_empty_list_has_nothing),
        cmocka_unit_test(a_byte_order_mark_is_passed_over),
        cmocka_unit_test(names_with_stars_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
