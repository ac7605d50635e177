#include "io/tls_ocsp.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "io/tls_private.h"
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>

enum { CLOCK_SECONDS = 300, AGE_SECONDS_MAX = 7 * 86400 /* without nextUpdate */ };

/* The certificate in question, its issuer, and what names both in OCSP. */
struct ocsp_pair {
    X509 *cert, *issuer;
    OCSP_CERTID *id;
};

const char *tls_ocsp_status_name(enum tls_ocsp_status status)
{
    static const char *const names[] = { "good", "revoked", "unknown" };
    ensure(status <= TLS_OCSP_UNKNOWN);
    return names[status];
}

static X509 *ocsp_cert(const char *pem)
{
    BIO *in = BIO_new_mem_buf(pem, -1);
    X509 *cert = in != NULL ? PEM_read_bio_X509(in, NULL, tls_no_pass_phrase, NULL) : NULL;
    BIO_free(in);
    ensure(cert != NULL); /* it was read before */
    return cert;
}

static void ocsp_pair_free(struct ocsp_pair *p)
{
    OCSP_CERTID_free(p->id);
    X509_free(p->cert);
    X509_free(p->issuer);
    ERR_clear_error();
}

/* Certificates are named by SHA-1 hashes: this protects nothing, and all responders know it. */
static enum err ocsp_pair_make(struct ocsp_pair *p, const struct tls_chain *chain, struct why *why)
{
    *p = (struct ocsp_pair){ 0 };
    if (chain->count < 2 || strcmp(chain->item[0].issuer, chain->item[1].subject) != 0) {
        why_set(why, "the certificate of its issuer is not behind it in the file");
        return E_NOTFOUND;
    }
    p->cert = ocsp_cert(chain->item[0].pem);
    p->issuer = ocsp_cert(chain->item[1].pem);
    p->id = OCSP_cert_to_id(EVP_sha1(), p->cert, p->issuer);
    ensure(p->id != NULL);
    return OK;
}

static enum err ocsp_pair_of(struct ocsp_pair *p, X509 *cert, X509 *issuer, struct why *why)
{
    ensure(X509_up_ref(cert) == 1 && X509_up_ref(issuer) == 1);
    *p = (struct ocsp_pair){ cert, issuer, OCSP_cert_to_id(EVP_sha1(), cert, issuer) };
    if (p->id != NULL)
        return OK;
    why_set(why, "the certificate cannot be named in OCSP");
    ocsp_pair_free(p);
    return E_SYNTAX;
}

/* Frees the pair. */
static enum err ocsp_ask(struct buf *out, struct ocsp_pair pair)
{
    unsigned char *der = NULL;
    OCSP_REQUEST *question = OCSP_REQUEST_new();
    OCSP_CERTID *id = OCSP_CERTID_dup(pair.id);
    ensure(question != NULL && id != NULL && OCSP_request_add0_id(question, id) != NULL);
    int len = i2d_OCSP_REQUEST(question, &der);
    ensure(len > 0);
    buf_append(out, der, (size_t)len);
    OPENSSL_free(der);
    OCSP_REQUEST_free(question);
    ocsp_pair_free(&pair);
    return out->overflow ? E_LIMIT : OK;
}

enum err tls_ocsp_ask(struct buf *out, const struct tls_chain *chain, struct why *why)
{
    struct ocsp_pair pair;
    enum err e = ocsp_pair_make(&pair, chain, why);
    return e == OK ? ocsp_ask(out, pair) : e;
}

enum err tls_ocsp_ask_about(struct buf *out, X509 *cert, X509 *issuer, struct why *why)
{
    struct ocsp_pair pair;
    enum err e = ocsp_pair_of(&pair, cert, issuer, why);
    return e == OK ? ocsp_ask(out, pair) : e;
}

static enum err ocsp_fail(struct why *why, enum err e, const char *what)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    why_set(why, "%s%s%s", what, text != NULL ? ": " : "", text != NULL ? text : "");
    return e;
}

/* RFC 6960 §4.2.2.2: by the issuer itself, or with a certificate for it that the issuer gave. */
static bool ocsp_is_signed(OCSP_BASICRESP *answer, X509 *issuer)
{
    X509_STORE *store = X509_STORE_new();
    STACK_OF(X509) *issuers = sk_X509_new_null();
    ensure(store != NULL && issuers != NULL && sk_X509_push(issuers, issuer) > 0);
    ensure(X509_STORE_add_cert(store, issuer) == 1 &&
           X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1);
    bool good = OCSP_basic_verify(answer, issuers, store, 0) == 1;
    sk_X509_free(issuers);
    X509_STORE_free(store);
    return good;
}

