#include "io/tls_cert.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/slice.h"
#include "base/whole_file.h"
#include "io/tls_cert_make.h"
#include "io/tls_private.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

enum { LINE_BYTES_MAX = 256, NAME_BYTES_MAX = 255, STRONG_BITS = 112, CURVE_BYTES_MAX = 32 };

static bool at_end_of_pem(void)
{
    unsigned long error = ERR_peek_last_error();
    return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

static void free_chain(STACK_OF(X509) * chain) { sk_X509_pop_free(chain, X509_free); }

/* What is wrong with the text behind the last certificate that could be read. */
static enum err pem_end(size_t count, size_t max, bool more, const char *path, struct why *why)
{
    if (more)
        why_set(why, "%s: found more than %zu certificates, allowed at most that", path, max);
    else if (!at_end_of_pem())
        why_set(why, "%s: the certificate %zu in it is damaged", path, count + 1);
    else if (count == 0)
        why_set(why, "%s: found no PEM certificate in it", path);
    else
        return OK;
    return more ? E_LIMIT : E_SYNTAX;
}

enum err tls_certs_of_pem(STACK_OF(X509) * *out, slice pem, size_t max, const char *path,
                          struct why *why)
{
    BIO *in = BIO_new_mem_buf(pem.ptr != NULL ? pem.ptr : "", (int)pem.len);
    STACK_OF(X509) *chain = sk_X509_new_null();
    X509 *cert = NULL;
    size_t count = 0;
    ensure(in != NULL && chain != NULL && pem.len <= TLS_PEM_BYTES_MAX);
    ERR_clear_error();
    while ((cert = PEM_read_bio_X509_AUX(in, NULL, tls_no_pass_phrase, NULL)) != NULL &&
           count < max)
        count += sk_X509_push(chain, cert) > 0;
    enum err e = pem_end(count, max, cert != NULL, path, why);
    X509_free(cert);
    BIO_free(in);
    ERR_clear_error();
    if (e == OK)
        *out = chain;
    else
        free_chain(chain);
    return e;
}

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

/* The dNSNames of subjectAltName. The common name is none (RFC 9525 §2). */
static void read_names(struct tls_cert_facts *out, const X509 *cert, struct arena *arena)
{
    const char **names;
    GENERAL_NAMES *alt = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int count = sk_GENERAL_NAME_num(alt);
    out->name = names = arena_new(arena, const char *, count > 0 ? (size_t)count : 1);
    for (int i = 0; i < count; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(alt, i);
        if (name->type == GEN_DNS && (names[out->name_count] = plain(arena, name->d.dNSName)))
            out->name_count++; /* also those that match nobody, such as *.com: they are shown */
    }
    GENERAL_NAMES_free(alt);
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

static bool is_self_signed(X509 *cert) { return X509_self_signed(cert, 1) == 1; }

static const char *line_of(const X509_NAME *name, struct arena *arena)
{
    char line[LINE_BYTES_MAX];
    tls_cert_line(name, line, sizeof line);
    return slice_cstr(arena, slice_of(line));
}

/* Operators know the names of NIST. */
static const char *curve_name(const char *group)
{
    if (strcmp(group, "prime256v1") == 0)
        return "P-256";
    if (strcmp(group, "secp521r1") == 0)
        return "P-521";
    return strcmp(group, "secp384r1") == 0 ? "P-384" : group;
}

const char *tls_cert_key(const EVP_PKEY *key, struct arena *arena)
{
    char curve[CURVE_BYTES_MAX];
    size_t len;
    if (EVP_PKEY_is_a(key, "RSA"))
        return arena_printf(arena, "RSA %d", EVP_PKEY_get_bits(key));
    if (EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, curve, sizeof curve, &len) == 1)
        return arena_printf(arena, "ECDSA %s", curve_name(curve));
    const char *type = EVP_PKEY_get0_type_name(key);
    return arena_printf(arena, "%s", type != NULL ? type : "unknown");
}

static bool is_rare_key(const EVP_PKEY *key, const char *text)
{
    static const char *const common[] = { "ECDSA P-256", "ECDSA P-384", "ECDSA P-521", "ED25519" };
    bool known = EVP_PKEY_is_a(key, "RSA");
    for (size_t i = 0; i < sizeof common / sizeof common[0]; i++)
        known = known || strcmp(text, common[i]) == 0;
    return !known;
}

static void read_strength(struct tls_cert_facts *out, X509 *cert, struct arena *arena)
{
    const EVP_PKEY *key = X509_get0_pubkey(cert);
    const char *signature = OBJ_nid2ln(X509_get_signature_nid(cert));
    int bits = 0;
    out->key = key != NULL ? tls_cert_key(key, arena) : "unknown";
    out->rare_key = key == NULL || is_rare_key(key, out->key);
    out->weak_key = key == NULL || EVP_PKEY_get_security_bits(key) < STRONG_BITS;
    out->signature = signature != NULL ? signature : "unknown";
    (void)X509_get_signature_info(cert, NULL, NULL, &bits, NULL);
    out->weak_signature = !out->self_signed && bits < STRONG_BITS;
}

static const char *fingerprint(const X509 *cert, struct arena *arena)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    char text[2 * EVP_MAX_MD_SIZE + 1];
    unsigned len = 0;
    if (X509_digest(cert, EVP_sha256(), hash, &len) != 1)
        return "";
    hex_encode(text, (slice){ (const char *)hash, len });
    return slice_cstr(arena, slice_of(text));
}

