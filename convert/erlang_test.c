#include "base/arena.h"
#include "convert/erlang.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = arena_create(0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_destroy(&arena);
    return 0;
}

static struct erlang_term read_term(const char *text)
{
    struct erlang_term t;
    struct why why;
    assert_int_equal(erlang_read(&t, slice_of(text), arena, &why), OK);
    return t;
}

static void test_what_ejabberd_writes(void **state)
{
    (void)state;
    struct erlang_term t =
        read_term("{muc_room,{<<\"cave\">>,<<99,195,137>>},\n"
                  " [{title,<<\"a \\\"b\\\\\"\n \"c\">>},{max,-200},\n"
                  "  {vcard,undefined},{subject,[]},{'q-1',#{a => 1.5e+3}}]}.\n");
    assert_int_equal(t.type, ERLANG_TUPLE);
    assert_int_equal(erlang_count(&t), 3);
    assert_true(erlang_is(erlang_at(&t, 0), "muc_room"));
    assert_true(slice_is(erlang_text(erlang_at(erlang_at(&t, 1), 0)), "cave"));
    assert_true(slice_is(erlang_text(erlang_at(erlang_at(&t, 1), 1)), "c\xc3\x89"));
    const struct erlang_term *options = erlang_at(&t, 2);
    assert_true(slice_is(erlang_text(erlang_get(options, "title")), "a \"b\\c"));
    assert_true(slice_is(erlang_get(options, "max")->text, "-200"));
    assert_true(slice_is(erlang_word(erlang_get(options, "vcard")), "undefined"));
    assert_int_equal(erlang_text(erlang_get(options, "vcard")).len, 0);
    assert_int_equal(erlang_count(erlang_get(options, "subject")), 0);
    const struct erlang_term *map = erlang_get(options, "q-1");
    assert_int_equal(map->type, ERLANG_MAP);
    assert_true(slice_is(map->first->next->text, "1.5e+3"));
    assert_null(erlang_get(options, "none"));
    assert_null(erlang_at(&t, 3));
    assert_null(erlang_at(NULL, 0));
}

static void test_escapes(void **state)
{
    (void)state;
    struct erlang_term t =
        read_term("<<\"\\n\\t\\\\\\\"\\d\\s\\101\\x42\\x{e9}\\x{20ac}\\x{1f600}\">>");
    assert_true(slice_is(t.text, "\n\t\\\"\177 AB\xe9\xe2\x82\xac\xf0\x9f\x98\x80"));
    t = read_term("'a\\'b'");
    assert_true(slice_is(t.text, "a'b"));
    t = read_term("[1|<<>>]");
    assert_int_equal(erlang_count(&t), 2);
}

static void test_what_is_wrong(void **state)
{
    static const char *const wrong[] = {
        "",          "{",        "{a",       "{a,}",      "[a b]",           "<<1,256>>",
        "<<1",       "<<\"a\"",  "\"a",      "'a",        "#Ref<0.1>",       "<0.1.0>",
        "-",         "a b",      "\"\\x4\"", "\"\\xzz\"", "\"\\777\"",       "\"\\x{4\"",
        "\"\\x{}\"", "#{a => }", "<<1:3>>",  "{a,[b}]",   "\"\\x{110000}\"", "\"\\x{d800}\"",
        ".",         ",",        "<<-1>>",
    };
    struct erlang_term t;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct why why = { "" };
        assert_int_equal(erlang_read(&t, slice_of(wrong[i]), arena, &why), E_SYNTAX);
        assert_true(why.text[0] != '\0');
    }
}

static void test_depth(void **state)
{
    enum { DEEP = ERLANG_DEPTH_MAX + 1 };
    char text[2 * DEEP + 1];
    struct erlang_term t;
    struct why why;
    (void)state;
    memset(text, '[', DEEP);
    memset(text + DEEP, ']', DEEP);
    text[2 * DEEP] = '\0';
    assert_int_equal(erlang_read(&t, slice_of(text), arena, &why), E_SYNTAX);
    text[2 * DEEP - 1] = '\0';
    assert_int_equal(erlang_read(&t, slice_of(text + 1), arena, &why), OK);
}

static void test_where_terms_end(void **state)
{
    static const struct {
        const char *text;
        size_t more, last;
    } cases[] = {
        { "{a}.\n{b}.\n", 5, 5 },
        { "{a,1.5}.\n", 9, 9 },
        { "{a}.", 0, 4 },
        { "{a, \"x. \"}. {b}.", 12, 12 },
        { "{a, 'x. '}.  \n\nb.", 15, 15 },
        { "{a, <<\"\\\". \">>}.\n", 17, 17 },
        { "{a, \"x. ", 0, 0 },
        { "{a}", 0, 0 },
        { "", 0, 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(erlang_length(slice_of(cases[i].text), false), cases[i].more);
        assert_int_equal(erlang_length(slice_of(cases[i].text), true), cases[i].last);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_ejabberd_writes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_escapes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(test_depth, setup, teardown),
        cmocka_unit_test_setup_teardown(test_where_terms_end, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
