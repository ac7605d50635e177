#include "io/tls_cert.h"
#include "base/arena.h"
#include "base/slice.h"
#include "io/tls_private.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

enum { CHAIN_MAX = 16, ISSUER_BYTES_MAX = 256, NAME_BYTES_MAX = 255 };

/* The certificates of a file, in their order; NULL: it has none, or cannot be opened (errno). */
static STACK_OF(X509) * read_chain(const char *path)
{
    errno = 0;
    BIO *in = BIO_new_file(path, "r");
    STACK_OF(X509) *chain = in != NULL ? sk_X509_new_null() : NULL;
    X509 *cert;
    while (chain != NULL && sk_X509_num(chain) < CHAIN_MAX &&
           (cert = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL) {
        if (sk_X509_push(chain, cert) <= 0)
            X509_free(cert);
    }
    BIO_free(in);
    ERR_clear_error(); /* the end of the file is one */
    if (chain != NULL && sk_X509_num(chain) == 0) {
        sk_X509_free(chain);
        chain = NULL;
        errno = 0;
    }
    return chain;
}

static void free_chain(STACK_OF(X509) * chain) { sk_X509_pop_free(chain, X509_free); }

int64_t tls_cert_seconds(const ASN1_TIME *time)
{
    struct tm tm = { 0 };
    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* Printable ASCII only, as DNS names are; what else a certificate has there covers nothing. */
static const char *plain(struct arena *arena, const ASN1_STRING *text)
{
    slice s = { (const char *)ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text) };
    if (s.len == 0 || s.len > NAME_BYTES_MAX)
        return NULL;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] <= ' ' || s.ptr[i] > '~')
            return NULL;
    }
    return slice_cstr(arena, s);
}

/* The dNSNames of subjectAltName; where there are none, the common name (RFC 6125 §6.4.4). */
static void read_names(struct tls_cert_facts *out, const X509 *cert, struct arena *arena)
{
    const char **names = arena_new(arena, const char *, TLS_CERT_NAMES_MAX);
    GENERAL_NAMES *alt = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    out->name = names;
    for (int i = 0; i < sk_GENERAL_NAME_num(alt) && out->name_count < TLS_CERT_NAMES_MAX; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(alt, i);
        if (name->type == GEN_DNS && (names[out->name_count] = plain(arena, name->d.dNSName)))
            out->name_count++; /* also those that match nobody, such as *.com: they are shown */
    }
    GENERAL_NAMES_free(alt);
    const X509_NAME *subject = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (out->name_count > 0 || at < 0)
        return;
    const X509_NAME_ENTRY *entry = X509_NAME_get_entry(subject, at);
    names[0] = plain(arena, X509_NAME_ENTRY_get_data(entry));
    out->name_count = names[0] != NULL;
}

void tls_cert_line(const X509_NAME *name, char *out, size_t cap)
{
    BIO *text = BIO_new(BIO_s_mem());
    int len = -1;
    if (text != NULL && X509_NAME_print_ex(text, name, 0, XN_FLAG_ONELINE & ~XN_FLAG_SPC_EQ) >= 0)
        len = BIO_read(text, out, (int)cap - 1);
    out[len > 0 ? len : 0] = '\0';
    BIO_free(text);
}

static bool is_self_signed(X509 *cert)
{
    return X509_NAME_cmp(X509_get_subject_name(cert), X509_get_issuer_name(cert)) == 0 &&
           X509_check_issued(cert, cert) == X509_V_OK;
}

enum err tls_cert_read(struct tls_cert_facts *out, const char *path, struct arena *arena,
                       struct why *why)
{
    char issuer[ISSUER_BYTES_MAX];
    *out = (struct tls_cert_facts){ .issuer = "" };
    STACK_OF(X509) *chain = read_chain(path);
    if (chain == NULL) {
        enum err e = errno != 0 ? E_IO : E_SYNTAX;
        why_set(why, "%s: %s", path,
                e == E_IO ? strerrordesc_np(errno) : "found no PEM certificate in it");
        return e;
    }
    X509 *cert = sk_X509_value(chain, 0);
    out->not_before = tls_cert_seconds(X509_get0_notBefore(cert));
    out->not_after = tls_cert_seconds(X509_get0_notAfter(cert));
    out->self_signed = is_self_signed(cert);
    tls_cert_line(X509_get_issuer_name(cert), issuer, sizeof issuer);
    out->issuer = slice_cstr(arena, slice_of(issuer));
    read_names(out, cert, arena);
    free_chain(chain);
    return OK;
}

bool tls_cert_chain_ends(const char *path)
{
    STACK_OF(X509) *chain = read_chain(path);
    if (chain == NULL)
        return false;
    X509_STORE *trusted = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    int found = X509_V_ERR_UNSPECIFIED;
    if (trusted != NULL && ctx != NULL && X509_STORE_set_default_paths(trusted) == 1 &&
        X509_STORE_CTX_init(ctx, trusted, sk_X509_value(chain, 0), chain) == 1) {
        X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME);
        X509_verify_cert(ctx);
        found = X509_STORE_CTX_get_error(ctx);
    }
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(trusted);
    free_chain(chain);
    ERR_clear_error();
    return found == X509_V_OK || found == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
           found == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT;
}
