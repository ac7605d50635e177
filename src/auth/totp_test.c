#include "auth/totp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const slice secret = SLICE_INIT("12345678901234567890");

/* RFC 6238, appendix B, the lines of SHA-1. */
static void test_vectors(void **state)
{
    static const struct {
        uint64_t time;
        const char *code;
    } rows[] = {
        { 59, "94287082" },         { 1111111109, "07081804" }, { 1111111111, "14050471" },
        { 1234567890, "89005924" }, { 2000000000, "69279037" }, { 20000000000, "65353130" },
    };
    char code[9];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        totp_code(secret, totp_step(rows[i].time * 1000000), 8, code);
        assert_string_equal(code, rows[i].code);
    }
}

/* RFC 4226, appendix D. */
static void test_counters(void **state)
{
    static const char *const codes[] = { "755224", "287082", "359152", "969429", "338314",
                                         "254676", "287922", "162583", "399871", "520489" };
    char code[7];
    (void)state;
    for (int64_t i = 0; i < 10; i++) {
        totp_code(secret, i, 6, code);
        assert_string_equal(code, codes[i]);
    }
}

static void test_one_step_away(void **state)
{
    char code[TOTP_DIGITS + 1];
    (void)state;
    totp_code(secret, 1000, TOTP_DIGITS, code);
    for (int64_t now = 995; now < 1005; now++)
        assert_int_equal(totp_find(secret, slice_of(code), now),
                         now >= 999 && now <= 1001 ? 1000 : -1);
    assert_int_equal(totp_find(secret, SLICE(""), 1000), -1);
    assert_int_equal(totp_find(secret, SLICE("12345"), 1000), -1);
    assert_int_equal(totp_find(secret, SLICE("1234567"), 1000), -1);
    assert_int_equal(totp_find(secret, SLICE("abcdef"), 1000), -1);
}

static int64_t found_as(const char *code, const char *before, const char *between)
{
    char shown[TOTP_TEXT_MAX + 1];
    snprintf(shown, sizeof shown, "%s%.3s%s%.3s", before, code, between, code + 3);
    return totp_find(secret, slice_of(shown), 1000);
}

static void test_spaces(void **state)
{
    char code[TOTP_DIGITS + 1];
    (void)state;
    totp_code(secret, 1000, TOTP_DIGITS, code);
    assert_int_equal(found_as(code, "", " "), 1000);
    assert_int_equal(found_as(code, "", "-"), 1000);
    assert_int_equal(found_as(code, " ", ""), 1000);
    assert_int_equal(found_as(code, "", "."), -1);
    assert_int_equal(found_as(code, "1 ", ""), -1);
    assert_int_equal(totp_find(secret, SLICE("12 345"), 1000), -1);
}

/* RFC 4648 §6: nothing but the alphabet, eight signs for five bytes. */
static void test_base32(void **state)
{
    char out[TOTP_BASE32_TEXT + 1];
    (void)state;
    totp_base32((const unsigned char *)secret.ptr, out);
    assert_string_equal(out, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),       cmocka_unit_test(test_counters),
        cmocka_unit_test(test_one_step_away), cmocka_unit_test(test_spaces),
        cmocka_unit_test(test_base32),
    };
    return cmocka_run_group_tests_name("totp", tests, NULL, NULL);
}
