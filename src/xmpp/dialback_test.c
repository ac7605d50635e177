#include "xmpp/dialback.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h> /* needs the three above */

#define SECRET SLICE("s3cr3tf0rd14lb4ck")

static const struct dialback example = { .receiving = SLICE("xmpp.example.com"),
                                         .originating = SLICE("example.org"),
                                         .stream_id = SLICE("D60000229F") };

/* XEP-0185 §5 */
static void the_key_is_that_of_the_xep(void **s)
{
    char key[DIALBACK_KEY_LEN + 1];
    (void)s;
    dialback_key(key, SECRET, &example);
    assert_string_equal(key, "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643");
    assert_true(dialback_key_is_right(slice_of(key), SECRET, &example));
}

static void a_key_is_for_one_pair_and_stream_only(void **s)
{
    char key[DIALBACK_KEY_LEN + 1];
    struct dialback other[] = { example, example, example, example };
    (void)s;
    dialback_key(key, SECRET, &example);
    other[0].receiving = SLICE("xmpp.example.net");
    other[1].originating = SLICE("example.com");
    other[2].stream_id = SLICE("D60000229E");
    other[3].receiving = example.originating;
    other[3].originating = example.receiving;
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++)
        assert_false(dialback_key_is_right(slice_of(key), SECRET, &other[i]));
    assert_false(dialback_key_is_right(slice_of(key), SLICE("another"), &example));
}

static void what_is_no_key_is_wrong(void **s)
{
    char key[DIALBACK_KEY_LEN + 2];
    (void)s;
    dialback_key(key, SECRET, &example);
    assert_false(dialback_key_is_right(SLICE(""), SECRET, &example));
    assert_false(dialback_key_is_right((slice){ key, DIALBACK_KEY_LEN - 1 }, SECRET, &example));
    key[DIALBACK_KEY_LEN] = 'a';
    assert_false(dialback_key_is_right((slice){ key, DIALBACK_KEY_LEN + 1 }, SECRET, &example));
    key[0] = key[0] == '0' ? '1' : '0';
    assert_false(dialback_key_is_right((slice){ key, DIALBACK_KEY_LEN }, SECRET, &example));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_key_is_that_of_the_xep),
        cmocka_unit_test(a_key_is_for_one_pair_and_stream_only),
        cmocka_unit_test(what_is_no_key_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
