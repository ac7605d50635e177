#include "base/arena.h"
#include "xmpp/jid.h"
#include "xmpp/precis.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* needs the three above */
#include <dlfcn.h>
#include <unicode/uscript.h>

/* The name that a function of ICU is exported by: it ends with the version. */
#define ICU_NAME_OF(symbol) #symbol
#define ICU_NAME(symbol)    ICU_NAME_OF(symbol)

static struct arena *tmp;

static void expect(const char *text, const char *full)
{
    struct jid j = { 0 };
    enum err e = jid_parse(&j, slice_of(text), tmp);
    if (e != OK)
        fail_msg("%s: refused", text);
    if (!slice_is(j.full, full))
        fail_msg("%s: became %.*s", text, SLICE_ARG(j.full));
    struct jid again = { 0 };
    assert_int_equal(jid_parse(&again, j.full, tmp), OK);
    assert_true(slice_eq(again.full, j.full));
}

static void refuse(const char *text)
{
    struct jid j = { 0 };
    if (jid_parse(&j, slice_of(text), tmp) != E_SYNTAX)
        fail_msg("%s: accepted as %.*s", text, SLICE_ARG(j.full));
}

/* RFC 7622 §3.5, Table 1 */
static void accepts_the_rfcs_examples(void **state)
{
    (void)state;
    expect("juliet@example.com", "juliet@example.com");
    expect("juliet@example.com/foo", "juliet@example.com/foo");
    expect("juliet@example.com/foo bar", "juliet@example.com/foo bar");
    expect("juliet@example.com/foo@bar", "juliet@example.com/foo@bar");
    expect("foo\\20bar@example.com", "foo\\20bar@example.com");
    expect("fussball@example.com", "fussball@example.com");
    expect("fußball@example.com", "fußball@example.com");
    expect("π@example.com", "π@example.com");
    expect("Σ@example.com/foo", "σ@example.com/foo");
    expect("σ@example.com/foo", "σ@example.com/foo");
    expect("ς@example.com/foo", "ς@example.com/foo");
    expect("king@example.com/♚", "king@example.com/♚");
    expect("example.com", "example.com");
    expect("example.com/foobar", "example.com/foobar");
    expect("a.example.com/b@example.net", "a.example.com/b@example.net");
}

/* RFC 7622 §3.5, Table 2; its example of a leading space in a resourcepart is not here, since
 * OpaqueString does not forbid it (the table's entry was reported as an error). */
static void refuses_the_rfcs_examples(void **state)
{
    (void)state;
    refuse("\"juliet\"@example.com");
    refuse("foo bar@example.com");
    refuse("@example.com/");
    refuse("henryⅣ@example.com");
    refuse("♚@example.com");
    refuse("juliet@");
    refuse("/foobar");
    expect("juliet@example.com/ foo", "juliet@example.com/ foo");
}

static void splits_at_the_first_separators(void **state)
{
    (void)state;
    struct jid j = jid_split(SLICE("a@b.c/d@e/f"));
    assert_true(slice_is(j.local, "a"));
    assert_true(slice_is(j.domain, "b.c"));
    assert_true(slice_is(j.resource, "d@e/f"));
    assert_true(slice_is(jid_bare(&j), "a@b.c"));
    assert_true(slice_is(jid_bare_of(SLICE("a@b.c/d@e/f")), "a@b.c"));
    assert_true(slice_is(jid_bare_of(SLICE("b.c")), "b.c"));
    assert_false(jid_is_bare(&j));
    j = jid_split(SLICE("b.c/x@y"));
    assert_true(jid_is_domain(&j));
    assert_true(slice_is(j.resource, "x@y"));
    assert_true(slice_is(jid_bare(&j), "b.c"));
    j = jid_split(SLICE("a@b"));
    assert_true(jid_is_bare(&j));
    assert_true(slice_is(jid_bare(&j), "a@b"));
}

