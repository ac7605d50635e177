#include "io/test_bed.h"
#include "io/test_certs.h"
#include "io/tls_private.h"
#include <pthread.h>
#include <sys/stat.h>

static char dir[] = "/tmp/muster-trust-XXXXXX";
static char path[64];
static struct test_cert root, middle, stranger;

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/root.pem", dir);
    root = test_cert_make(&(struct test_cert_form){ .name = "Root", .authority = true });
    middle = test_cert_make(
        &(struct test_cert_form){ .name = "Middle", .issuer = &root, .authority = true });
    stranger = test_cert_make(&(struct test_cert_form){ .name = "Stranger", .authority = true });
    const struct test_cert *const trusted[] = { &root };
    test_cert_write(path, trusted, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    rmdir(dir);
    test_cert_free(&root);
    test_cert_free(&middle);
    test_cert_free(&stranger);
    return 0;
}

static struct tls_trust *trust_create(const char *file, const char *folder)
{
    struct tls_trust *t = NULL;
    struct why why = { "" };

    if (tls_trust_create(&t, file, folder, &why) != OK)
        fail_msg("%s", why.text);
    return t;
}

static void judge(const struct tls_trust *t, X509 *cert, STACK_OF(X509) * rest,
                  enum tls_usage usage, struct tls_peer *out)
{
    struct tls_checked checked;
    (void)tls_trust_judge(t, cert, rest, usage, out, &checked);
    tls_checked_free(&checked);
}

/* Of a certificate that comes with `with`; NULL: alone. */
static struct tls_peer judged(const struct test_cert *c, const struct test_cert *with,
                              enum tls_usage usage)
{
    struct tls_trust *t = trust_create(path, NULL);
    STACK_OF(X509) *rest = sk_X509_new_null();
    struct tls_peer peer;
    if (with != NULL)
        sk_X509_push(rest, with->cert);
    judge(t, c->cert, rest, usage, &peer);
    sk_X509_free(rest);
    tls_trust_unref(&t);
    return peer;
}

static enum tls_verdict verdict(struct test_cert_form f, const struct test_cert *with,
                                enum tls_usage usage)
{
    f.name = "leaf.test";
    struct test_cert c = test_cert_make(&f);
    struct tls_peer peer = judged(&c, with, usage);

    test_cert_free(&c);
    return peer.verdict;
}

static void test_verdicts(void **state)
{
    const struct test_cert_form by_root = { .issuer = &root }, by_middle = { .issuer = &middle };
    const struct test_cert_form by_stranger = { .issuer = &stranger }, alone = { .issuer = NULL };
    const struct test_cert_form old = { .issuer = &root, .from = -9, .to = -1 };
    const struct test_cert_form early = { .issuer = &root, .from = 1, .to = 9 };

    (void)state;
    assert_int_equal(verdict(by_root, NULL, TLS_FOR_SERVER), TLS_VERIFIED);
    assert_int_equal(verdict(by_middle, &middle, TLS_FOR_SERVER), TLS_VERIFIED);
    assert_int_equal(verdict(by_middle, NULL, TLS_FOR_SERVER), TLS_UNKNOWN_ISSUER);
    assert_int_equal(verdict(by_stranger, NULL, TLS_FOR_SERVER), TLS_UNKNOWN_ISSUER);
    assert_int_equal(verdict(by_stranger, &stranger, TLS_FOR_SERVER), TLS_UNKNOWN_ISSUER);
    assert_int_equal(verdict(alone, NULL, TLS_FOR_SERVER), TLS_SELF_SIGNED);
    assert_int_equal(verdict(old, NULL, TLS_FOR_SERVER), TLS_EXPIRED);
    assert_int_equal(verdict(early, NULL, TLS_FOR_SERVER), TLS_NOT_YET_VALID);
}

static void test_usage(void **state)
{
    const struct test_cert_form server = { .issuer = &root, .usage = "serverAuth" };
    const struct test_cert_form client = { .issuer = &root, .usage = "clientAuth" };
    const struct test_cert_form code = { .issuer = &root, .usage = "codeSigning" };

    (void)state;
    assert_int_equal(verdict(server, NULL, TLS_FOR_SERVER), TLS_VERIFIED);
    assert_int_equal(verdict(server, NULL, TLS_FOR_CLIENT), TLS_WRONG_USAGE);
    assert_int_equal(verdict(server, NULL, TLS_FOR_EITHER), TLS_VERIFIED);
    assert_int_equal(verdict(client, NULL, TLS_FOR_SERVER), TLS_WRONG_USAGE);
    assert_int_equal(verdict(client, NULL, TLS_FOR_CLIENT), TLS_VERIFIED);
    assert_int_equal(verdict(client, NULL, TLS_FOR_EITHER), TLS_VERIFIED);
    assert_int_equal(verdict(code, NULL, TLS_FOR_EITHER), TLS_WRONG_USAGE);
}

