#include "base/arena.h"
#include "base/principal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static bool gives(const char *grants, const char *permission)
{
    return grants_permission(slice_of(grants), permission);
}

static void a_star_stands_for_a_whole_part(void **state)
{
    (void)state;
    assert_true(gives("*", "users.read"));
    assert_true(gives("*.read", "users.read"));
    assert_true(gives("users.*", "users.read"));
    assert_true(gives("rooms.read users.read", "users.read"));
    assert_false(gives("*.write", "users.read"));
    assert_false(gives("users.read", "users.write"));
    assert_false(gives("user.read", "users.read"));
    assert_false(gives("users", "users.read"));
    assert_false(gives("us*.read", "users.read"));
    assert_false(gives("", "users.read"));
}

static void what_is_taken_is_not_given_by_others(void **state)
{
    (void)state;
    assert_false(gives("* !users.read", "users.read"));
    assert_false(gives("!users.read *", "users.read"));
    assert_false(gives("users.read !*.read users.*", "users.read"));
    assert_true(gives("* !users.read", "users.write"));
    assert_false(gives("!users.read", "users.write"));
}

static void a_permission_without_effect_is_nobodys(void **state)
{
    (void)state;
    assert_false(gives("*", "users"));
    assert_false(gives("*", ""));
}

static void a_scope_narrows_and_never_widens(void **state)
{
    (void)state;
    struct principal p = { .kind = PRINCIPAL_TOKEN, .grants = SLICE("users.*") };
    assert_true(principal_may(&p, "users.write"));
    p.scope = SLICE("*.read");
    assert_true(principal_may(&p, "users.read"));
    assert_false(principal_may(&p, "users.write"));
    assert_false(principal_may(&p, "rooms.read"));
    p.scope = SLICE("");
    assert_false(principal_may(&p, "users.read"));
}

static void one_that_was_not_filled_in_may_nothing(void **state)
{
    (void)state;
    struct principal p = { .grants = SLICE("*") };
    assert_false(principal_may(&p, "users.read"));
    assert_true(principal_may(&principal_server, "users.write"));
    assert_false(principal_is_remote(&principal_server));
    for (int kind = 0; kind < PRINCIPAL_KINDS; kind++) {
        p.kind = (enum principal_kind)kind;
        assert_int_equal(principal_is_remote(&p),
                         kind != PRINCIPAL_SERVER && kind != PRINCIPAL_CONTROL);
    }
}

static void valid_lists_give_something(void **state)
{
    (void)state;
    static const char *const good[] = { "*", "users.read", "*.read !users.*", "!users.read *.*" };
    static const char *const bad[] = { "",
                                       " ",
                                       "!*",
                                       "users",
                                       "Users.read",
                                       "users.",
                                       ".read",
                                       "users.delete",
                                       "u s.read",
                                       "!",
                                       "users.read,rooms.read",
                                       "users.read.read" };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(grants_are_valid(slice_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(grants_are_valid(slice_of(bad[i])));
    char longest[GRANTS_BYTES_MAX + 1];
    memset(longest, ' ', sizeof longest);
    longest[0] = '*';
    assert_true(grants_are_valid((slice){ longest, GRANTS_BYTES_MAX }));
    assert_false(grants_are_valid((slice){ longest, sizeof longest }));
}

static void a_copy_keeps_the_difference_of_no_scope_and_an_empty_one(void **state)
{
    (void)state;
    struct arena *arena = arena_create(0);
    char grants[] = "users.read";
    struct principal p = { .kind = PRINCIPAL_TOKEN, .grants = slice_of(grants) };
    struct principal copy = principal_dup(&p, arena);
    p.scope = SLICE("");
    struct principal narrow = principal_dup(&p, arena);
    grants[0] = 'x';
    assert_true(principal_may(&copy, "users.read"));
    assert_false(principal_may(&narrow, "users.read"));
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_star_stands_for_a_whole_part),
        cmocka_unit_test(what_is_taken_is_not_given_by_others),
        cmocka_unit_test(a_permission_without_effect_is_nobodys),
        cmocka_unit_test(a_scope_narrows_and_never_widens),
        cmocka_unit_test(one_that_was_not_filled_in_may_nothing),
        cmocka_unit_test(valid_lists_give_something),
        cmocka_unit_test(a_copy_keeps_the_difference_of_no_scope_and_an_empty_one),
    };
    return cmocka_run_group_tests_name("principal", tests, NULL, NULL);
}
