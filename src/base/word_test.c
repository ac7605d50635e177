#include "base/arena.h"
#include "base/test_dice.h"
#include "base/word.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { TEXTS = 20000, TEXT_BYTES = 12, WORD_BYTES = 5 };

static bool is_in(const char *text, const char *word)
{
    struct arena *tmp = arena_create(0);
    bool in = word_is_in(slice_of(text), slice_of(word), tmp);
    arena_destroy(&tmp);
    return in;
}

static void words_of_their_own(void **state)
{
    (void)state;
    assert_true(is_in("Bob", "bob"));
    assert_true(is_in("hello, bOB!", "Bob"));
    assert_true(is_in("bobs, @bob", "bob"));
    assert_true(is_in("of big bob here", "Big Bob"));
    assert_false(is_in("bobs and kebob", "bob"));
    assert_false(is_in("bob1 2bob", "bob"));
    assert_false(is_in("bobé ébob", "bob"));
    assert_true(is_in("à É.", "É"));
    assert_false(is_in("à é.", "É"));
    assert_false(is_in("bo", "bob"));
    assert_false(is_in("", ""));
    assert_false(is_in("bob", ""));
}

/* A word that begins within another place of itself. */
static void places_may_overlap(void **state)
{
    (void)state;
    assert_true(is_in("xa a a", "a a"));
    assert_true(is_in("a a ab", "a a"));
    assert_true(is_in("-a-a-b", "a-b"));
    assert_true(is_in("aab aaab aab", "aaab"));
    assert_false(is_in("a a ab", "a b"));
    assert_false(is_in("ab ab ab", "ab b"));
}

static slice any_text(char *out, uint32_t bytes_max)
{
    uint32_t len = test_dice(bytes_max + 1);
    for (uint32_t i = 0; i < len; i++)
        out[i] = "aaAb @"[test_dice(6)];
    return (slice){ out, len };
}

static bool is_bound(slice text, size_t at)
{
    return at >= text.len || text.ptr[at] == ' ' || text.ptr[at] == '@';
}

static bool is_at_any_place(slice text, slice word)
{
    for (size_t i = 0; word.len > 0 && i + word.len <= text.len; i++)
        if (slice_eq_nocase((slice){ text.ptr + i, word.len }, word) && is_bound(text, i - 1) &&
            is_bound(text, i + word.len))
            return true;
    return false;
}

static void the_same_as_a_look_at_each_place(void **state)
{
    struct arena *tmp = arena_create(0);
    uint32_t found = 0;
    (void)state;
    for (int i = 0; i < TEXTS; i++) {
        char a[TEXT_BYTES], b[WORD_BYTES];
        slice text = any_text(a, TEXT_BYTES), word = any_text(b, WORD_BYTES);
        bool in = word_is_in(text, word, tmp);
        assert_int_equal(in, is_at_any_place(text, word));
        found += in;
    }
    assert_in_range(found, TEXTS / 100, TEXTS / 2);
    arena_destroy(&tmp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_of_their_own),
        cmocka_unit_test(places_may_overlap),
        cmocka_unit_test(the_same_as_a_look_at_each_place),
    };
    return cmocka_run_group_tests_name("word", tests, NULL, NULL);
}
