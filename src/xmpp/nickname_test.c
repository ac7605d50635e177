#include "base/arena.h"
#include "xmpp/jid.h"
#include "xmpp/nickname.h"
#include "xmpp/precis.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* needs the three above */
#include <dlfcn.h>
#include <stdio.h>
#include <unicode/uchar.h>
#include <unicode/uspoof.h>

/* The name that a function of ICU is exported by: it ends with the version. */
#define ICU_NAME_OF(symbol) #symbol
#define ICU_NAME(symbol)    ICU_NAME_OF(symbol)

static struct arena *tmp;

static slice enforced(const char *text)
{
    slice out;
    if (nickname_enforce(slice_of(text), tmp, &out) != OK)
        fail_msg("%s is no nickname", text);
    return out;
}

static void as_it_is_shown(void **state)
{
    (void)state;
    /* RFC 8266 §3, and what §2.1 says */
    static const char *const rows[][2] = {
        { "Foo", "Foo" },
        { "foo", "foo" },
        { "Foo Bar", "Foo Bar" },
        { "  Foo   Bar ", "Foo Bar" },
        { "foo\u00a0bar", "foo bar" },
        { "\u3000Swan  of\u2003 Avon\u00a0", "Swan of Avon" },
        { "\u03a3", "\u03a3" },
        { "\u03c3", "\u03c3" },
        { "\u03c2", "\u03c2" },
        { "\u265a", "\u265a" },
        { "Richard \u2163", "Richard IV" },
        { "\ufb01sh \uff21", "fish A" },
        { "e\u0301", "\u00e9" },
        { "it's <b> & \"q\" @/", "it's <b> & \"q\" @/" },
        /* \u00a8 becomes a space and a mark: it takes a second round to trim that */
        { "\u00a8a", "\u0308a" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        slice out = enforced(rows[i][0]), resource;
        if (!slice_is(out, rows[i][1]))
            fail_msg("%s: %.*s", rows[i][0], SLICE_ARG(out));
        assert_int_equal(jid_prep_resource(out, tmp, &resource), OK);
        assert_true(slice_eq(out, resource));
    }
    slice plain = SLICE("third witch"), same;
    assert_int_equal(nickname_enforce(plain, tmp, &same), OK);
    assert_ptr_equal(plain.ptr, same.ptr);
}

static void what_is_none(void **state)
{
    (void)state;
    static const slice bad[] = {
        SLICE_INIT(""),         SLICE_INIT(" "),      SLICE_INIT("   "),
        SLICE_INIT("\u00a0"),   SLICE_INIT("a\tb"),   SLICE_INIT("a\nb"),
        SLICE_INIT("a\x7f"),    SLICE_INIT("\xff"),   SLICE_INIT("a\u200b"),
        SLICE_INIT("a\u202eb"), SLICE_INIT("\ue000"), SLICE_INIT("a\0b"),
        SLICE_INIT("\u2003 "),  SLICE_INIT("\u115f"), SLICE_INIT("\xed\xa0\x80"),
    };
    slice out;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (nickname_enforce(bad[i], tmp, &out) != E_SYNTAX)
            fail_msg("row %zu is taken", i);
    char *text = arena_alloc(tmp, 1, 2048);
    memset(text, 'x', 2048);
    assert_int_equal(nickname_enforce((slice){ text, JID_PART_MAX }, tmp, &out), OK);
    assert_int_equal(nickname_enforce((slice){ text, JID_PART_MAX + 1 }, tmp, &out), E_SYNTAX);
    memset(text, ' ', 1500); /* what is trimmed does not count */
    assert_int_equal(nickname_enforce((slice){ text, 2048 }, tmp, &out), OK);
    assert_int_equal(out.len, 548);
    memcpy(text + 2046, "\u00e9", 2);
    assert_int_equal(nickname_enforce((slice){ text, 2048 }, tmp, &out), OK);
    assert_int_equal(out.len, 548);
}

enum { SAME, ALIKE, OTHER };

static int conflict(const char *a, const char *b)
{
    slice x = enforced(a), y = enforced(b);
    if (slice_eq(nickname_key(x, tmp), nickname_key(y, tmp)))
        return SAME;
    return slice_eq(nickname_skeleton(x, tmp), nickname_skeleton(y, tmp)) ? ALIKE : OTHER;
}

static void which_are_in_conflict(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        int conflict;
    } rows[] = {
        { "Thirdwitch", "thirdwitch ", SAME },
        { "Foo  Bar", " foo bar", SAME },
        { "\u00c9MILE", "\u00e9mile", SAME },
        { "\u03a3", "\u03c3", SAME },
        { "Richard \u2163", "richard iv", SAME },
        { "\uff22ob", "BOB", SAME },
        { "larry", "Iarry", ALIKE },           /* capital i */
        { "larry", "1arry", ALIKE },           /* digit */
        { "Bob", "b0b", ALIKE },               /* digit */
        { "modern", "rnodern", ALIKE },        /* m, rn */
        { "MODERN", "rnodern", ALIKE },        /* whatever the case */
        { "bob", "b\u043eb", ALIKE },          /* Cyrillic o */
        { "Bob", "\u0412\u043eb", ALIKE },     /* Cyrillic Ve and o */
        { "alice", "\u0430l\u0456ce", ALIKE }, /* Cyrillic a and i */
        { "PAUL", "\u03a1\u0410UL", ALIKE },   /* Greek Rho, Cyrillic A */
        { "bob", "bo\u0253", OTHER },
        { "bob", "rob", OTHER },
        { "i", "l", OTHER },
        { "mila", "mia", OTHER },
        { "alice", "\u00e1lice", OTHER },
        { "\u0438\u0432\u0430\u043d", "ivan", OTHER },
        { "\u674e\u56db", "\u5f20\u4e09", OTHER },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int is = conflict(rows[i].a, rows[i].b), back = conflict(rows[i].b, rows[i].a);
        if (is != rows[i].conflict || back != is)
            fail_msg("%s and %s: %d", rows[i].a, rows[i].b, is);
    }
}