static enum err ocsp_read_single(struct tls_ocsp *out, OCSP_BASICRESP *answer, OCSP_CERTID *id,
                                 int64_t now, struct why *why)
{
    ASN1_GENERALIZEDTIME *revoked = NULL, *this_update = NULL, *next_update = NULL;
    int status = V_OCSP_CERTSTATUS_UNKNOWN, reason;
    if (OCSP_resp_find_status(answer, id, &status, &reason, &revoked, &this_update, &next_update) !=
        1)
        return ocsp_fail(why, E_NOTFOUND, "the answer is about another certificate");
    *out = (struct tls_ocsp){
        .status = status == V_OCSP_CERTSTATUS_GOOD      ? TLS_OCSP_GOOD
                  : status == V_OCSP_CERTSTATUS_REVOKED ? TLS_OCSP_REVOKED
                                                        : TLS_OCSP_UNKNOWN,
        .this_update = this_update != NULL ? tls_cert_seconds(this_update) : 0,
        .revoked_at = revoked != NULL ? tls_cert_seconds(revoked) : 0,
    };
    out->until =
        next_update != NULL ? tls_cert_seconds(next_update) : out->this_update + AGE_SECONDS_MAX;
    if (out->this_update > now + CLOCK_SECONDS)
        return ocsp_fail(why, E_TIMEOUT, "the answer does not hold yet; is the clock right?");
    if (out->until <= now)
        return ocsp_fail(why, E_TIMEOUT, "the answer does not hold any longer");
    return OK;
}

static enum err ocsp_read_basic(struct tls_ocsp *out, OCSP_RESPONSE *response,
                                const struct ocsp_pair *pair, int64_t now, struct why *why)
{
    int status = OCSP_response_status(response);
    OCSP_BASICRESP *basic = NULL;
    enum err e;
    if (status != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
        why_set(why, "the responder answers \"%s\"", OCSP_response_status_str(status));
        return E_DENIED;
    }
    basic = OCSP_response_get1_basic(response);
    if (basic == NULL)
        return ocsp_fail(why, E_SYNTAX, "the answer is of an unknown kind");
    if (!ocsp_is_signed(basic, pair->issuer))
        e = ocsp_fail(why, E_AUTH, "the answer is not signed by the issuer or its responder");
    else
        e = ocsp_read_single(out, basic, pair->id, now, why);
    OCSP_BASICRESP_free(basic);
    return e;
}

/* Frees the pair. */
static enum err ocsp_read(struct tls_ocsp *out, slice answer, struct ocsp_pair pair, int64_t now,
                          struct why *why)
{
    const unsigned char *at = (const unsigned char *)answer.ptr;
    enum err e;
    ERR_clear_error();
    OCSP_RESPONSE *response =
        answer.len <= TLS_OCSP_BYTES_MAX ? d2i_OCSP_RESPONSE(NULL, &at, (long)answer.len) : NULL;
    if (response == NULL || at != (const unsigned char *)answer.ptr + answer.len)
        e = ocsp_fail(why, E_SYNTAX, "what came is no answer of OCSP");
    else
        e = ocsp_read_basic(out, response, &pair, now, why);
    OCSP_RESPONSE_free(response);
    ocsp_pair_free(&pair);
    return e;
}

enum err tls_ocsp_read(struct tls_ocsp *out, slice answer, const struct tls_chain *chain,
                       int64_t now, struct why *why)
{
    struct ocsp_pair pair;
    *out = (struct tls_ocsp){ .status = TLS_OCSP_UNKNOWN };
    enum err e = ocsp_pair_make(&pair, chain, why);
    return e == OK ? ocsp_read(out, answer, pair, now, why) : e;
}

enum err tls_ocsp_read_about(struct tls_ocsp *out, slice answer, X509 *cert, X509 *issuer,
                             int64_t now, struct why *why)
{
    struct ocsp_pair pair;
    *out = (struct tls_ocsp){ .status = TLS_OCSP_UNKNOWN };
    enum err e = ocsp_pair_of(&pair, cert, issuer, why);
    return e == OK ? ocsp_read(out, answer, pair, now, why) : e;
}
