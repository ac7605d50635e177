#include "io/tls_cert_make.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/durable.h"
#include "base/ensure.h"
#include "base/rand.h"
#include "base/secret_file.h"
#include "base/whole_file.h"
#include "io/tls_cert.h"
#include "io/tls_private.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

enum { SELF_SIGNED_DAYS = 3650, SERIAL_BYTES = 16, COMMON_NAME_MAX = 64, CURVE_BYTES_MAX = 32 };

/* What TLS, SASL EXTERNAL and IPsec may need; an authority takes from it what it likes. */
static const char request_usage[] = "critical,digitalSignature,keyEncipherment,"
                                    "dataEncipherment,keyAgreement";
static const char request_purpose[] = "serverAuth,clientAuth,ipsecEndSystem";
static const char self_signed_purpose[] = "serverAuth,clientAuth";

static const struct {
    const char *name, *curve; /* NULL: RSA */
    unsigned bits;
} key_kinds[] = {
    [TLS_RSA_2048] = { "RSA 2048", NULL, 2048 },
    [TLS_RSA_3072] = { "RSA 3072", NULL, 3072 },
    [TLS_RSA_4096] = { "RSA 4096", NULL, 4096 },
    [TLS_ECDSA_P256] = { "ECDSA P-256", "P-256", 256 },
    [TLS_ECDSA_P384] = { "ECDSA P-384", "P-384", 384 },
};

const char *tls_key_kind_name(enum tls_key_kind kind)
{
    ensure(kind < TLS_KEY_KINDS);
    return key_kinds[kind].name;
}

static enum err make_fail(struct why *why, const char *what)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    why_set(why, "%s: %s", what, text != NULL ? text : "unknown");
    ERR_clear_error();
    return E_INTERNAL;
}

/* NULL: it is none. */
static EVP_PKEY *key_of(slice pem)
{
    BIO *in = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    EVP_PKEY *key = in != NULL ? PEM_read_bio_PrivateKey(in, NULL, tls_no_pass_phrase, NULL) : NULL;
    BIO_free(in);
    return key;
}

static bool add_key(struct buf *out, const EVP_PKEY *key)
{
    BIO *pem = BIO_new(BIO_s_secmem());
    char *ptr;
    bool ok = pem != NULL && key != NULL &&
              PEM_write_bio_PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL) == 1;
    if (ok) {
        long len = BIO_get_mem_data(pem, &ptr);
        buf_append(out, ptr, (size_t)len);
    }
    BIO_free(pem);
    return ok && !out->overflow;
}

enum err tls_key_make(struct buf *out, enum tls_key_kind kind, struct why *why)
{
    ensure(kind < TLS_KEY_KINDS);
    EVP_PKEY *key = key_kinds[kind].curve != NULL ? EVP_EC_gen(key_kinds[kind].curve)
                                                  : EVP_RSA_gen(key_kinds[kind].bits);
    bool ok = add_key(out, key);
    EVP_PKEY_free(key);
    return ok ? OK : make_fail(why, "no key could be made");
}

enum err tls_key_of_pem(struct buf *out, slice pem, const char *path, struct why *why)
{
    EVP_PKEY *key = pem.len > 0 ? key_of(pem) : NULL;
    bool ok = add_key(out, key);
    EVP_PKEY_free(key);
    if (!ok)
        why_set(why, "%s: found no private key in PEM without a pass phrase", path);
    ERR_clear_error();
    return ok ? OK : E_SYNTAX;
}

enum err tls_key_read(struct buf *out, const char *path, struct why *why)
{
    struct buf pem;
    buf_init(&pem, TLS_PEM_BYTES_MAX);
    enum err e = whole_file_read(&pem, path, why);
    if (e == OK)
        e = tls_key_of_pem(out, buf_fit(&pem), path, why);
    tls_key_wipe(&pem);
    return e;
}

void tls_key_room(struct buf *out, size_t bytes_max)
{
    buf_init(out, bytes_max);
    ensure(buf_reserve(out, bytes_max) != NULL);
}

void tls_key_wipe(struct buf *key)
{
    if (key->ptr != NULL)
        explicit_bzero(key->ptr, key->cap);
    buf_fini(key);
}

void tls_key_text(slice key, char out[TLS_KEY_TEXT_BYTES])
{
    EVP_PKEY *k = key_of(key);
    struct arena *arena = arena_create(0);
    snprintf(out, TLS_KEY_TEXT_BYTES, "%s", k != NULL ? tls_cert_key(k, arena) : "no key");
    arena_destroy(&arena);
    EVP_PKEY_free(k);
    ERR_clear_error();
}

bool tls_key_fits(slice key, const char *certificate)
{
    BIO *in = BIO_new_mem_buf(certificate, -1);
    X509 *cert = in != NULL ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
    EVP_PKEY *k = key_of(key);
    bool fits = cert != NULL && k != NULL && X509_check_private_key(cert, k) == 1;
    EVP_PKEY_free(k);
    X509_free(cert);
    BIO_free(in);
    ERR_clear_error();
    return fits;
}

