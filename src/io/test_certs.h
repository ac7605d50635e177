/* test_certs: certificates that a test makes as it wants them, with keys of their own. */
#pragma once
#include "base/mem.h"
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct test_cert {
    X509 *cert;
    EVP_PKEY *key;
};

struct test_cert_form {
    const char *name;               /* common name */
    const struct test_cert *issuer; /* NULL: self-signed */
    bool authority;
    const char *usage;     /* extendedKeyUsage: "serverAuth"; NULL: none */
    const char *key_usage; /* keyUsage: "digitalSignature"; NULL: none, or that of an authority */
    const char *san;       /* subjectAltName as in x509v3_config(5); NULL: none */
    int from, to;          /* days from now; both 0: valid */
};

static inline void test_cert_extend(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(ext);
    assert_int_equal(X509_add_ext(cert, ext, -1), 1);
    X509_EXTENSION_free(ext);
}

static inline struct test_cert test_cert_make(const struct test_cert_form *f)
{
    static _Atomic long serial = 1;
    struct test_cert c = { X509_new(), EVP_EC_gen("P-256") };
    const struct test_cert *by = f->issuer != NULL ? f->issuer : &c;
    X509_NAME *name = X509_get_subject_name(c.cert);
    bool dated = f->from != 0 || f->to != 0;

    X509_set_version(c.cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(c.cert), serial++);
    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                                (const unsigned char *)f->name, -1, -1, 0),
                     1);
    X509_set_issuer_name(c.cert, X509_get_subject_name(by->cert));
    X509_gmtime_adj(X509_getm_notBefore(c.cert), dated ? f->from * 86400L : -86400L);
    X509_gmtime_adj(X509_getm_notAfter(c.cert), dated ? f->to * 86400L : 86400L);
    X509_set_pubkey(c.cert, c.key);
    test_cert_extend(c.cert, NID_basic_constraints, f->authority ? "critical,CA:TRUE" : "CA:FALSE");
    if (f->key_usage != NULL)
        test_cert_extend(c.cert, NID_key_usage, f->key_usage);
    else if (f->authority)
        test_cert_extend(c.cert, NID_key_usage, "critical,keyCertSign,cRLSign");
    if (f->usage != NULL)
        test_cert_extend(c.cert, NID_ext_key_usage, f->usage);
    if (f->san != NULL)
        test_cert_extend(c.cert, NID_subject_alt_name, f->san);
    assert_true(X509_sign(c.cert, by->key, EVP_sha256()) > 0);
    return c;
}

static inline void test_cert_free(struct test_cert *c)
{
    X509_free(c->cert);
    EVP_PKEY_free(c->key);
}

/* Certificates in one file, each signed by the next. */
static inline void test_cert_write(const char *path, const struct test_cert *const *chain,
                                   size_t count)
{
    FILE *out = fopen(path, "we");

    assert_non_null(out);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(PEM_write_X509(out, chain[i]->cert), 1);
    fclose(out);
}

static inline void test_cert_write_key(const char *path, const struct test_cert *c)
{
    FILE *out = fopen(path, "we");

    assert_non_null(out);
    assert_int_equal(PEM_write_PrivateKey(out, c->key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(out);
}