static void refuses_empty_parts(void **state)
{
    (void)state;
    const char *const bad[] = { "", "@", "/", "@b", "a@", "a@/r", "a@b/", "b/", "a@b@c", "@b/r" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuse(bad[i]);
}

static void lowers_ascii(void **state)
{
    (void)state;
    expect("Juliet@Example.COM/Balcony", "juliet@example.com/Balcony");
    expect("EXAMPLE.com", "example.com");
}

static void keeps_prepared_text_in_place(void **state)
{
    (void)state;
    const slice text = SLICE("juliet@example.com/Balcony 1");
    struct jid j;
    assert_int_equal(jid_parse(&j, text, NULL), OK); /* touches no arena */
    assert_ptr_equal(j.full.ptr, text.ptr);
    assert_int_equal(j.full.len, text.len);
    assert_ptr_equal(j.resource.ptr, text.ptr + 19);
}

static void prepares_each_part_by_its_own_rules(void **state)
{
    (void)state;
    expect("ＦＯＯ@example.com/ＦＯＯ", "foo@example.com/ＦＯＯ");
    expect("E\xcc\x81@example.com/e\xcc\x81", "é@example.com/é");
    expect("İ@example.com", "i̇@example.com");
    expect("example.com/foo\xc2\xa0"
           "bar",
           "example.com/foo bar");
    expect("ﾊﾝ@example.com", "ハン@example.com");
    refuse("ab＠cd@example.com"); /* the fullwidth sign maps to a separator */
    refuse("ﬁ@example.com");      /* HasCompat */
    refuse("a\xe2\x80\x8b"
           "b@example.com"); /* default ignorable */
    refuse("a\x01@example.com");
    refuse("a@example.com/\x7f");
    refuse("a@example.com/\xc2\x85");
    refuse("a@example.com/\xff");       /* not UTF-8 */
    refuse("\xed\xa0\x80@example.com"); /* a surrogate */
    refuse("\xcd\xb8@example.com");     /* U+0378, unassigned */
    refuse("\xe1\x84\x80@example.com"); /* an old hangul jamo */
}

static void applies_the_contextual_rules(void **state)
{
    (void)state;
    expect("l·l@example.com", "l·l@example.com");
    refuse("a·l@example.com");
    refuse("·@example.com");
    expect("͵α@example.com", "͵α@example.com");
    refuse("͵a@example.com");
    expect("א׳@example.com", "א׳@example.com");
    refuse("׳א@example.com");
    expect("カ・@example.com", "カ・@example.com");
    refuse("a・@example.com");
    refuse("٠۰@example.com");
    /* U+200D and U+200C: behind a virama; U+200C also between joining letters */
    expect("क्\xe2\x80\x8dष@example.com", "क्\xe2\x80\x8dष@example.com");
    refuse("क\xe2\x80\x8dष@example.com");
    expect("ب\xe2\x80\x8c"
           "ب@example.com",
           "ب\xe2\x80\x8c"
           "ب@example.com");
    refuse("a\xe2\x80\x8c"
           "b@example.com");
    refuse("a\xe2\x80\x8c@example.com");
}

/* What the preparation asks ICU for passes through here. */
static unsigned scripts_asked;

UScriptCode uscript_getScript(UChar32 cp, UErrorCode *status)
{
    static UScriptCode (*real)(UChar32, UErrorCode *);
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, ICU_NAME(uscript_getScript));
    scripts_asked++;
    return real(cp, status);
}

static void asks_once_for_what_is_anywhere_in_a_text(void **state)
{
    (void)state;
    expect("・・カ@example.com", "・・カ@example.com");
    expect("・x・の@example.com", "・x・の@example.com");
    expect("・漢・@example.com", "・漢・@example.com");
    refuse("・x・@example.com");
    expect("a@example.com/٠١٢", "a@example.com/٠١٢");
    expect("a@example.com/۰۱۲", "a@example.com/۰۱۲");
    refuse("a@example.com/٠١۲");
    refuse("a@example.com/۰x١");
    enum { DOTS = 330 };
    char text[3 * DOTS + 4] = "";
    slice out;
    for (size_t i = 0; i < DOTS; i++)
        memcpy(text + 3 * i, "・", 3);
    memcpy(text + 3 * (size_t)DOTS, "カ", 3);
    scripts_asked = 0;
    assert_int_equal(jid_prep_local(slice_of(text), tmp, &out), OK);
    assert_in_range(scripts_asked, 1, 4 * DOTS);
    scripts_asked = 0;
    assert_int_equal(jid_prep_domain(slice_of(text), tmp, &out), E_SYNTAX);
    assert_in_range(scripts_asked, 0, 4 * DOTS);
}

