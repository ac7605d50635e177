#include "io/tls_revoke.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/mem.h"
#include "io/tls_private.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>

enum { UNDATED_SECONDS = 86400 /* a list without nextUpdate */ };

struct tls_suspect {
    _Atomic unsigned refs;
    X509 *cert, *issuer;
    char fingerprint[TLS_FINGERPRINT_LEN + 1], subject[TLS_SUBJECT_BYTES];
};

struct tls_crl {
    _Atomic unsigned refs;
    X509_CRL *crl;
    int64_t until;
};

static _Atomic unsigned char modes[TLS_SERVED] = { TLS_REVOKE_STAPLED, TLS_REVOKE_STAPLED,
                                                   TLS_REVOKE_STAPLED };
static tls_revoke_fn *_Atomic asker;

void tls_revocation_set(enum tls_context context, enum tls_revocation what)
{
    atomic_store(&modes[context], (unsigned char)what);
}

enum tls_revocation tls_revocation_get(enum tls_context context)
{
    return (enum tls_revocation)atomic_load(&modes[context]);
}

static _Atomic bool seen;

void tls_revoke_asker(tls_revoke_fn *fn) { atomic_store(&asker, fn); }

static enum tls_revoke_end look_up(X509 *cert, X509 *issuer, const struct tls_revoke_shown *shown,
                                   struct tls_revoke_wait *wait, bool asks)
{
    tls_revoke_fn *fn = atomic_load(&asker);
    if (fn == NULL)
        return shown != NULL ? shown->end : TLS_REVOKE_UNKNOWN;
    struct tls_suspect *s = tls_suspect_create(cert, issuer);
    enum tls_revoke_end end = fn(s, shown, wait, asks);
    tls_suspect_unref(&s);
    if (end == TLS_REVOKE_REVOKED)
        atomic_store(&seen, true);
    return end;
}

bool tls_revoke_was_seen(void) { return atomic_load(&seen); }

enum tls_revoke_end tls_revoke_ask(X509 *cert, X509 *issuer, const struct tls_revoke_shown *shown,
                                   struct tls_revoke_wait *wait)
{
    return look_up(cert, issuer, shown, wait, true);
}

enum tls_revoke_end tls_revoke_known(X509 *cert, X509 *issuer, const struct tls_revoke_shown *shown)
{
    return look_up(cert, issuer, shown, NULL, false);
}

/* Suspects. */

struct tls_suspect *tls_suspect_create(X509 *cert, X509 *issuer)
{
    struct tls_suspect *s = mem_new(struct tls_suspect);
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    atomic_init(&s->refs, 1);
    ensure(X509_up_ref(cert) == 1 && X509_up_ref(issuer) == 1);
    s->cert = cert;
    s->issuer = issuer;
    ensure(X509_digest(cert, EVP_sha256(), hash, &len) == 1 && len == TLS_FINGERPRINT_LEN / 2);
    hex_encode(s->fingerprint, (slice){ (const char *)hash, len });
    tls_cert_line(X509_get_subject_name(cert), s->subject, sizeof s->subject);
    return s;
}

static X509 *revoke_cert(slice pem)
{
    BIO *in = BIO_new_mem_buf(pem.len > 0 ? pem.ptr : "", (int)pem.len);
    X509 *cert = in != NULL ? PEM_read_bio_X509(in, NULL, tls_no_pass_phrase, NULL) : NULL;
    BIO_free(in);
    ERR_clear_error();
    return cert;
}

struct tls_suspect *tls_suspect_of_pem(slice cert, slice issuer)
{
    X509 *own = revoke_cert(cert), *by = revoke_cert(issuer);
    struct tls_suspect *s = own != NULL && by != NULL ? tls_suspect_create(own, by) : NULL;
    X509_free(own);
    X509_free(by);
    return s;
}