void tls_cert_fingerprint(char out[TLS_FINGERPRINT_LEN + 1], slice certificate)
{
    unsigned char hash[TLS_FINGERPRINT_LEN / 2];
    ensure(EVP_Q_digest(NULL, "SHA256", NULL, certificate.ptr, certificate.len, hash, NULL) == 1);
    hex_encode(out, (slice){ (const char *)hash, sizeof(hash) });
}

static const char *cert_pem(X509 *cert, struct arena *arena)
{
    BIO *pem = BIO_new(BIO_s_mem());
    const char *text = "";
    char *ptr;
    if (pem != NULL && PEM_write_bio_X509(pem, cert) == 1) {
        long len = BIO_get_mem_data(pem, &ptr);
        text = slice_cstr(arena, (slice){ ptr, (size_t)len });
    }
    BIO_free(pem);
    return text;
}

/* RFC 5280 §4.2.2.1, RFC 7633. The first responder that is asked by HTTP. */
static void read_responder(struct tls_cert_facts *out, X509 *cert, struct arena *arena)
{
    STACK_OF(OPENSSL_STRING) *all = X509_get1_ocsp(cert);
    for (int i = 0; i < sk_OPENSSL_STRING_num(all) && out->responder == NULL; i++) {
        slice uri = slice_of(sk_OPENSSL_STRING_value(all, i));
        if (uri.len <= LINE_BYTES_MAX && slice_starts(uri, SLICE("http://")))
            out->responder = slice_cstr(arena, uri);
    }
    X509_email_free(all);
    out->must_staple = X509_get_ext_by_NID(cert, NID_tlsfeature, -1) >= 0;
}

/* RFC 5280 §4.2.1.3. An extension that is damaged does not count: then it is not for servers. */
static bool may_sign(X509 *cert)
{
    return (X509_get_extension_flags(cert) & EXFLAG_KUSAGE) == 0 ||
           (X509_get_key_usage(cert) & X509v3_KU_DIGITAL_SIGNATURE) != 0;
}