static void applies_the_bidi_rule_to_localparts(void **state)
{
    (void)state;
    expect("אבג@example.com", "אבג@example.com");
    expect("אב1@example.com", "אב1@example.com");
    refuse("aא@example.com");
    refuse("1א@example.com");
    refuse("א1a@example.com");
    refuse("אב-@example.com");
    refuse("ا٠1@example.com");                      /* both kinds of digits */
    expect("a@example.com/aא", "a@example.com/aא"); /* no rule for resourceparts */
}

static void prepares_domains(void **state)
{
    (void)state;
    expect("example.com.", "example.com");
    expect("a@example.com./r", "a@example.com/r");
    expect("BÜCHER.example", "bücher.example");
    expect("xn--bcher-kva.example", "bücher.example");
    expect("XN--BCHER-KVA.example.", "bücher.example");
    expect("faß.example", "faß.example"); /* non-transitional */
    expect("ｅｘａｍｐｌｅ。com", "example.com");
    expect("r3---sn.example", "r3---sn.example");
    expect("localhost", "localhost");
    refuse("..");
    refuse(".");
    refuse("example..com");
    refuse("example.com..");
    refuse(".example.com");
    refuse("-a.example");
    refuse("a-.example");
    refuse("a_b.example");
    refuse("a b.example");
    refuse("exa\x01mple");
    refuse("♥.example"); /* UTS 46 would let it through, IDNA2008 does not */
    refuse("xn--a.example");
    refuse("bücher-.example");
}

static void takes_ip_literals(void **state)
{
    (void)state;
    expect("a@192.0.2.1/r", "a@192.0.2.1/r");
    expect("a@[2001:DB8:0:0::1]/r", "a@[2001:db8::1]/r");
    expect("[::1]", "[::1]");
    expect("a@[::ffff:192.0.2.1]/r", "a@192.0.2.1/r");
    expect("[0:0:0:0:0:FFFF:C000:0201]", "192.0.2.1");
    expect("[::fffe:c000:201]", "[::fffe:c000:201]");
    refuse("[::1");
    refuse("[::1]x");
    refuse("[]");
    refuse("[");
    refuse("[::g]");
    refuse("[fe80::1%eth0]");
    refuse("::1");
}

static const char *repeat(char *out, char c, size_t count)
{
    memset(out, c, count);
    out[count] = '\0';
    return out;
}

static void keeps_the_limits(void **state)
{
    (void)state;
    static char part[2048], text[8192];
    slice out;
    assert_int_equal(jid_prep_local(slice_of(repeat(part, 'a', 1023)), tmp, &out), OK);
    assert_int_equal(jid_prep_local(slice_of(repeat(part, 'A', 1023)), tmp, &out), OK);
    assert_int_equal(jid_prep_local(slice_of(repeat(part, 'a', 1024)), tmp, &out), E_SYNTAX);
    assert_int_equal(jid_prep_resource(slice_of(repeat(part, 'a', 1023)), tmp, &out), OK);
    assert_int_equal(jid_prep_resource(slice_of(repeat(part, 'a', 1024)), tmp, &out), E_SYNTAX);
    assert_int_equal(jid_prep_domain(slice_of(repeat(part, 'a', 63)), tmp, &out), OK);
    assert_int_equal(jid_prep_domain(slice_of(repeat(part, 'a', 64)), tmp, &out), E_SYNTAX);
    memset(text, 0, sizeof text);
    for (size_t i = 0; i < 1023; i++)
        text[i] = i % 16 == 15 ? '.' : 'a';
    assert_int_equal(jid_prep_domain((slice){ text, 1022 }, tmp, &out), OK);
    assert_int_equal(jid_prep_domain((slice){ text, 1023 }, tmp, &out), OK);
    assert_int_equal(jid_prep_domain((slice){ text, 1025 }, tmp, &out), E_SYNTAX);
    for (size_t i = 0; i < 512; i++) /* 511 two-byte letters fit, 512 do not */
        memcpy(text + 2 * i, "ä", 2);
    assert_int_equal(jid_prep_local((slice){ text, 1022 }, tmp, &out), OK);
    assert_int_equal(jid_prep_local((slice){ text, 1024 }, tmp, &out), E_SYNTAX);
    for (size_t i = 0; i < 1023; i++) /* three bytes each, one each when prepared */
        memcpy(text + 3 * i, "ａ", 3);
    assert_int_equal(jid_prep_local((slice){ text, 3069 }, tmp, &out), OK);
    assert_int_equal(out.len, 1023);
}

