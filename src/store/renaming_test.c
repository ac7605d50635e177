#include "store/renaming.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"

static struct arena *arena;

static struct renaming of_domain(void)
{
    static const char *const others[] = { "sub.a.test", "other.test", "new.a.test", NULL };
    struct renaming r = renaming_begin(arena, "a.test", "b.example", others);
    assert_int_equal(renaming_add(&r, SLICE("conference.a.test")), OK);
    return r;
}

static struct renaming of_account(void)
{
    static const char *const others[] = { NULL };
    return renaming_begin(arena, "alice@a.test", "al@a.test", others);
}

static void assert_becomes(const struct renaming *r, const char *jid, const char *to)
{
    assert_int_equal(renaming_means(r, slice_of(jid)), strcmp(jid, to) != 0);
    assert_string_equal(slice_cstr(arena, renaming_of(r, slice_of(jid), arena)), to);
}

static void test_an_account(void **state)
{
    struct renaming r = of_account();
    (void)state;
    assert_false(r.domain);
    assert_becomes(&r, "alice@a.test", "al@a.test");
    assert_becomes(&r, "alice@a.test/x@y/z", "al@a.test/x@y/z");
    assert_becomes(&r, "malice@a.test", "malice@a.test");
    assert_becomes(&r, "alice@a.test.org", "alice@a.test.org");
    assert_becomes(&r, "x@y/alice@a.test", "x@y/alice@a.test");
    assert_becomes(&r, "a.test", "a.test");
}

static void test_a_domain(void **state)
{
    struct renaming r = of_domain();
    static const char *const same[] = {
        "x@a.test.org",  "x@xa.test", "a.test@other.test",  "sub.a.test", "x@unknown.a.test",
        "y.test/a.test", "",          "x@y.test/x@a.test/", "test"
    };
    (void)state;
    assert_true(r.domain);
    assert_becomes(&r, "a.test", "b.example");
    assert_becomes(&r, "a.test/x@a.test", "b.example/x@a.test");
    assert_becomes(&r, "a.test@a.test/r", "a.test@b.example/r");
    assert_becomes(&r, "room@conference.a.test/nick", "room@conference.b.example/nick");
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        assert_becomes(&r, same[i], same[i]);
    struct renaming back = renaming_reverse(&r);
    assert_becomes(&back, "room@conference.b.example/nick", "room@conference.a.test/nick");
    assert_becomes(&back, "room@conference.a.test", "room@conference.a.test");
}

static void test_what_is_below_a_domain(void **state)
{
    struct renaming r = of_domain();
    static const char *const not [] = { "sub.a.test",     "irc.sub.a.test", "xa.test", "a.test",
                                        "irc.new.a.test", "a.test.org",     "test",    "" };
    (void)state;
    assert_int_equal(r.count, 2);
    for (size_t i = 0; i < sizeof not / sizeof not [0]; i++)
        assert_int_equal(renaming_add(&r, slice_of(not [i])), OK);
    assert_int_equal(renaming_add(&r, SLICE("conference.a.test")), OK);
    assert_int_equal(r.count, 2);
    assert_int_equal(renaming_add(&r, SLICE("irc.xsub.a.test")), OK);
    assert_becomes(&r, "x@irc.xsub.a.test", "x@irc.xsub.b.example");
    while (r.count < RENAMING_NAMES_MAX)
        assert_int_equal(renaming_add(&r, slice_of(arena_printf(arena, "x%u.a.test", r.count))),
                         OK);
    assert_int_equal(renaming_add(&r, SLICE("more.a.test")), E_LIMIT);
}

static void test_in_texts(void **state)
{
    struct renaming account = of_account(), domain = of_domain();
    static const struct {
        const char *text;
        bool account, domain;
    } table[] = {
        { "xmpp:alice@a.test", true, true },
        { "mail alice@a.test.", true, true },
        { "alice@a.test/x, more", true, true },
        { "malice@a.test", false, true },
        { "x.alice@a.test", false, true },
        { "alice@a.test.org", false, false },
        { "domains: [a.test, b.test]", false, true },
        { "https://www.a.test:443/", false, true },
        { "/etc/ssl/a.test/key.pem", false, true },
        { "/etc/ssl/a.test.pem", false, false },
        { "sub.a.test irc.sub.a.test new.a.test", false, false },
        { "a.test@other.test", false, false },
        { "xa.test a.testx a.test-x", false, false },
        { "", false, false },
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        assert_int_equal(renaming_in_text(&account, slice_of(table[i].text)), table[i].account);
        assert_int_equal(renaming_in_text(&domain, slice_of(table[i].text)), table[i].domain);
    }
}

static int begin(void **state)
{
    (void)state;
    arena = arena_create(0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_destroy(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_account),
        cmocka_unit_test(test_a_domain),
        cmocka_unit_test(test_what_is_below_a_domain),
        cmocka_unit_test(test_in_texts),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
