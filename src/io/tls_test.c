#include "io/test_bed.h"
#include "io/tls.h"
#include "io/tls_cert_make.h"
#include "io/tls_private.h"
#include <fcntl.h>
#include <openssl/pem.h>
#include <sys/stat.h>

enum { FILES = 6 };

static char dir[] = "/tmp/muster-tls-XXXXXX";
static char path[FILES][64];
static const char *const names[] = { "one.test", "two.test" };

static int set_up(void **state)
{
    struct why why = { "" };

    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    for (int i = 0; i < FILES; i++)
        snprintf(path[i], sizeof(path[i]), "%s/%d.pem", dir, i);
    return tls_self_signed(path[0], path[1], names, 2, &why) == OK &&
                   tls_self_signed(path[2], path[3], &names[1], 1, &why) == OK
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < FILES; i++)
        unlink(path[i]);
    rmdir(dir);
    return 0;
}

static enum err create(const char *cert, const char *key, struct why *why)
{
    struct tls_cert certs[] = { { NULL, cert, key } };
    struct tls_ctx *ctx = NULL;
    enum err e = tls_ctx_create(&ctx, certs, 1, why);

    tls_ctx_unref(&ctx);
    return e;
}

static mode_t mode_of(const char *file)
{
    struct stat st;
    assert_int_equal(stat(file, &st), 0);
    return st.st_mode & 0777;
}

static void test_self_signed_files(void **state)
{
    struct why why = { "" };
    (void)state;
    assert_int_equal(mode_of(path[0]), 0644);
    assert_int_equal(mode_of(path[1]), 0600);
    struct stat before;
    assert_int_equal(stat(path[0], &before), 0);
    assert_int_equal(tls_self_signed(path[0], path[1], names, 2, &why), OK); /* it is there */
    struct stat after;
    assert_int_equal(stat(path[0], &after), 0);
    assert_int_equal(after.st_ino, before.st_ino);
    char cert[80];
    snprintf(cert, sizeof(cert), "%s/other.pem", dir);
    char key[80];
    snprintf(key, sizeof(key), "%s/other-key.pem", dir);
    assert_int_equal(tls_self_signed(path[0], key, names, 2, &why), E_NOTFOUND);
    assert_non_null(strstr(why.text, key));
    assert_int_equal(access(key, F_OK), -1); /* a key that is lost is not made anew */
    snprintf(cert, sizeof(cert), "%s/none/cert.pem", dir);
    assert_int_equal(tls_self_signed(cert, cert, names, 2, &why), E_NOTFOUND);
}

/* A power cut between the two files. */
static void test_self_signed_key_alone(void **state)
{
    struct why why = { "" };
    struct tls_ctx *ctx = NULL;
    (void)state;
    char cert[80];
    snprintf(cert, sizeof(cert), "%s/half.pem", dir);
    char key[80];
    snprintf(key, sizeof(key), "%s/half-key.pem", dir);
    assert_int_equal(tls_self_signed(cert, key, names, 2, &why), OK);
    struct stat before;
    assert_int_equal(stat(key, &before), 0);
    unlink(cert);
    assert_int_equal(tls_self_signed(cert, key, names, 2, &why), OK);
    struct stat after;
    assert_int_equal(stat(key, &after), 0);
    assert_int_equal(after.st_ino, before.st_ino);
    struct tls_cert both = { NULL, cert, key };
    assert_int_equal(tls_ctx_create(&ctx, &both, 1, &why), OK);
    tls_ctx_unref(&ctx);
    assert_int_equal(truncate(key, 0), 0);
    assert_int_equal(tls_self_signed(cert, key, names, 2, &why), E_CORRUPT);
    assert_int_equal(chmod(key, 0644), 0);
    assert_int_equal(tls_self_signed(cert, key, names, 2, &why), E_DENIED);
    assert_non_null(strstr(why.text, key));
    unlink(cert);
    assert_int_equal(tls_self_signed(cert, key, names, 2, &why), E_DENIED);
    assert_int_equal(access(cert, F_OK), -1);
    unlink(key);
}

static void test_failures_say_what_is_wrong(void **state)
{
    struct why why = { "" };

    (void)state;
    assert_int_equal(create(path[0], path[1], &why), OK);
    assert_int_equal(create("/none.pem", path[1], &why), E_IO);
    assert_non_null(strstr(why.text, "/none.pem"));
    assert_int_equal(create(path[0], path[3], &why), E_CONFLICT);
    assert_non_null(strstr(why.text, path[3]));
    assert_int_equal(create(path[1], path[1], &why), E_SYNTAX); /* a key is no certificate */
    assert_non_null(strstr(why.text, path[1]));
    assert_int_equal(create(path[0], path[0], &why), E_SYNTAX);
}

static void test_one_certificate_a_domain(void **state)
{
    struct tls_cert certs[] = { { "one.test", path[0], path[1] },
                                { "ONE.test", path[2], path[3] } };
    struct tls_ctx *ctx = NULL;
    struct why why = { "" };

    (void)state;
    assert_int_equal(tls_ctx_create(&ctx, certs, 2, &why), E_EXISTS);
    assert_null(ctx);
    certs[1].domain = "two.test";
    assert_int_equal(tls_ctx_create(&ctx, certs, 2, &why), OK);
    tls_ctx_unref(&ctx);
}

