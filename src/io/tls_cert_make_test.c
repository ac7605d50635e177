#include "base/arena.h"
#include "base/buf.h"
#include "io/test_bed.h"
#include "io/tls_cert.h"
#include "io/tls_cert_make.h"
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

static struct arena *arena;
static char dir[] = "/tmp/muster-make-XXXXXX";
static char file[64];

static const struct tls_name names_all[] = {
    { TLS_NAME_DNS, SLICE_INIT("a.test") },
    { TLS_NAME_DNS, SLICE_INIT("*.a.test") },
    { TLS_NAME_SRV, SLICE_INIT("_xmpp-server.a.test") },
    { TLS_NAME_XMPP, SLICE_INIT("b\xc3\xbc"
                                "cher.test") },
};
static const struct tls_names names = { names_all, 4 };

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    arena = arena_create(0);
    snprintf(file, sizeof file, "%s/x", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_destroy(&arena);
    unlink(file);
    return rmdir(dir);
}

static slice made(struct buf *key, enum tls_key_kind kind)
{
    struct why why;
    buf_init(key, TLS_KEY_BYTES_MAX);
    assert_int_equal(tls_key_make(key, kind, &why), OK);
    return buf_fit(key);
}

static void write_file(slice text)
{
    FILE *out = fopen(file, "we");
    assert_non_null(out);
    assert_int_equal(fwrite(text.ptr, 1, text.len, out), text.len);
    fclose(out);
}

static void keys_are_what_was_asked_for(void **state)
{
    char text[TLS_KEY_TEXT_BYTES];
    (void)state;
    for (enum tls_key_kind kind = 0; kind < TLS_KEY_KINDS; kind++) {
        struct buf key;
        tls_key_text(made(&key, kind), text);
        assert_string_equal(text, tls_key_kind_name(kind));
        tls_key_wipe(&key);
    }
    tls_key_text(SLICE("nothing"), text);
    assert_string_equal(text, "no key");
}

static void assert_same_names(const struct tls_names *found)
{
    assert_int_equal(found->count, names.count);
    for (size_t i = 0; i < names.count; i++) {
        assert_int_equal(found->name[i].kind, names.name[i].kind);
        assert_true(slice_eq(found->name[i].text, names.name[i].text));
    }
}

static void a_request_has_its_names_and_its_own_signature(void **state)
{
    struct buf key, pem;
    struct why why;
    (void)state;
    slice text = made(&key, TLS_ECDSA_P384);
    buf_init(&pem, TLS_REQUEST_BYTES_MAX);
    assert_int_equal(tls_request_make(&pem, text, &names, &why), OK);
    BIO *in = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    X509_REQ *request = PEM_read_bio_X509_REQ(in, NULL, NULL, NULL);
    assert_non_null(request);
    assert_int_equal(X509_REQ_verify(request, X509_REQ_get0_pubkey(request)), 1);
    STACK_OF(X509_EXTENSION) *all = X509_REQ_get_extensions(request);
    int at = X509v3_get_ext_by_NID(all, NID_subject_alt_name, -1);
    const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(X509v3_get_ext(all, at));
    struct tls_names found;
    assert_int_equal(tls_names_of_san(&found,
                                      (slice){ (const char *)ASN1_STRING_get0_data(value),
                                               (size_t)ASN1_STRING_length(value) },
                                      arena),
                     OK);
    assert_same_names(&found);
    sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
    X509_REQ_free(request);
    BIO_free(in);
    buf_fini(&pem);
    tls_key_wipe(&key);
}

static void a_certificate_of_its_own_key(void **state)
{
    struct buf key, other, pem;
    struct why why;
    struct tls_chain chain;
    (void)state;
    slice text = made(&key, TLS_RSA_2048), wrong = made(&other, TLS_RSA_2048);
    buf_init(&pem, TLS_REQUEST_BYTES_MAX);
    assert_int_equal(tls_self_sign(&pem, text, &names, &why), OK);
    write_file(buf_fit(&pem));
    assert_int_equal(tls_cert_read_chain(&chain, file, TLS_CHAIN_MAX, arena, &why), OK);
    assert_int_equal(chain.count, 1);
    const struct tls_cert_facts *f = &chain.item[0];
    assert_same_names(&f->names);
    assert_true(f->self_signed && f->for_server && f->for_client);
    assert_false(f->weak_key || f->weak_signature);
    assert_string_equal(f->key, "RSA 2048");
    assert_string_equal(f->signature, "sha256WithRSAEncryption");
    assert_string_equal(f->subject, "CN=a.test");
    assert_int_equal(strlen(f->fingerprint), 64);
    assert_true(slice_eq(slice_of(f->pem), buf_fit(&pem)));
    assert_true(tls_key_fits(text, f->pem));
    assert_false(tls_key_fits(wrong, f->pem));
    assert_false(tls_key_fits(SLICE("nothing"), f->pem));
    assert_false(tls_key_fits(text, "nothing"));
    buf_fini(&pem);
    tls_key_wipe(&other);
    tls_key_wipe(&key);
}

static void keys_are_read_from_files(void **state)
{
    struct buf key, found;
    struct why why;
    (void)state;
    slice text = made(&key, TLS_ECDSA_P256);
    buf_init(&found, TLS_KEY_BYTES_MAX);
    assert_int_equal(tls_key_read(&found, "/nonexistent/x", &why), E_IO);
    assert_non_null(strstr(why.text, "/nonexistent/x: No such file"));
    write_file(SLICE("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"));
    assert_int_equal(tls_key_read(&found, file, &why), E_SYNTAX);
    assert_int_equal(found.len, 0);
    write_file(text);
    assert_int_equal(tls_key_read(&found, file, &why), OK);
    assert_true(slice_eq(buf_fit(&found), text));
    tls_key_wipe(&found);
    tls_key_wipe(&key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_what_was_asked_for),
        cmocka_unit_test(a_request_has_its_names_and_its_own_signature),
        cmocka_unit_test(a_certificate_of_its_own_key),
        cmocka_unit_test(keys_are_read_from_files),
    };
    return cmocka_run_group_tests_name("tls_cert_make", tests, set_up, tear_down);
}