/* The value of an otherName. NULL: no memory. */
static ASN1_TYPE *other_value(int type, slice text)
{
    ASN1_TYPE *value = ASN1_TYPE_new();
    ASN1_STRING *string = ASN1_STRING_type_new(type);
    if (value != NULL && string != NULL && ASN1_STRING_set(string, text.ptr, (int)text.len) == 1) {
        ASN1_TYPE_set(value, type, string);
        return value;
    }
    ASN1_STRING_free(string);
    ASN1_TYPE_free(value);
    return NULL;
}

static bool set_name(GENERAL_NAME *out, const struct tls_name *name)
{
    if (name->kind == TLS_NAME_DNS) {
        ASN1_IA5STRING *text = ASN1_IA5STRING_new();
        if (text == NULL || ASN1_STRING_set(text, name->text.ptr, (int)name->text.len) != 1) {
            ASN1_IA5STRING_free(text);
            return false;
        }
        GENERAL_NAME_set0_value(out, GEN_DNS, text);
        return true;
    }
    bool srv = name->kind == TLS_NAME_SRV;
    ASN1_TYPE *value = other_value(srv ? V_ASN1_IA5STRING : V_ASN1_UTF8STRING, name->text);
    return value != NULL && GENERAL_NAME_set0_othername(
                                out, OBJ_nid2obj(srv ? NID_SRVName : NID_XmppAddr), value) == 1;
}

/* subjectAltName, RFC 5280 §4.2.1.6. NULL: no memory. */
static GENERAL_NAMES *general_names(const struct tls_names *names)
{
    GENERAL_NAMES *all = GENERAL_NAMES_new();
    for (size_t i = 0; i < names->count && all != NULL; i++) {
        GENERAL_NAME *name = GENERAL_NAME_new();
        if (name == NULL || !set_name(name, &names->name[i]) ||
            sk_GENERAL_NAME_push(all, name) <= 0) {
            GENERAL_NAME_free(name);
            GENERAL_NAMES_free(all);
            all = NULL;
        }
    }
    return all;
}

static bool add_to_subject(X509_NAME *subject, const char *type, slice text)
{
    return X509_NAME_add_entry_by_txt(subject, type, MBSTRING_UTF8, (const unsigned char *)text.ptr,
                                      (int)text.len, -1, 0) == 1;
}

/* The last label comes first: "DC=test, DC=example". */
static bool add_components(X509_NAME *subject, slice name)
{
    bool ok = true;
    while (ok && name.len > 0) {
        size_t at = name.len;
        while (at > 0 && name.ptr[at - 1] != '.')
            at--;
        ok = at == name.len || add_to_subject(subject, "DC", slice_from(name, at));
        name.len = at > 0 ? at - 1 : 0;
    }
    return ok;
}

static bool add_common_name(X509_NAME *subject, slice name)
{
    return name.len > COMMON_NAME_MAX ? add_components(subject, name)
                                      : add_to_subject(subject, "CN", name);
}

static bool push_extension(STACK_OF(X509_EXTENSION) * all, X509_EXTENSION *ext)
{
    if (ext != NULL && sk_X509_EXTENSION_push(all, ext) > 0)
        return true;
    X509_EXTENSION_free(ext);
    return false;
}

static bool extend_request(X509_REQ *request, const struct tls_names *names)
{
    GENERAL_NAMES *alt = general_names(names);
    STACK_OF(X509_EXTENSION) *all = sk_X509_EXTENSION_new_null();
    bool ok =
        alt != NULL && all != NULL &&
        push_extension(all, X509V3_EXT_i2d(NID_subject_alt_name, 0, alt)) &&
        push_extension(all, X509V3_EXT_conf_nid(NULL, NULL, NID_key_usage, request_usage)) &&
        push_extension(all, X509V3_EXT_conf_nid(NULL, NULL, NID_ext_key_usage, request_purpose)) &&
        X509_REQ_add_extensions(request, all) == 1;
    sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
    GENERAL_NAMES_free(alt);
    return ok;
}

static void add_pem(struct buf *out, BIO *pem)
{
    char *ptr;
    long len = BIO_get_mem_data(pem, &ptr);
    buf_append(out, ptr, (size_t)len);
}

/* As strong as the key: P-384 has 192 bits. */
static const EVP_MD *request_digest(const EVP_PKEY *key)
{
    return EVP_PKEY_get_security_bits(key) >= 192 ? EVP_sha384() : EVP_sha256();
}

enum err tls_request_make(struct buf *out, slice key, const struct tls_names *names,
                          struct why *why)
{
    ensure(names->count > 0);
    EVP_PKEY *k = key_of(key);
    X509_REQ *request = X509_REQ_new();
    BIO *pem = BIO_new(BIO_s_mem());
    bool ok = k != NULL && request != NULL && pem != NULL &&
              X509_REQ_set_version(request, X509_REQ_VERSION_1) == 1 &&
              add_common_name(X509_REQ_get_subject_name(request), names->name[0].text) &&
              X509_REQ_set_pubkey(request, k) == 1 && extend_request(request, names) &&
              X509_REQ_sign(request, k, request_digest(k)) > 0 &&
              PEM_write_bio_X509_REQ(pem, request) == 1;
    if (ok)
        add_pem(out, pem);
    BIO_free(pem);
    X509_REQ_free(request);
    EVP_PKEY_free(k);
    return ok && !out->overflow ? OK : make_fail(why, "no request could be made");
}