static slice repeated(const char *text, size_t count)
{
    size_t len = strlen(text);
    char *out = arena_alloc(tmp, 1, count * len + 1);
    for (size_t i = 0; i < count; i++)
        memcpy(out + i * len, text, len);
    return (slice){ out, count * len };
}

static void labels_are_measured_after_normalisation(void **state)
{
    (void)state;
    slice out;
    /* in Punycode the first has two or three characters, each of the others one */
    assert_int_equal(jid_prep_domain(repeated("ä", 56), tmp, &out), OK);
    assert_int_equal(jid_prep_domain(repeated("ä", 64), tmp, &out), E_SYNTAX);
    assert_int_equal(jid_prep_domain(repeated("a\u0308", 56), tmp, &out), OK);
    assert_true(slice_eq(out, repeated("ä", 56)));
    /* four characters become one, three, two; soft hyphens and variation selectors are left out */
    assert_int_equal(jid_prep_domain(repeated("α\u0313\u0300\u0345", 20), tmp, &out), OK);
    assert_int_equal(jid_prep_domain(repeated("\u1112\u1161\u11ab", 40), tmp, &out), OK);
    assert_true(slice_eq(out, repeated("한", 40)));
    assert_int_equal(jid_prep_domain(repeated("\uff76\uff9e", 50), tmp, &out), OK);
    assert_true(slice_eq(out, repeated("ガ", 50)));
    assert_int_equal(jid_prep_domain(repeated("ä\u00ad\ufe0f", 50), tmp, &out), OK);
    assert_true(slice_eq(out, repeated("ä", 50)));
    assert_int_equal(jid_prep_domain(repeated("ä.", 200), tmp, &out), OK);
    assert_int_equal(jid_prep_domain(repeated("ä。", 200), tmp, &out), OK);
    assert_int_equal(jid_prep_domain(repeated("ä．", 200), tmp, &out), OK);
    assert_int_equal(jid_prep_domain(repeated("ä｡", 200), tmp, &out), OK);
}

static void prepares_passwords(void **state)
{
    (void)state;
    slice out;
    assert_int_equal(jid_prep_password(SLICE("a \"b\" C"), tmp, &out), OK);
    assert_true(slice_is(out, "a \"b\" C"));
    assert_int_equal(jid_prep_password(SLICE("a\xe3\x80\x80"
                                             "e\xcc\x81♚"),
                                       tmp, &out),
                     OK);
    assert_true(slice_is(out, "a é♚"));
    assert_int_equal(jid_prep_password(SLICE(""), tmp, &out), E_SYNTAX);
    assert_int_equal(jid_prep_password(SLICE("a\tb"), tmp, &out), E_SYNTAX);
}