static void test_references(void **state)
{
    struct tls_cert certs[] = { { NULL, path[0], path[1] } };
    struct tls_ctx *ctx = NULL;
    struct why why = { "" };
    (void)state;
    assert_int_equal(tls_ctx_create(&ctx, certs, 1, &why), OK);
    struct tls_ctx *mine = tls_ctx_ref(ctx);
    tls_ctx_unref(&ctx); /* as a reload does */
    assert_null(ctx);
    SSL *ssl = tls_session_create(mine, NULL, TLS_XMPP);
    assert_non_null(SSL_get_certificate(ssl));
    SSL_free(ssl);
    tls_ctx_unref(&mine);
    tls_ctx_unref(&mine);
}

static bool shows(const struct tls_ctx *ctx, const char *domain, int file)
{
    FILE *f = fopen(path[file], "r");
    assert_non_null(f);
    X509 *wanted = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    const X509 *shown =
        SSL_CTX_get0_certificate(tls_ctx_for(ctx, slice_of(domain), TLS_XMPP_SERVER));
    bool same = X509_cmp(shown, wanted) == 0;
    X509_free(wanted);
    return same;
}

static void write_pair(const char *const *dns, size_t count, int file)
{
    struct tls_name name[8];
    struct why why;
    struct buf pem;
    for (size_t i = 0; i < count; i++)
        name[i] = (struct tls_name){ TLS_NAME_DNS, slice_of(dns[i]) };
    tls_key_room(&pem, 64 * 1024);
    assert_int_equal(tls_key_make(&pem, TLS_ECDSA_P256, &why), OK);
    assert_int_equal(tls_self_sign(&pem, buf_slice(&pem), &(struct tls_names){ name, count }, &why),
                     OK);
    FILE *f = fopen(path[file], "w");
    assert_non_null(f);
    assert_int_equal(fwrite(pem.ptr, 1, pem.len, f), pem.len);
    fclose(f);
    tls_key_wipe(&pem);
}

/* A service has no certificate of its own: the first that names it is shown. */
static void test_the_certificate_that_names_a_domain(void **state)
{
    static const char *const of_three[] = { "three.test", "Conference.three.test", "gate.test" };
    static const char *const of_four[] = { "four.test", "*.four.test", "gate.test", "*.gate.test" };
    struct tls_cert certs[] = { { NULL, path[0], path[1] },
                                { "three.test", path[4], path[4] },
                                { "four.test", path[5], path[5] } };
    struct why why;
    (void)state;
    write_pair(of_three, 3, 4);
    write_pair(of_four, 4, 5);
    struct tls_ctx *ctx = NULL;
    assert_int_equal(tls_ctx_create(&ctx, certs, 3, &why), OK);
    for (int round = 0; round < 2; round++) { /* the order stays when it is renewed */
        assert_true(shows(ctx, "three.test", 4) && shows(ctx, "Four.test.", 5));
        assert_true(shows(ctx, "conference.THREE.test", 4));
        assert_true(shows(ctx, "pubsub.three.test", 0));
        assert_true(shows(ctx, "irc.four.test", 5) && shows(ctx, "a.irc.four.test", 0));
        assert_true(shows(ctx, "gate.test", 4) && shows(ctx, "irc.gate.test", 5));
        assert_true(shows(ctx, "two.test", 0) && shows(ctx, "test", 0) && shows(ctx, "", 0));
        assert_true(shows(ctx, ".four.test", 0) && shows(ctx, ".", 0));
        struct tls_ctx *renewed = NULL;
        assert_int_equal(tls_ctx_renew(&renewed, ctx, &why), OK);
        tls_ctx_unref(&ctx);
        ctx = renewed;
    }
    tls_ctx_unref(&ctx);
}

static bool session_shows(struct tls_ctx *ctx, int file)
{
    FILE *f = fopen(path[file], "r");
    assert_non_null(f);
    X509 *wanted = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    SSL *ssl = tls_session_create(ctx, NULL, TLS_XMPP);
    bool same = X509_cmp(SSL_get_certificate(ssl), wanted) == 0;
    SSL_free(ssl);
    X509_free(wanted);
    return same;
}

/* The default one still is that of a stream to a domain that has none. */
static void test_who_names_no_domain(void **state)
{
    static const char *const of_three[] = { "three.test" };
    struct tls_cert certs[] = { { NULL, path[0], path[1] }, { "three.test", path[4], path[4] } };
    struct tls_ctx *ctx = NULL, *renewed = NULL;
    struct why why;
    (void)state;
    write_pair(of_three, 1, 4);
    assert_int_equal(tls_ctx_create(&ctx, certs, 2, &why), OK);
    assert_true(session_shows(ctx, 0));
    tls_ctx_assume(ctx, SLICE("none.test"));
    assert_true(session_shows(ctx, 0));
    tls_ctx_assume(ctx, SLICE("three.test"));
    assert_int_equal(tls_ctx_renew(&renewed, ctx, &why), OK);
    assert_true(session_shows(ctx, 4) && session_shows(renewed, 4));
    assert_true(shows(ctx, "none.test", 0) && shows(renewed, "none.test", 0));
    tls_ctx_unref(&renewed);
    tls_ctx_unref(&ctx);
    unlink(path[4]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_self_signed_files),
        cmocka_unit_test(test_self_signed_key_alone),
        cmocka_unit_test(test_failures_say_what_is_wrong),
        cmocka_unit_test(test_one_certificate_a_domain),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_the_certificate_that_names_a_domain),
        cmocka_unit_test(test_who_names_no_domain),
    };
    return cmocka_run_group_tests_name("io/tls", tests, set_up, tear_down);
}