/* Characters that look alike by ICU, then lower case, until nothing changes: without the fast path.
 */
static slice by_icu(const USpoofChecker *checker, slice text)
{
    for (;;) {
        char *room = arena_alloc(tmp, 1, 4096);
        UErrorCode status = U_ZERO_ERROR;
        int32_t len =
            uspoof_getSkeletonUTF8(checker, 0, text.ptr, (int32_t)text.len, room, 4096, &status);
        slice out;
        assert_true(U_SUCCESS(status));
        assert_int_equal(precis_fold((slice){ room, (size_t)len }, tmp, &out), OK);
        if (slice_eq(out, text))
            return out;
        text = out;
    }
}

static void ascii_is_as_icu_has_it(void **state)
{
    (void)state;
    UErrorCode status = U_ZERO_ERROR;
    USpoofChecker *checker = uspoof_open(&status);
    assert_true(U_SUCCESS(status));
    for (int first = 0x21; first <= 0x7e; first++)
        for (int second = 0x20; second <= 0x7e; second++) {
            char text[] = { (char)first, (char)second, 'x' }; /* no space at an end */
            slice nick = { text, sizeof text };
            slice fast = nickname_skeleton(nick, tmp), slow = by_icu(checker, nick);
            if (!slice_eq(fast, slow))
                fail_msg("%.*s: %.*s, ICU: %.*s", SLICE_ARG(nick), SLICE_ARG(fast),
                         SLICE_ARG(slow));
            arena_reset(tmp);
        }
    uspoof_close(checker);
}

static void long_names_have_skeletons(void **state)
{
    (void)state;
    char text[JID_PART_MAX];
    memset(text, 'm', sizeof text);
    slice nick = { text, sizeof text };
    slice skeleton = nickname_skeleton(nick, tmp); /* twice as long: the key takes its place */
    assert_true(slice_eq(skeleton, nickname_key(nick, tmp)));
    memcpy(text + sizeof text - 2, "\u00e9", 2);
    skeleton = nickname_skeleton(nick, tmp);
    assert_true(slice_eq(skeleton, nickname_key(nick, tmp)));
    assert_int_equal(skeleton.len, JID_PART_MAX);
}

/* What the preparation asks ICU for passes through here. */
static unsigned types_asked;

int8_t u_charType(UChar32 cp)
{
    static int8_t (*real)(UChar32);
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, ICU_NAME(u_charType));
    types_asked++;
    return real(cp);
}

/* One of these characters becomes 18. */
static void names_that_grow_too_long_are_given_up(void **state)
{
    (void)state;
    char text[3 * 80];
    slice out;
    for (size_t i = 0; i < sizeof text; i += 3)
        memcpy(text + i, "\ufdfa", 3);
    types_asked = 0;
    assert_int_equal(nickname_enforce((slice){ text, sizeof text }, tmp, &out), E_SYNTAX);
    assert_in_range(types_asked, 1, 2 * 80);
    slice ten = { text, 3 * 10 }; /* 330 bytes then */
    assert_int_equal(nickname_enforce_within(ten, 256, tmp, &out), E_SYNTAX);
    assert_int_equal(nickname_enforce_within(ten, 330, tmp, &out), OK);
    assert_int_equal(out.len, 330);
    assert_int_equal(nickname_enforce_within(ten, 329, tmp, &out), E_SYNTAX);
    assert_int_equal(nickname_enforce_within(SLICE(" abc "), 3, tmp, &out), OK);
    assert_int_equal(nickname_enforce_within(SLICE("abcd"), 3, tmp, &out), E_SYNTAX);
}

static int setup(void **state)
{
    (void)state;
    tmp = arena_create(0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_destroy(&tmp);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_it_is_shown),
        cmocka_unit_test(what_is_none),
        cmocka_unit_test(which_are_in_conflict),
        cmocka_unit_test(ascii_is_as_icu_has_it),
        cmocka_unit_test(long_names_have_skeletons),
        cmocka_unit_test(names_that_grow_too_long_are_given_up),
    };
    return cmocka_run_group_tests_name("nickname", tests, setup, teardown);
}
