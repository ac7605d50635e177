#include "base/arena.h"
#include "base/buf.h"
#include "io/test_bed.h"
#include "io/test_certs.h"
#include "io/tls.h"
#include "io/tls_cert.h"
#include "io/tls_cert_make.h"
#include "io/tls_trust.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
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
    struct tls_chain chain;
    struct why why;
    int64_t now = (int64_t)time(NULL);
    assert_int_equal(tls_cert_read(&facts, cert, arena, &why), OK);
    assert_int_equal(facts.name_count, 2);
    assert_string_equal(facts.name[0], "one.test");
    assert_string_equal(facts.name[1], "two.test");
    assert_string_equal(facts.issuer, "CN=one.test");
    assert_true(facts.self_signed);
    assert_true(facts.not_before < now && facts.not_after > now + 3600LL * 24 * 3000);
    assert_int_equal(tls_cert_read_chain(&chain, cert, TLS_CHAIN_MAX, arena, &why), OK);
    assert_int_equal(tls_chain_leads(&chain, NULL), TLS_CHAIN_PRIVATE);
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
    }
    assert_int_equal(tls_cert_read(&facts, key, arena, &why), E_SYNTAX);
}

/* Nothing of a file is left out silently. */
static void files_that_are_not_whole_certificates(void **state)
{
    struct buf text;
    struct tls_cert_facts facts;
    struct tls_chain chain;
    struct why why;
    (void)state;
    buf_init(&text, TLS_PEM_BYTES_MAX);
    assert_int_equal(tls_cert_read(&facts, cert, arena, &why), OK);
    for (int i = 0; i < TLS_CHAIN_MAX; i++)
        buf_add(&text, slice_of(facts.pem));
    assert_int_equal(
        tls_chain_of_pem(&chain, buf_slice(&text), TLS_CHAIN_MAX, "x.pem", arena, &why), OK);
    assert_int_equal(chain.count, TLS_CHAIN_MAX);
    assert_int_equal(
        tls_chain_of_pem(&chain, buf_slice(&text), TLS_CHAIN_MAX - 1, "x.pem", arena, &why),
        E_LIMIT);
    assert_string_equal(why.text, "x.pem: found more than 15 certificates, allowed at most that");
    text.len -= strlen(facts.pem) / 2;
    assert_int_equal(
        tls_chain_of_pem(&chain, buf_slice(&text), TLS_CHAIN_MAX, "x.pem", arena, &why), E_SYNTAX);
    assert_string_equal(why.text, "x.pem: the certificate 16 in it is damaged");
    assert_int_equal(chain.count, 0);
    buf_fini(&text);
}

static void a_pipe_is_no_certificate(void **state)
{
    struct buf key_text;
    struct tls_cert_facts facts;
    struct tls_trust *trust = NULL;
    struct tls_ctx *ctx = NULL;
    struct why why;
    (void)state;
    unlink(other);
    assert_int_equal(mkfifo(other, 0600), 0);
    buf_init(&key_text, TLS_KEY_BYTES_MAX);
    assert_int_equal(tls_cert_read(&facts, other, arena, &why), E_SYNTAX);
    assert_int_equal(tls_key_read(&key_text, other, &why), E_SYNTAX);
    assert_int_equal(tls_trust_create(&trust, other, NULL, &why), E_SYNTAX);
    assert_int_equal(tls_ctx_create(&ctx, &(struct tls_cert){ NULL, other, key }, 1, &why),
                     E_SYNTAX);
    assert_non_null(strstr(why.text, "not a regular file"));
    unlink(other);
    buf_fini(&key_text);
}

/* An authority that only its operator trusts, with and without its root in the file. */
static void chains_of_an_authority_of_our_own(void **state)
{
    struct test_cert root =
        test_cert_make(&(struct test_cert_form){ .name = "Root", .authority = true });
    struct test_cert leaf =
        test_cert_make(&(struct test_cert_form){ .name = "leaf.test", .issuer = &root });
    const struct test_cert *const both[] = { &leaf, &root }, *const top[] = { &root };
    struct tls_chain chain;
    struct tls_trust *trust = NULL;
    struct why why;
    (void)state;
    test_cert_write(other, both, 2);
    assert_int_equal(tls_cert_read_chain(&chain, other, TLS_CHAIN_MAX, arena, &why), OK);
    assert_int_equal(tls_chain_leads(&chain, NULL), TLS_CHAIN_PRIVATE);
    test_cert_write(other, both, 1);
    assert_int_equal(tls_cert_read_chain(&chain, other, TLS_CHAIN_MAX, arena, &why), OK);
    assert_int_equal(tls_chain_leads(&chain, NULL), TLS_CHAIN_OPEN);
    test_cert_write(other, top, 1);
    assert_int_equal(tls_trust_create(&trust, other, NULL, &why), OK);
    assert_int_equal(tls_chain_leads(&chain, trust), TLS_CHAIN_TRUSTED);
    tls_trust_unref(&trust);
    test_cert_free(&leaf);
    test_cert_free(&root);
}

/* Purposes of OpenSSL take any of the three usages for a server. */
static void a_key_that_may_not_sign(void **state)
{
    static const struct {
        const char *usage;
        bool signs;
    } rows[] = {
        { NULL, true },
        { "critical,digitalSignature", true },
        { "digitalSignature,keyEncipherment", true },
        { "critical,keyAgreement", false },
        { "keyEncipherment", false },
        { "critical,keyCertSign", false },
    };
    struct tls_cert_facts facts;
    struct why why;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct test_cert one = test_cert_make(
            &(struct test_cert_form){ .name = "leaf.test", .key_usage = rows[i].usage });
        const struct test_cert *const all[] = { &one };
        test_cert_write(other, all, 1);
        assert_int_equal(tls_cert_read(&facts, other, arena, &why), OK);
        assert_int_equal(facts.for_signatures, rows[i].signs);
        test_cert_free(&one);
    }
}

static void all_names_of_a_certificate_are_read(void **state)
{
    enum { NAMES = 300 };
    struct tls_name names[NAMES];
    struct tls_chain chain;
    struct buf key_text, pem;
    struct why why;
    (void)state;
    for (int i = 0; i < NAMES; i++)
        names[i] = (struct tls_name){ TLS_NAME_DNS, slice_of(arena_printf(arena, "a%d.test", i)) };
    buf_init(&key_text, TLS_KEY_BYTES_MAX);
    buf_init(&pem, TLS_REQUEST_BYTES_MAX);
    assert_int_equal(tls_key_make(&key_text, TLS_ECDSA_P256, &why), OK);
    assert_int_equal(
        tls_self_sign(&pem, buf_slice(&key_text), &(struct tls_names){ names, NAMES }, &why), OK);
    assert_int_equal(tls_chain_of_pem(&chain, buf_slice(&pem), 1, "x", arena, &why), OK);
    assert_int_equal(chain.item[0].name_count, NAMES);
    assert_string_equal(chain.item[0].name[NAMES - 1], "a299.test");
    buf_fini(&pem);
    tls_key_wipe(&key_text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_of_a_pair_of_ours),
        cmocka_unit_test(files_that_are_no_certificate),
        cmocka_unit_test(files_that_are_not_whole_certificates),
        cmocka_unit_test(a_pipe_is_no_certificate),
        cmocka_unit_test(chains_of_an_authority_of_our_own),
        cmocka_unit_test(a_key_that_may_not_sign),
        cmocka_unit_test(all_names_of_a_certificate_are_read),
    };
    return cmocka_run_group_tests_name("tls_cert", tests, set_up, tear_down);
}