/* By OpaqueString, by SASLprep, and as it is compared; NULL: refused. */
static void prepares_passwords_in_two_forms(void **state)
{
    (void)state;
    static const struct {
        const char *text, *opaque, *sasl, *given, *problem;
    } rows[] = {
        { "5um!", "5um!", "5um!", "5um!", NULL },
        { "5µm!", "5µm!", "5μm!", "5µm!", NULL },
        { "½ ™", "½ ™", "1⁄2 TM", "½ ™", NULL },
        { "a\xc2\xa0"
          "ﬁ",
          "a ﬁ", "a fi", "a ﬁ", NULL },
        { "e\xcc\x81", "é", "é", "é", NULL },
        { "❤\xef\xb8\x8f", NULL, "❤", "❤",
          "has the character U+FE0F VARIATION SELECTOR-16, which a password cannot have here (RFC "
          "8265)" },
        { "a\tb", NULL, NULL, NULL,
          "has the character U+0009 <control-0009>, which a password cannot have here (RFC 8265)" },
        { "", NULL, NULL, NULL, "has 0 bytes; it can have 1 to 1023" },
        { "\xff", NULL, NULL, NULL, "is not UTF-8" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum err (*const preps[])(slice, struct arena *, slice *) = { jid_prep_password,
                                                                      jid_prep_password_sasl,
                                                                      jid_prep_password_given };
        const char *const expected[] = { rows[i].opaque, rows[i].sasl, rows[i].given };
        for (unsigned k = 0; k < 3; k++) {
            slice out;
            enum err e = preps[k](slice_of(rows[i].text), tmp, &out);
            assert_int_equal(e, expected[k] == NULL ? E_SYNTAX : OK);
            if (e == OK)
                assert_true(slice_is(out, expected[k]));
        }
        if (rows[i].problem != NULL)
            assert_string_equal(jid_password_problem(slice_of(rows[i].text), tmp), rows[i].problem);
    }
}

/* XEP-0106 §5.1 and §5.2 */
static void escapes_localparts(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        { "space cadet", "space\\20cadet" },
        { "call me \"ishmael\"", "call\\20me\\20\\22ishmael\\22" },
        { "at&t guy", "at\\26t\\20guy" },
        { "d'artagnan", "d\\27artagnan" },
        { "/.fanboy", "\\2f.fanboy" },
        { "::foo::", "\\3a\\3afoo\\3a\\3a" },
        { "<foo>", "\\3cfoo\\3e" },
        { "user@host", "user\\40host" },
        { "c:\\net", "c\\3a\\net" },
        { "c:\\\\net", "c\\3a\\\\net" },
        { "c:\\cool stuff", "c\\3a\\cool\\20stuff" },
        { "c:\\5commas", "c\\3a\\5c5commas" },
        { "\\3and\\2is\\5cool", "\\5c3and\\2is\\5c5cool" },
        { "a\\20", "a\\5c20" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        slice escaped = jid_escape(slice_of(rows[i][0]), tmp);
        if (!slice_is(escaped, rows[i][1]))
            fail_msg("%s: became %.*s", rows[i][0], SLICE_ARG(escaped));
        assert_true(slice_is(jid_unescape(escaped, tmp), rows[i][0]));
    }
    assert_true(slice_is(jid_escape(SLICE(" a "), tmp), "a"));
    assert_true(slice_is(jid_unescape(SLICE("\\20a\\20"), tmp), "\\20a\\20"));
    assert_true(slice_is(jid_unescape(SLICE("a\\2"), tmp), "a\\2"));
    assert_true(slice_is(jid_unescape(SLICE("a\\5c20"), tmp), "a\\20"));
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

static bool has_local(const struct jid *j) { return j->local.len > 0; }

static void lists_are_of_prepared_addresses(void **state)
{
    (void)state;
    assert_true(jid_words_suit(SLICE(""), has_local));
    assert_true(jid_words_suit(SLICE(" a@b.example  c@d.example/e "), has_local));
    assert_true(jid_words_suit(SLICE("a@b.example d.example"), NULL));
    assert_false(jid_words_suit(SLICE("a@b.example d.example"), has_local));
    assert_false(jid_words_suit(SLICE("A@b.example"), NULL)); /* it is a@b.example */
    assert_false(jid_words_suit(SLICE("a@b.example @d.example"), NULL));
}

static void folds_case_and_forms(void **state)
{
    slice out;
    (void)state;
    assert_int_equal(precis_fold(SLICE("STRASSE Ålesund"), tmp, &out), OK);
    assert_true(slice_is(out, "strasse ålesund"));
    assert_int_equal(precis_fold(SLICE("Straße"), tmp, &out), OK);
    assert_true(slice_is(out, "strasse"));
    assert_int_equal(precis_fold(SLICE("\xff"), tmp, &out), E_SYNTAX);
    assert_int_equal(precis_fold(SLICE(""), tmp, &out), E_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_the_rfcs_examples),
        cmocka_unit_test(refuses_the_rfcs_examples),
        cmocka_unit_test(splits_at_the_first_separators),
        cmocka_unit_test(refuses_empty_parts),
        cmocka_unit_test(lowers_ascii),
        cmocka_unit_test(keeps_prepared_text_in_place),
        cmocka_unit_test(prepares_each_part_by_its_own_rules),
        cmocka_unit_test(applies_the_contextual_rules),
        cmocka_unit_test(asks_once_for_what_is_anywhere_in_a_text),
        cmocka_unit_test(applies_the_bidi_rule_to_localparts),
        cmocka_unit_test(prepares_domains),
        cmocka_unit_test(takes_ip_literals),
        cmocka_unit_test(keeps_the_limits),
        cmocka_unit_test(labels_are_measured_after_normalisation),
        cmocka_unit_test(prepares_passwords),
        cmocka_unit_test(prepares_passwords_in_two_forms),
        cmocka_unit_test(escapes_localparts),
        cmocka_unit_test(lists_are_of_prepared_addresses),
        cmocka_unit_test(folds_case_and_forms),
    };
    return cmocka_run_group_tests_name("jid", tests, setup, teardown);
}
