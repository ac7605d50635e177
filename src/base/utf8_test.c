#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static bool is_scalar(uint32_t cp) { return cp <= 0x10ffff && (cp < 0xd800 || cp > 0xdfff); }

static void every_scalar_survives(void **state)
{
    (void)state;
    for (uint32_t cp = 0; cp < 0x120000; cp++) {
        char bytes[4];
        uint32_t back = 0;
        int len = utf8_encode(bytes, cp);
        if (!is_scalar(cp)) {
            assert_int_equal(len, 0);
            continue;
        }
        assert_int_equal(utf8_decode((slice){ bytes, (size_t)len }, &back), len);
        assert_int_equal(back, cp);
        for (int cut = 0; cut < len; cut++)
            assert_int_equal(utf8_decode((slice){ bytes, (size_t)cut }, &back), -1);
    }
}

/* Counts the sequences of a length that decode: with every scalar surviving, one more would be an
 * overlong form, a surrogate or too high. */
static void no_other_sequence_is_valid(void **state)
{
    (void)state;
    uint32_t valid[5] = { 0 }, cp;
    for (uint32_t n = 0; n < 1 << 24; n++) {
        const char bytes[3] = { (char)(n >> 16), (char)(n >> 8), (char)n };
        if (utf8_decode((slice){ bytes, 3 }, &cp) == 3)
            valid[3]++;
        if (n < 1 << 16 && utf8_decode((slice){ bytes + 1, 2 }, &cp) == 2)
            valid[2]++;
    }
    for (uint32_t n = 0xf0 << 8; n <= 0xffff; n++) {
        for (uint32_t m = 0; m < 1 << 12; m++) { /* high bits right, all low bits */
            const char bytes[4] = { (char)(n >> 8), (char)n, (char)(0x80 | (m >> 6)),
                                    (char)(0x80 | (m & 0x3f)) };
            if (utf8_decode((slice){ bytes, 4 }, &cp) == 4)
                valid[4]++;
        }
    }
    assert_int_equal(valid[2], 0x800 - 0x80);
    assert_int_equal(valid[3], 0x10000 - 0x800 - 0x800);
    assert_int_equal(valid[4], 0x110000 - 0x10000);
}

static void valid_prefix_ends_at_the_first_fault(void **state)
{
    (void)state;
    static const char *const faults[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xfe",
        "\xff",
        "\xc3",
        "\xe2\x82",
        "\xf0\x9f\x98",
        "\xe2\x28\xa1",
        "\xf0\x9f\x98\x28",
    };
    static const char *const before[] = { "", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80" };
    for (size_t f = 0; f < sizeof faults / sizeof faults[0]; f++) {
        for (size_t ascii = 0; ascii < 70; ascii++) { /* over the borders of the fast path */
            for (size_t b = 0; b < sizeof before / sizeof before[0]; b++) {
                char text[128];
                size_t good = ascii + strlen(before[b]), bad = strlen(faults[f]);
                memset(text, 'a', sizeof text);
                memcpy(text + ascii, before[b], strlen(before[b]));
                memcpy(text + good, faults[f], bad);
                assert_int_equal(utf8_valid_len((slice){ text, good + bad }), good);
                assert_false(utf8_valid((slice){ text, good + bad }));
                assert_true(utf8_valid((slice){ text, good }));
            }
        }
    }
    assert_true(utf8_valid((slice){ 0 }));
    assert_true(utf8_valid(SLICE("a\0b"))); /* NUL is a character; XML refuses it elsewhere */
}

static void a_line_has_no_control_characters(void **state)
{
    (void)state;
    static const char *const lines[] = { "", "Ann", "\xc3\xa9 \xe2\x82\xac", "\xe2\x80\x93" };
    static const char *const others[] = { "a\nb",         "\t",           "\x7f",
                                          "\xc2\x85",     "\xe2\x80\xae", "\xe2\x80\xa8",
                                          "\xe2\x81\xa7", "a\xff" };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        assert_true(utf8_is_line(slice_of(lines[i])));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(utf8_is_line(slice_of(others[i])));
    assert_false(utf8_is_line(SLICE("a\0b")));
    assert_true(utf8_is_printable(SLICE("\xe2\x80\xae right to left \xe2\x81\xa9")));
    assert_false(utf8_is_printable(SLICE("a\nb")));
    assert_false(utf8_is_printable(SLICE("\xe2\x80\xa8")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_scalar_survives),
        cmocka_unit_test(no_other_sequence_is_valid),
        cmocka_unit_test(valid_prefix_ends_at_the_first_fault),
        cmocka_unit_test(a_line_has_no_control_characters),
    };
    return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
