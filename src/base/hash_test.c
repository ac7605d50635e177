#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The results of the designers' reference program (c = 1, d = 3) for a zero key and the texts
 * 00 01 02 ... of 0 to 17 bytes: all lengths of a last word. */
static void agrees_with_the_reference(void **state)
{
    (void)state;
    static const uint64_t expected[] = {
        0xd1fba762150c532c, 0x68a914128e01e473, 0x010bac45c41e3669, 0x4d4c9a4a8ef6e0ad,
        0x7cc43f98813e4dbd, 0x5abe2169dff36275, 0xe3c25f87624f1cdb, 0x2f098ab0c751325a,
        0xead411e67ebe2eea, 0x75927f9d95124362, 0xaf9f77a65ab51a1d, 0xfe64ce8b6617fcff,
        0xa6baf4fb0f9fe1c2, 0xa0cf3211850f8e0d, 0x7f86049379fbfe67, 0xf30eb725bb91c9ea,
        0x8972188433a5c5b7, 0x4883c49a2c009c1d,
    };
    const struct hash_key zero = { 0, 0 };
    char text[sizeof expected / sizeof expected[0]];
    for (size_t len = 0; len < sizeof text; len++) {
        text[len] = (char)len;
        assert_int_equal(hash_with(&zero, (slice){ text, len }), expected[len]);
    }
}

static void key_matters(void **state)
{
    (void)state;
    const struct hash_key a = { 1, 0 }, b = { 0, 1 };
    slice text = SLICE("alice@example.test");
    assert_int_not_equal(hash_with(&a, text), hash_with(&b, text));
    assert_int_equal(hash_keyed(text), hash_keyed(SLICE("alice@example.test")));
    assert_int_not_equal(hash_keyed(text), hash_with(&(struct hash_key){ 0, 0 }, text));
    assert_int_equal(hash_keyed_pair(SLICE("a"), text), hash_keyed_pair(SLICE("a"), text));
    assert_int_not_equal(hash_keyed_pair(SLICE("a"), text), hash_keyed_pair(text, SLICE("a")));
    assert_int_not_equal(hash_keyed_pair(SLICE("ab"), SLICE("c")),
                         hash_keyed_pair(SLICE("a"), SLICE("bc")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_reference),
        cmocka_unit_test(key_matters),
    };
    return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
