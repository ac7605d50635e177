#include "store/words.h"
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct buf out;

static const char *vector(const char *text)
{
    buf_clear(&out);
    words_vector(&out, slice_of(text));
    buf_append(&out, "", 1);
    return out.ptr;
}

static const char *query(const char *one, const char *two)
{
    buf_clear(&out);
    words_phrase(&out, slice_of(one));
    words_phrase(&out, slice_of(two));
    buf_append(&out, "", 1);
    return out.ptr;
}

static void test_vector(void **state)
{
    (void)state;
    assert_string_equal(vector(""), "");
    assert_string_equal(vector("... -- '\\ \"!"), "");
    assert_string_equal(vector("Hello, WORLD hello"), "'hello':1 'world':2 'hello':3 ");
    assert_string_equal(vector("don't\\n"), "'don':1 't':2 'n':3 ");
    /* composed, decomposed, without case; and what the index takes for letters */
    assert_string_equal(vector("\xc3\x89t\xc3\xa9 e\xcc\x81t\xc3\xa9"), "'ete':1 'ete':2 ");
    assert_string_equal(vector("\xd0\x96\xd1\x83\xd0\xba 42"),
                        "'\xd0\xb6\xd1\x83\xd0\xba':1 '42':2 ");
    assert_string_equal(vector("\xee\x80\x80"
                               "17"),
                        "'\xee\x80\x80"
                        "17':1 ");
}

static void test_phrases(void **state)
{
    (void)state;
    assert_string_equal(query("Blue-Green", "x"), "'blue' <-> 'green' & 'x'");
    assert_string_equal(query("\xe2\x80\xa6", "x"), "'x'");
    assert_string_equal(query("a.b.c", "-"), "'a' <-> 'b' <-> 'c'");
    assert_string_equal(query("", ""), "");
}

static void test_long(void **state)
{
    (void)state;
    static char text[50001];
    for (size_t i = 0; i + 2 <= 5000; i += 2)
        memcpy(text + i, "\xce\xb1", 2);
    assert_int_equal(strlen(vector(text)), 2000 + 5);
    memset(text, 0, sizeof text);
    for (size_t i = 0; i + 2 <= 50000; i += 2)
        memcpy(text + i, "a ", 2);
    const char *found = vector(text);
    assert_string_equal(found + strlen(found) - 11, " 'a':16383 ");
}

static void first_is(const char *text, unsigned most, const char *first, unsigned count)
{
    unsigned found;
    assert_true(slice_is(words_first(slice_of(text), most, &found), first));
    assert_int_equal(found, count);
}

static void test_first(void **state)
{
    (void)state;
    first_is("", 2, "", 0);
    first_is("...", 2, "...", 0);
    first_is("-one.", 2, "-one.", 1);
    first_is("-one.two.three", 2, "-one.two", 2);
    first_is("one.two.", 2, "one.two", 2);
    first_is("a\xe2\x80\xa6"
             "b\xe2\x80\xa6"
             "c",
             2,
             "a\xe2\x80\xa6"
             "b",
             2);
    first_is("e\xcc\x81t\xc3\xa9,x", 1, "e\xcc\x81t\xc3\xa9", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector),
        cmocka_unit_test(test_phrases),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_first),
    };
    buf_init(&out, 1 << 20);
    int failed = cmocka_run_group_tests_name("words", tests, NULL, NULL);
    buf_fini(&out);
    return failed;
}
