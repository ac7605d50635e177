#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct arena *arena;
static struct source_groups groups;
static struct why why;

static int setup(void **state)
{
    (void)state;
    arena = arena_create(0);
    source_groups_init(&groups, arena);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_destroy(&arena);
    return 0;
}

/* The last line needs no end, and others may end as on Windows. */
static void test_groups_and_members(void **state)
{
    (void)state;
    assert_int_equal(prosody_groups_read(&groups,
                                         SLICE("a@x\r\n [ One ] \r\n# c@x\r\nb@x = B=B\t\r\n\n"
                                               "[+One]\nc@x c = C\n[a]b]\n[+ d]"),
                                         &why),
                     OK);
    assert_int_equal(groups.count, 4);
    assert_int_equal(groups.members, 3);
    const struct source_group *g = groups.first;
    assert_true(slice_is(g->name, "default") && g->to_members && !g->to_all);
    assert_true(slice_is(g->members->text, "a@x") && g->lost == NULL);
    g = g->next;
    assert_true(slice_is(g->name, "One") && !g->to_members && g->to_all);
    assert_true(slice_is(g->members->text, "c@x") && slice_is(g->members->next->text, "b@x"));
    assert_string_equal(g->lost->what,
                        "nicknames of members: 2; contacts have the names of profiles here");
    assert_true(slice_is(g->next->name, "a]b") && g->next->members == NULL);
    assert_true(slice_is(g->next->next->name, "d") && g->next->next->to_all);
}

static void test_a_long_line_is_quoted_in_whole_characters(void **state)
{
    char text[201] = "[";
    (void)state;
    for (size_t i = 1; i < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    assert_int_equal(prosody_groups_read(&groups, (slice){ text, sizeof text }, &why), E_SYNTAX);
    assert_true(slice_starts(slice_of(why.text), SLICE("line 1: found \"[\xc3\xa9")));
    assert_non_null(strstr(why.text, "\xc3\xa9\", expected [NAME] or [+NAME]"));
}

static void test_too_many_members(void **state)
{
    (void)state;
    groups.members = SOURCE_MEMBERS_MAX - 1;
    assert_int_equal(prosody_groups_read(&groups, SLICE("a@x\nb@x\nc@x"), &why), E_LIMIT);
    assert_string_equal(why.text, "found more than 10000 groups or 1000000 members of groups");
}

static void test_nothing(void **state)
{
    (void)state;
    assert_int_equal(prosody_groups_read(&groups, (slice){ 0 }, &why), OK);
    assert_int_equal(groups.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_groups_and_members, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_long_line_is_quoted_in_whole_characters, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_too_many_members, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