/* A certificate without the right to sign has signed another one; a signature is not right. */
static void test_broken_chains(void **state)
{
    struct test_cert plain =
        test_cert_make(&(struct test_cert_form){ .name = "plain.test", .issuer = &root });
    struct test_cert forged = test_cert_make(
        &(struct test_cert_form){ .name = "Root", .authority = true }); /* the same name */
    const struct test_cert_form by_plain = { .issuer = &plain }, by_forged = { .issuer = &forged };
    (void)state;
    assert_true(verdict(by_plain, &plain, TLS_FOR_SERVER) > TLS_VERIFIED);
    enum tls_verdict v = verdict(by_forged, &forged, TLS_FOR_SERVER);
    assert_true(v > TLS_VERIFIED);
    test_cert_free(&plain);
    test_cert_free(&forged);
}

static void test_the_certificate_at_fault_is_named(void **state)
{
    struct test_cert old = test_cert_make(&(struct test_cert_form){
        .name = "Old", .issuer = &root, .authority = true, .from = -9, .to = -1 });
    struct test_cert leaf =
        test_cert_make(&(struct test_cert_form){ .name = "leaf.test", .issuer = &old });
    struct tls_peer peer = judged(&leaf, &old, TLS_FOR_SERVER);
    (void)state;
    assert_int_equal(peer.verdict, TLS_EXPIRED);
    assert_int_equal(peer.depth, 1);
    assert_string_equal(peer.subject, "CN=Old");
    assert_string_equal(peer.issuer, "CN=Root");
    assert_int_equal(peer.not_after - peer.not_before, 8 * 86400);
    struct buf text;
    buf_init(&text, 1000);
    tls_peer_explain(&peer, &text);
    static const char begin[] = "certificate has expired: CN=Old, issued by CN=Root, valid 2";
    assert_true(text.len > sizeof(begin));
    assert_memory_equal(text.ptr, begin, sizeof(begin) - 1);
    buf_fini(&text);
    test_cert_free(&old);
    test_cert_free(&leaf);
}

/* Any certificate that is trusted is, one without an issuer too. */
static void test_a_trusted_certificate_of_a_peer(void **state)
{
    struct test_cert alone = test_cert_make(&(struct test_cert_form){ .name = "alone.test" });
    struct test_cert leaf =
        test_cert_make(&(struct test_cert_form){ .name = "leaf.test", .issuer = &stranger });
    struct test_cert other =
        test_cert_make(&(struct test_cert_form){ .name = "other.test", .issuer = &root });
    const struct test_cert *const both[] = { &alone, &leaf };
    char file[64];
    struct tls_peer peer;
    (void)state;
    snprintf(file, sizeof(file), "%s/peers.crt", dir);
    test_cert_write(file, both, 2);
    struct tls_trust *t = trust_create(NULL, dir); /* with root.pem */
    for (int i = 0; i < 2; i++) {
        judge(t, both[i]->cert, NULL, TLS_FOR_SERVER, &peer);
        assert_int_equal(peer.verdict, TLS_VERIFIED);
        assert_string_equal(peer.subject, i == 0 ? "CN=alone.test" : "CN=leaf.test");
    }
    judge(t, other.cert, NULL, TLS_FOR_SERVER, &peer);
    assert_int_equal(peer.verdict, TLS_VERIFIED);
    tls_trust_unref(&t);
    unlink(file);
    test_cert_free(&other);
    test_cert_free(&alone);
    test_cert_free(&leaf);
}

static void test_failures_say_what_is_wrong(void **state)
{
    struct tls_trust *t = NULL;
    struct why why = { "" };
    (void)state;
    char folder[64];
    snprintf(folder, sizeof(folder), "%s/none", dir);
    assert_int_equal(tls_trust_create(&t, folder, NULL, &why), E_IO);
    assert_non_null(strstr(why.text, folder));
    assert_int_equal(tls_trust_create(&t, NULL, folder, &why), E_IO);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(tls_trust_create(&t, NULL, folder, &why), E_NOTFOUND);
    char file[128];
    snprintf(file, sizeof(file), "%s/x.pem", folder);
    test_cert_write_key(file, &root); /* no certificate */
    assert_int_equal(tls_trust_create(&t, file, NULL, &why), E_SYNTAX);
    assert_int_equal(tls_trust_create(&t, NULL, folder, &why), E_SYNTAX);
    assert_non_null(strstr(why.text, file));
    assert_null(t);
    unlink(file);
    rmdir(folder);
}