static void read_facts(struct tls_cert_facts *out, X509 *cert, struct arena *arena)
{
    *out = (struct tls_cert_facts){
        .not_before = tls_cert_seconds(X509_get0_notBefore(cert)),
        .not_after = tls_cert_seconds(X509_get0_notAfter(cert)),
        .subject = line_of(X509_get_subject_name(cert), arena),
        .issuer = line_of(X509_get_issuer_name(cert), arena),
        .fingerprint = fingerprint(cert, arena),
        .pem = cert_pem(cert, arena),
        .self_signed = is_self_signed(cert),
        .authority = X509_check_ca(cert) > 0,
        .for_server = X509_check_purpose(cert, X509_PURPOSE_SSL_SERVER, 0) == 1,
        .for_client = X509_check_purpose(cert, X509_PURPOSE_SSL_CLIENT, 0) == 1,
        .for_signatures = may_sign(cert),
    };
    read_strength(out, cert, arena);
    read_names(out, cert, arena);
    tls_names_of_cert(&out->names, cert, arena);
    read_responder(out, cert, arena);
    ERR_clear_error();
}

enum err tls_chain_of_pem(struct tls_chain *out, slice pem, size_t max, const char *path,
                          struct arena *arena, struct why *why)
{
    STACK_OF(X509) * chain;
    *out = (struct tls_chain){ .count = 0 };
    enum err e = tls_certs_of_pem(&chain, pem, max, path, why);
    if (e != OK)
        return e;
    int count = sk_X509_num(chain);
    struct tls_cert_facts *facts = arena_new(arena, struct tls_cert_facts, (size_t)count);
    for (int i = 0; i < count; i++)
        read_facts(&facts[i], sk_X509_value(chain, i), arena);
    *out = (struct tls_chain){ facts, (size_t)count };
    free_chain(chain);
    return OK;
}

enum err tls_cert_read_chain(struct tls_chain *out, const char *path, size_t max,
                             struct arena *arena, struct why *why)
{
    struct buf pem;
    *out = (struct tls_chain){ .count = 0 };
    buf_init(&pem, TLS_PEM_BYTES_MAX);
    enum err e = whole_file_read(&pem, path, why);
    if (e == OK)
        e = tls_chain_of_pem(out, buf_fit(&pem), max, path, arena, why);
    tls_key_wipe(&pem);
    return e;
}

enum err tls_cert_of_der(struct tls_cert_facts *out, slice der, struct arena *arena)
{
    const unsigned char *at = (const unsigned char *)der.ptr;
    X509 *cert = d2i_X509(NULL, &at, (long)der.len);
    if (cert == NULL)
        return E_SYNTAX;
    read_facts(out, cert, arena);
    X509_free(cert);
    return OK;
}

enum err tls_cert_read(struct tls_cert_facts *out, const char *path, struct arena *arena,
                       struct why *why)
{
    struct tls_chain chain;
    enum err e = tls_cert_read_chain(&chain, path, TLS_CHAIN_MAX, arena, why);
    *out = e == OK ? chain.item[0] : (struct tls_cert_facts){ .issuer = "", .subject = "" };
    return e;
}

/* The code of X509_V_ERR_…; dates do not matter. */
static int chain_verdict(X509_STORE *trusted, STACK_OF(X509) * chain)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    int found = X509_V_ERR_UNSPECIFIED;
    if (ctx != NULL && X509_STORE_CTX_init(ctx, trusted, sk_X509_value(chain, 0), chain) == 1) {
        X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME);
        X509_verify_cert(ctx);
        found = X509_STORE_CTX_get_error(ctx);
    }
    X509_STORE_CTX_free(ctx);
    return found;
}

static STACK_OF(X509) * chain_certs(const struct tls_chain *chain)
{
    STACK_OF(X509) *all = sk_X509_new_null();
    for (size_t i = 0; i < chain->count; i++) {
        BIO *in = BIO_new_mem_buf(chain->item[i].pem, -1);
        X509 *cert = PEM_read_bio_X509(in, NULL, NULL, NULL);
        ensure(cert != NULL && sk_X509_push(all, cert) > 0); /* it was one when it was read */
        BIO_free(in);
    }
    return all;
}

