#include "base/arena.h"
#include "io/test_bed.h"
#include "io/tls.h"
#include "io/tls_cert.h"
#include <fcntl.h>
#include <string.h>
#include <time.h>

static char dir[] = "/tmp/muster-cert-XXXXXX";
static char cert[64], key[64], other[64];
static struct arena *arena;

static int set_up(void **state)
{
    static const char *const names[] = { "one.test", "two.test" };
    struct why why;
    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    arena = arena_create(0);
    snprintf(cert, sizeof cert, "%s/cert.pem", dir);
    snprintf(key, sizeof key, "%s/key.pem", dir);
    snprintf(other, sizeof other, "%s/other", dir);
    return tls_self_signed(cert, key, names, 2, &why) == OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    arena_destroy(&arena);
    unlink(cert);
    unlink(key);
    unlink(other);
    return rmdir(dir);
}

static void write_other(const char *text)
{
    FILE *f = fopen(other, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void facts_of_a_pair_of_ours(void **state)
{
    (void)state;
    struct tls_cert_facts facts;
    struct why why;
    int64_t now = (int64_t)time(NULL);
    assert_int_equal(tls_cert_read(&facts, cert, arena, &why), OK);
    assert_int_equal(facts.name_count, 2);
    assert_string_equal(facts.name[0], "one.test");
    assert_string_equal(facts.name[1], "two.test");
    assert_string_equal(facts.issuer, "CN=one.test");
    assert_true(facts.self_signed);
    assert_true(facts.not_before < now && facts.not_after > now + 3600LL * 24 * 3000);
    assert_int_equal(tls_cert_chain_end(cert), TLS_CHAIN_PRIVATE);
}

static void files_that_are_no_certificate(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "nothing",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
    };
    struct tls_cert_facts facts;
    struct why why;
    assert_int_equal(tls_cert_read(&facts, "/nonexistent.pem", arena, &why), E_IO);
    assert_non_null(strstr(why.text, "/nonexistent.pem: No such file"));
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        write_other(texts[i]);
        assert_int_equal(tls_cert_read(&facts, other, arena, &why), E_SYNTAX);
        assert_non_null(strstr(why.text, other));
        assert_int_equal(tls_cert_chain_end(other), TLS_CHAIN_OPEN);
    }
    assert_int_equal(tls_cert_read(&facts, key, arena, &why), E_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_of_a_pair_of_ours),
        cmocka_unit_test(files_that_are_no_certificate),
    };
    return cmocka_run_group_tests_name("tls_cert", tests, set_up, tear_down);
}