static void test_the_system_does_not_trust_ours(void **state)
{
    struct tls_trust *t = trust_create(NULL, NULL);
    (void)state;
    struct tls_peer peer;
    judge(t, middle.cert, NULL, TLS_FOR_SERVER, &peer);
    assert_int_equal(peer.verdict, TLS_UNKNOWN_ISSUER);
    tls_trust_unref(&t);
}

/* Else the first certificate waits for the disk. */
static void test_the_system_is_read_in_advance(void **state)
{
    struct tls_trust *t = trust_create(NULL, NULL);
    (void)state;
    struct tls_peer peer;
    assert_false(tls_trust_is_prepared(t));
    tls_trust_prepare(t);
    assert_true(tls_trust_is_prepared(t));
    judge(t, middle.cert, NULL, TLS_FOR_SERVER, &peer);
    assert_int_equal(peer.verdict, TLS_UNKNOWN_ISSUER);
    tls_trust_unref(&t);
}

enum { THREADS = 4, ROUNDS = 20 };

static void *judge_often(void *arg)
{
    struct tls_trust *t = arg;
    struct test_cert leaf =
        test_cert_make(&(struct test_cert_form){ .name = "leaf.test", .issuer = &root });
    uintptr_t verified = 0;

    for (int i = 0; i < ROUNDS; i++) {
        struct tls_trust *mine = tls_trust_ref(t);
        struct tls_peer peer;
        judge(mine, leaf.cert, NULL, TLS_FOR_SERVER, &peer);
        verified += peer.verdict == TLS_VERIFIED;
        tls_trust_unref(&mine);
    }
    test_cert_free(&leaf);
    return (void *)verified;
}

/* Files that may be none, and what is handed out while it changes. */
static void test_what_is_trusted_now(void **state)
{
    static struct tls_trusted trusted = TLS_TRUSTED_INIT;
    struct test_cert leaf =
        test_cert_make(&(struct test_cert_form){ .name = "leaf.test", .issuer = &root });
    struct tls_trust *nothing = NULL, *ours = NULL, *all = NULL;
    struct tls_peer peer;
    struct why why;
    const char *file = path;
    (void)state;
    assert_int_equal(tls_trust_create_with(&nothing, false, NULL, NULL, 0, &why), OK);
    assert_int_equal(tls_trust_create_with(&ours, false, NULL, &file, 1, &why), OK);
    assert_int_equal(tls_trust_create_with(&all, true, NULL, &file, 1, &why), OK);
    judge(nothing, leaf.cert, NULL, TLS_FOR_SERVER, &peer);
    assert_int_equal(peer.verdict, TLS_UNKNOWN_ISSUER);
    judge(all, leaf.cert, NULL, TLS_FOR_SERVER, &peer);
    assert_int_equal(peer.verdict, TLS_VERIFIED);
    assert_null(tls_trusted_get(&trusted));
    tls_trusted_set(&trusted, ours);
    struct tls_trust *taken = tls_trusted_get(&trusted);
    assert_ptr_equal(taken, ours);
    tls_trusted_set(&trusted, nothing);
    judge(taken, leaf.cert, NULL, TLS_FOR_SERVER, &peer); /* it is still there */
    assert_int_equal(peer.verdict, TLS_VERIFIED);
    tls_trust_unref(&taken);
    tls_trusted_set(&trusted, NULL);
    tls_trust_unref(&all);
    test_cert_free(&leaf);
}

static void test_any_thread(void **state)
{
    struct tls_trust *t = trust_create(path, NULL);
    (void)state;
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, judge_often, t), 0);
    void *verified;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], &verified), 0);
        assert_int_equal((uintptr_t)verified, ROUNDS);
    }
    tls_trust_unref(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_broken_chains),
        cmocka_unit_test(test_the_certificate_at_fault_is_named),
        cmocka_unit_test(test_a_trusted_certificate_of_a_peer),
        cmocka_unit_test(test_failures_say_what_is_wrong),
        cmocka_unit_test(test_the_system_does_not_trust_ours),
        cmocka_unit_test(test_the_system_is_read_in_advance),
        cmocka_unit_test(test_what_is_trusted_now),
        cmocka_unit_test(test_any_thread),
    };
    return cmocka_run_group_tests_name("io/tls_trust", tests, set_up, tear_down);
}