/* The place of the issuer of the certificate `of`, or `of`: it is not there, or is itself. */
static size_t chain_issuer(const struct tls_chain *chain, size_t of)
{
    const struct tls_cert_facts *f = &chain->item[of];
    if (strcmp(f->subject, f->issuer) == 0)
        return of;
    for (size_t i = 0; i < chain->count; i++)
        if (strcmp(chain->item[i].subject, f->issuer) == 0)
            return i;
    return of;
}

size_t tls_chain_last(const struct tls_chain *chain)
{
    size_t at = 0;
    for (size_t steps = 1; steps < chain->count; steps++) /* they may go in a circle */
        at = chain_issuer(chain, at);
    return at;
}

/* What X509_V_ERR_… means to an operator; the texts have the subject of the certificate. */
static const char *chain_fault_text(int code, const char *subject, struct arena *arena)
{
    const char *reason = X509_verify_cert_error_string(code);
    if (code == X509_V_ERR_PERMITTED_VIOLATION || code == X509_V_ERR_EXCLUDED_VIOLATION)
        reason = "an issuer above it may not issue for its names (name constraints)";
    else if (code == X509_V_ERR_PATH_LENGTH_EXCEEDED)
        reason = "it allows fewer issuers below it than there are (path length)";
    else if (code == X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION)
        reason = "it has a critical extension that is not known";
    else if (code == X509_V_ERR_INVALID_PURPOSE)
        reason = "it is not for servers (keyUsage, extendedKeyUsage)";
    else if (code == X509_V_ERR_CERT_SIGNATURE_FAILURE ||
             code == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE ||
             code == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
             code == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY)
        return arena_printf(arena,
                            "\"%s\" is not signed with the key of its issuer in the file, which "
                            "has the right name only. Get the current chain from the issuer",
                            subject);
    return arena_printf(arena, "\"%s\": %s. Ask the issuer for another certificate", subject,
                        reason);
}

/* RFC 5280 §6.1, with the end of the chain as its trust anchor (§6.1.1 d). */
const char *tls_chain_fault(const struct tls_chain *chain, struct arena *arena)
{
    STACK_OF(X509) *all = chain_certs(chain);
    X509_STORE *anchor = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    char subject[LINE_BYTES_MAX];
    const char *text = NULL;
    ensure(chain->count > 0 && anchor != NULL && ctx != NULL);
    ensure(X509_STORE_add_cert(anchor, sk_X509_value(all, (int)tls_chain_last(chain))) == 1);
    ensure(X509_STORE_CTX_init(ctx, anchor, sk_X509_value(all, 0), all) == 1 &&
           X509_STORE_CTX_set_default(ctx, "ssl_server") == 1);
    X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME | X509_V_FLAG_PARTIAL_CHAIN);
    if (X509_verify_cert(ctx) != 1) {
        const X509 *at = X509_STORE_CTX_get_current_cert(ctx);
        at = at != NULL ? at : sk_X509_value(all, 0);
        tls_cert_line(X509_get_subject_name(at), subject, sizeof subject);
        text = chain_fault_text(X509_STORE_CTX_get_error(ctx), subject, arena);
    }
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(anchor);
    free_chain(all);
    ERR_clear_error();
    return text;
}

enum tls_chain_end tls_chain_leads(const struct tls_chain *chain, const struct tls_trust *own)
{
    if (chain->count == 0)
        return TLS_CHAIN_OPEN;
    STACK_OF(X509) *all = chain_certs(chain);
    X509_STORE *system = X509_STORE_new();
    ensure(system != NULL);
    int found = own != NULL ? chain_verdict(tls_trust_store(own), all) : X509_V_ERR_UNSPECIFIED;
    if (found != X509_V_OK && X509_STORE_set_default_paths(system) == 1)
        found = chain_verdict(system, all);
    X509_STORE_free(system);
    free_chain(all);
    ERR_clear_error();
    if (found == X509_V_OK)
        return TLS_CHAIN_TRUSTED;
    bool whole = found == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
                 found == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT;
    return whole ? TLS_CHAIN_PRIVATE : TLS_CHAIN_OPEN;
}
