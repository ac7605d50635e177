#include "io/tls_policy.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const struct tls_policy good = { TLS_1_2, TLS_1_3, TLS_CIPHERS_DEFAULT, TLS_SUITES_DEFAULT,
                                        TLS_GROUPS_DEFAULT };

static void assert_unknown(slice (*unknown)(slice list), const char *list, const char *expected)
{
    slice found = unknown(slice_of(list));
    assert_int_equal(found.len, strlen(expected));
    assert_memory_equal(found.ptr, expected, found.len);
}

static void finds_what_is_unknown(void **state)
{
    (void)state;
    assert_unknown(tls_cipher_unknown, TLS_CIPHERS_DEFAULT, "");
    assert_unknown(tls_suite_unknown, TLS_SUITES_DEFAULT, "");
    assert_unknown(tls_group_unknown, TLS_GROUPS_DEFAULT, "");
    assert_unknown(tls_cipher_unknown, "ECDHE-RSA-AES256-SHA384 AES256-SHA", "AES256-SHA");
    assert_unknown(tls_cipher_unknown, "ECDHE-RSA-DES-CBC3-SHA", "ECDHE-RSA-DES-CBC3-SHA");
    assert_unknown(tls_cipher_unknown, "!ALL", "!ALL");
    assert_unknown(tls_suite_unknown, "TLS_AES_128_GCM_SHA256 AES", "AES");
    assert_unknown(tls_group_unknown, "P-521 X448 P-999", "P-999");
    assert_unknown(tls_group_unknown, "-P-521", "-P-521");
}

static void refuses_what_cannot_work(void **state)
{
    struct tls_policy p = good;
    struct why why;
    (void)state;
    assert_int_equal(tls_policy_set(TLS_CLIENTS, &p, &why), OK);
    p.min = TLS_1_3;
    p.max = TLS_1_2;
    assert_int_equal(tls_policy_set(TLS_CLIENTS, &p, &why), E_SYNTAX);
    p = good;
    p.suites = " ";
    assert_int_equal(tls_policy_set(TLS_CLIENTS, &p, &why), E_SYNTAX);
    p = good;
    p.groups = "P-256 nothing";
    assert_int_equal(tls_policy_set(TLS_CLIENTS, &p, &why), E_SYNTAX);
    assert_string_equal(why.text, "groups: found \"nothing\", which is not known or too weak");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_is_unknown),
        cmocka_unit_test(refuses_what_cannot_work),
    };
    return cmocka_run_group_tests_name("io/tls_policy", tests, NULL, NULL);
}
