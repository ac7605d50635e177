#include "base/rand.h"
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void fills_every_byte(void **state)
{
    (void)state;
    /* of 300 fills, each byte is zero every time with a chance of 2^-2400 */
    unsigned char all[1000] = { 0 }, bytes[1000];
    for (int i = 0; i < 300; i++) {
        rand_bytes(bytes, sizeof bytes);
        for (size_t at = 0; at < sizeof all; at++)
            all[at] |= bytes[at];
    }
    for (size_t at = 0; at < sizeof all; at++)
        assert_int_not_equal(all[at], 0);
    rand_bytes(bytes, 0);
}

static void hex_has_its_length_and_digits(void **state)
{
    (void)state;
    char a[33], b[33];
    memset(a, 'x', sizeof a);
    rand_hex(a, 16);
    rand_hex(b, 16);
    assert_int_equal(strlen(a), 32);
    assert_int_equal(strspn(a, "0123456789abcdef"), 32);
    assert_string_not_equal(a, b);
    rand_hex(a, 0);
    assert_string_equal(a, "");
    assert_true(rand_u64() != rand_u64());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_every_byte),
        cmocka_unit_test(hex_has_its_length_and_digits),
    };
    return cmocka_run_group_tests_name("rand", tests, NULL, NULL);
}