struct tls_suspect *tls_suspect_ref(struct tls_suspect *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void tls_suspect_unref(struct tls_suspect **ps)
{
    struct tls_suspect *s = *ps;
    *ps = NULL;
    if (s == NULL || atomic_fetch_sub(&s->refs, 1) > 1)
        return;
    X509_free(s->cert);
    X509_free(s->issuer);
    mem_free(&s);
}

slice tls_suspect_fingerprint(const struct tls_suspect *s) { return slice_of(s->fingerprint); }
const char *tls_suspect_subject(const struct tls_suspect *s) { return s->subject; }

/* Sources. */

struct sources {
    struct tls_source *out;
    struct arena *arena;
    size_t count;
};

static void sources_add(struct sources *s, slice uri, bool list)
{
    if (s->count == TLS_SOURCES_MAX || !slice_starts(uri, SLICE("http://")) ||
        memchr(uri.ptr, '\0', uri.len) != NULL)
        return;
    s->out[s->count++] = (struct tls_source){ slice_dup(s->arena, uri), list };
}

/* Not those with only some reasons, or of another issuer: such lists are not judged. */
static void sources_add_point(struct sources *s, const DIST_POINT *point)
{
    if (point->reasons != NULL || point->CRLissuer != NULL || point->distpoint == NULL ||
        point->distpoint->type != 0)
        return;
    for (int i = 0; i < sk_GENERAL_NAME_num(point->distpoint->name.fullname); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(point->distpoint->name.fullname, i);
        if (name->type == GEN_URI)
            sources_add(s,
                        (slice){ (const char *)ASN1_STRING_get0_data(name->d.ia5),
                                 (size_t)ASN1_STRING_length(name->d.ia5) },
                        true);
    }
}

size_t tls_suspect_sources(const struct tls_suspect *suspect, struct arena *arena,
                           struct tls_source out[TLS_SOURCES_MAX])
{
    struct sources s = { out, arena, 0 };
    STACK_OF(OPENSSL_STRING) *responders = X509_get1_ocsp(suspect->cert);
    CRL_DIST_POINTS *points =
        X509_get_ext_d2i(suspect->cert, NID_crl_distribution_points, NULL, NULL);
    /* not all of them: a list that the certificate names is asked, too */
    for (int i = 0; i < sk_OPENSSL_STRING_num(responders) && i < TLS_SOURCES_MAX / 2; i++)
        sources_add(&s, slice_of(sk_OPENSSL_STRING_value(responders, i)), false);
    for (int i = 0; i < sk_DIST_POINT_num(points); i++)
        sources_add_point(&s, sk_DIST_POINT_value(points, i));
    X509_email_free(responders);
    CRL_DIST_POINTS_free(points);
    ERR_clear_error();
    return s.count;
}

/* OCSP. */

enum err tls_suspect_question(struct buf *out, const struct tls_suspect *s, struct why *why)
{
    return tls_ocsp_ask_about(out, s->cert, s->issuer, why);
}

enum err tls_suspect_answer(struct tls_ocsp *out, slice answer, const struct tls_suspect *s,
                            int64_t now, struct why *why)
{
    return tls_ocsp_read_about(out, answer, s->cert, s->issuer, now, why);
}

/* Lists. */

enum err tls_crl_read(struct tls_crl **out, slice bytes, struct why *why)
{
    STACK_OF(X509_CRL) *all = NULL;
    if (bytes.len > 0 && bytes.len <= TLS_CRL_BYTES_MAX)
        tls_crls_of(&all, bytes);
    if (sk_X509_CRL_num(all) != 1) {
        why_set(why, "what came is no list of revoked certificates");
        sk_X509_CRL_pop_free(all, X509_CRL_free);
        return E_SYNTAX;
    }
    X509_CRL *crl = sk_X509_CRL_pop(all);
    sk_X509_CRL_free(all);
    const char *beyond = tls_crl_is_beyond(crl);
    if (beyond != NULL) {
        why_set(why, "the list does not count: %s", beyond);
        X509_CRL_free(crl);
        return E_SYNTAX;
    }
    struct tls_crl *made = mem_new(struct tls_crl);
    const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);
    atomic_init(&made->refs, 1);
    made->crl = crl;
    made->until = next != NULL ? tls_cert_seconds(next)
                               : tls_cert_seconds(X509_CRL_get0_lastUpdate(crl)) + UNDATED_SECONDS;
    *out = made;
    return OK;
}

struct tls_crl *tls_crl_ref(struct tls_crl *crl)
{
    atomic_fetch_add(&crl->refs, 1);
    return crl;
}

void tls_crl_unref(struct tls_crl **pcrl)
{
    struct tls_crl *crl = *pcrl;
    *pcrl = NULL;
    if (crl == NULL || atomic_fetch_sub(&crl->refs, 1) > 1)
        return;
    X509_CRL_free(crl->crl);
    mem_free(&crl);
}

int64_t tls_crl_this_update(const struct tls_crl *crl)
{
    return tls_cert_seconds(X509_CRL_get0_lastUpdate(crl->crl));
}

int64_t tls_crl_until(const struct tls_crl *crl) { return crl->until; }

/* X509_V_…: OpenSSL compares issuer, signature, dates, and what the list is about (§6.3). */
static int crl_judge(const struct tls_crl *crl, const struct tls_suspect *s)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    int code = X509_V_ERR_UNSPECIFIED;
    ensure(store != NULL && ctx != NULL && X509_STORE_add_cert(store, s->issuer) == 1 &&
           X509_STORE_add_crl(store, crl->crl) == 1);
    ensure(X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_CRL_CHECK) == 1);
    if (X509_STORE_CTX_init(ctx, store, s->cert, NULL) == 1) {
        bool good = X509_verify_cert(ctx) == 1;
        code = X509_STORE_CTX_get_error(ctx);
        if (!good && code == X509_V_OK)
            code = X509_V_ERR_UNSPECIFIED;
    }
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    ERR_clear_error();
    return code;
}

enum err tls_crl_says(enum tls_ocsp_status *out, const struct tls_crl *crl,
                      const struct tls_suspect *s, struct why *why)
{
    int code = crl_judge(crl, s);
    *out = code == X509_V_ERR_CERT_REVOKED ? TLS_OCSP_REVOKED
           : code == X509_V_OK             ? TLS_OCSP_GOOD
                                           : TLS_OCSP_UNKNOWN;
    if (*out != TLS_OCSP_UNKNOWN)
        return OK;
    why_set(why, "the list does not count: %s", X509_verify_cert_error_string(code));
    bool time = code == X509_V_ERR_CRL_HAS_EXPIRED || code == X509_V_ERR_CRL_NOT_YET_VALID;
    return time ? E_TIMEOUT : E_AUTH;
}