static bool set_serial(X509 *cert)
{
    unsigned char bytes[SERIAL_BYTES];
    rand_bytes(bytes, sizeof(bytes));
    bytes[0] = (unsigned char)((bytes[0] & 0x7f) | 0x40); /* positive, RFC 5280 §4.1.2.2 */
    BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    bool ok = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
    BN_free(number);
    return ok;
}

/* Without keyUsage: it would have to say that the certificate signs itself. */
static bool extend_certificate(X509 *cert, const struct tls_names *names)
{
    GENERAL_NAMES *alt = general_names(names);
    X509_EXTENSION *purpose =
        X509V3_EXT_conf_nid(NULL, NULL, NID_ext_key_usage, self_signed_purpose);
    bool ok = alt != NULL && purpose != NULL &&
              X509_add1_ext_i2d(cert, NID_subject_alt_name, alt, 0, X509V3_ADD_DEFAULT) == 1 &&
              X509_add_ext(cert, purpose, -1) == 1;
    X509_EXTENSION_free(purpose);
    GENERAL_NAMES_free(alt);
    return ok;
}

static X509 *sign_certificate(EVP_PKEY *key, const struct tls_names *names)
{
    X509 *cert = X509_new();
    X509_NAME *name = cert == NULL ? NULL : X509_get_subject_name(cert);
    long days = SELF_SIGNED_DAYS;

    if (name != NULL && X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
        add_common_name(name, names->name[0].text) && X509_set_issuer_name(cert, name) == 1 &&
        X509_gmtime_adj(X509_getm_notBefore(cert), -3600) != NULL &&
        X509_gmtime_adj(X509_getm_notAfter(cert), days * 86400) != NULL &&
        X509_set_pubkey(cert, key) == 1 && extend_certificate(cert, names) &&
        X509_sign(cert, key, EVP_sha256()) > 0)
        return cert;
    X509_free(cert);
    return NULL;
}

enum err tls_self_sign(struct buf *out, slice key, const struct tls_names *names, struct why *why)
{
    ensure(names->count > 0);
    EVP_PKEY *k = key_of(key);
    X509 *cert = k != NULL ? sign_certificate(k, names) : NULL;
    BIO *pem = BIO_new(BIO_s_mem());
    bool ok = cert != NULL && pem != NULL && PEM_write_bio_X509(pem, cert) == 1;
    if (ok)
        add_pem(out, pem);
    BIO_free(pem);
    X509_free(cert);
    EVP_PKEY_free(k);
    return ok && !out->overflow ? OK : make_fail(why, "no certificate could be made");
}

/* The key that is there, or a new one, which is on the disk before this returns. */
static enum err obtain_key(struct buf *out, const char *path, struct why *why)
{
    enum err e = secret_file_check(path, why);
    if (e == OK)
        return tls_key_read(out, path, why);
    if (e != E_NOTFOUND)
        return e;
    e = tls_key_make(out, TLS_ECDSA_P256, why);
    return e == OK ? secret_file_write(path, buf_fit(out), why) : e;
}

static enum err write_certificate(const char *path, slice key, const char *const *domains,
                                  size_t count, struct why *why)
{
    struct arena *arena = arena_create(0);
    struct tls_name *name = arena_new(arena, struct tls_name, count);
    struct buf pem;
    buf_init(&pem, TLS_REQUEST_BYTES_MAX);
    for (size_t i = 0; i < count; i++)
        name[i] = (struct tls_name){ TLS_NAME_DNS, slice_of(domains[i]) };
    enum err e = tls_self_sign(&pem, key, &(struct tls_names){ name, count }, why);
    if (e == OK)
        e = durable_write(path, 0644, buf_fit(&pem), why);
    buf_fini(&pem);
    arena_destroy(&arena);
    return e;
}

/* The key is written first. After a crash in between, the next start makes a certificate for the
 * key. A certificate without a key is an error. */
enum err tls_self_signed(const char *cert_path, const char *key_path, const char *const *domains,
                         size_t count, struct why *why)
{
    bool signed_before = access(cert_path, F_OK) == 0;
    ensure(count > 0);
    if (signed_before && access(key_path, F_OK) != 0) {
        why_set(why,
                "%s: the key of %s is missing: restore it, or remove the certificate to have a new "
                "pair made",
                key_path, cert_path);
        return E_NOTFOUND;
    }
    struct buf key;
    tls_key_room(&key, TLS_KEY_BYTES_MAX);
    enum err e = obtain_key(&key, key_path, why);
    if (e == OK && !signed_before)
        e = write_certificate(cert_path, buf_fit(&key), domains, count, why);
    tls_key_wipe(&key);
    return e;
}
