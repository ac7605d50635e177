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
    assert_unknown(tls_suite_unknown, " ", " ");
    assert_unknown(tls_suite_unknown, "", "");
}

static void finds_what_no_client_has(void **state)
{
    static const char *const weak[] = { "P-192",     "P-224",     "secp256k1",      "sect163k1",
                                        "ffdhe2048", "secp160r1", "brainpoolP256r1" };
    (void)state;
    for (size_t i = 0; i < sizeof weak / sizeof weak[0]; i++)
        assert_unknown(tls_group_unknown, weak[i], weak[i]);
    assert_unknown(tls_group_unknown, "X25519 X448 P-256 P-384 P-521 ffdhe3072 ffdhe8192", "");
    assert_unknown(tls_group_unknown, "ffdhe3072 ffdhe4096", "ffdhe3072 ffdhe4096");
    assert_unknown(tls_suite_unknown, "TLS_AES_128_CCM_8_SHA256", "TLS_AES_128_CCM_8_SHA256");
    assert_unknown(tls_suite_unknown, "TLS_AES_128_CCM_SHA256", "");
    assert_unknown(tls_cipher_unknown, "ECDHE-ECDSA-AES128-CCM8", "ECDHE-ECDSA-AES128-CCM8");
}

static void finds_what_is_there_twice(void **state)
{
    (void)state;
    assert_unknown(tls_group_unknown, "X25519 X25519", "X25519");
    assert_unknown(tls_group_unknown, "P-256 x25519 prime256v1", "prime256v1");
    assert_unknown(tls_group_unknown, "P-256 secp384r1 P-384", "P-384");
    assert_unknown(tls_suite_unknown, "TLS_AES_128_GCM_SHA256 TLS_AES_128_GCM_SHA256",
                   "TLS_AES_128_GCM_SHA256");
    struct tls_policy p = good;
    struct why why;
    p.groups = "X25519 X25519";
    assert_int_equal(tls_policy_set(TLS_CLIENTS, &p, &why), E_SYNTAX);
}

/* All names that a check lets through are taken together. */
static void takes_all_at_once(void **state)
{
    struct tls_policy p = good;
    struct tls_policy_text now;
    struct why why;
    (void)state;
    p.groups = "X25519 X448 P-256 P-384 P-521 ffdhe3072 ffdhe4096 ffdhe6144 ffdhe8192";
    p.min = TLS_1_3;
    assert_int_equal(tls_policy_set(TLS_HTTPS, &p, &why), OK);
    tls_policy_get(&now, TLS_HTTPS);
    assert_string_equal(now.groups, p.groups);
    assert_string_equal(now.ciphers, p.ciphers);
    assert_int_equal(now.min, TLS_1_3);
}

static void knows_keys_without_a_cipher(void **state)
{
    struct tls_policy p = good;
    struct why why;
    (void)state;
    p.ciphers = "ECDHE-RSA-AES128-GCM-SHA256";
    assert_int_equal(tls_policy_set(TLS_SERVERS, &p, &why), OK);
    assert_int_equal(tls_policy_key(TLS_SERVERS, "RSA 2048"), TLS_KEY_FITS);
    assert_int_equal(tls_policy_key(TLS_SERVERS, "EC P-256"), TLS_KEY_NOT_1_2);
    p.max = TLS_1_2;
    assert_int_equal(tls_policy_set(TLS_SERVERS, &p, &why), OK);
    assert_int_equal(tls_policy_key(TLS_SERVERS, "EC P-256"), TLS_KEY_NEVER);
    p.min = p.max = TLS_1_3;
    assert_int_equal(tls_policy_set(TLS_SERVERS, &p, &why), OK);
    assert_int_equal(tls_policy_key(TLS_SERVERS, "EC P-256"), TLS_KEY_FITS);
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
        cmocka_unit_test(finds_what_is_unknown),       cmocka_unit_test(finds_what_no_client_has),
        cmocka_unit_test(finds_what_is_there_twice),   cmocka_unit_test(takes_all_at_once),
        cmocka_unit_test(knows_keys_without_a_cipher), cmocka_unit_test(refuses_what_cannot_work),
    };
    return cmocka_run_group_tests_name("io/tls_policy", tests, NULL, NULL);
}
