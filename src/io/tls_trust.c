#include "io/tls_trust.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/whole_file.h"
#include "io/tls_cert.h"
#include "io/tls_private.h"
#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum {
    CHAIN_DEPTH_MAX = 10,
    AUTH_LEVEL = 2, /* 112 bits: RSA 2048, no SHA-1 */
    PATH_BYTES = 4096,
    STAPLE_SKEW_S = 300,             /* between clocks */
    STAPLE_UNDATED_S = 7 * 24 * 3600 /* how old one without an end may be */
};

struct tls_trust {
    _Atomic unsigned refs;
    _Atomic bool system_wanted; /* and not read yet: it takes 10 ms */
    pthread_mutex_t reading;    /* of the system's */
    X509_STORE *store;
    bool lists; /* it has some of revoked certificates */
};

static pthread_once_t judgement_once = PTHREAD_ONCE_INIT;
static int judgement_index; /* of SSL_get_ex_data() */

static enum err unreadable(struct why *why, enum err e, const char *path, const char *text)
{
    why_set(why, "%s: %s; give PEM files with the certificates that are trusted", path, text);
    ERR_clear_error();
    return e;
}

static enum err load_trusted(X509_STORE *store, const char *path, struct why *why)
{
    STACK_OF(X509) * certs;
    struct buf pem;
    buf_init(&pem, TLS_PEM_BYTES_MAX);
    enum err e = whole_file_read(&pem, path, why);
    if (e == OK)
        e = tls_certs_of_pem(&certs, buf_fit(&pem), TLS_TRUST_MAX, path, why);
    buf_fini(&pem);
    if (e != OK)
        return e;
    for (int i = 0; i < sk_X509_num(certs); i++)
        ensure(X509_STORE_add_cert(store, sk_X509_value(certs, i)) == 1);
    sk_X509_pop_free(certs, X509_free);
    return OK;
}

bool tls_trust_takes(const char *file)
{
    slice name = slice_of(file), end = slice_from(name, name.len > 4 ? name.len - 4 : name.len);

    return slice_eq_nocase(end, SLICE(".pem")) || slice_eq_nocase(end, SLICE(".crt"));
}

bool tls_crl_takes(const char *file)
{
    slice name = slice_of(file);
    return name.len > 4 && slice_eq_nocase(slice_from(name, name.len - 4), SLICE(".crl"));
}

static bool is_critical_beyond(const X509_EXTENSION *ext)
{
    int nid = OBJ_obj2nid(X509_EXTENSION_get_object((X509_EXTENSION *)(uintptr_t)ext));
    return X509_EXTENSION_get_critical(ext) && nid != NID_issuing_distribution_point &&
           nid != NID_authority_key_identifier && nid != NID_delta_crl;
}

static bool crl_has_critical_entry(X509_CRL *crl)
{
    STACK_OF(X509_REVOKED) *all = X509_CRL_get_REVOKED(crl);
    for (int i = 0; i < sk_X509_REVOKED_num(all); i++) {
        const X509_REVOKED *one = sk_X509_REVOKED_value(all, i);
        for (int k = 0; k < X509_REVOKED_get_ext_count(one); k++)
            if (X509_EXTENSION_get_critical(X509_REVOKED_get_ext(one, k)))
                return true;
    }
    return false;
}

/* Why a list says nothing that can be judged; NULL: it can. A list with a critical extension that
 * is not understood must not be used (RFC 5280 §5.2, §5.3). */
const char *tls_crl_is_beyond(X509_CRL *crl)
{
    int has = 0;
    ISSUING_DIST_POINT *scope =
        X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, &has, NULL);
    const char *why = NULL;
    if (scope == NULL && has != -1)
        why = "its issuing distribution point is damaged";
    else if (scope != NULL && scope->indirectCRL > 0)
        why = "it is an indirect list, of several issuers";
    else if (scope != NULL && scope->onlysomereasons != NULL)
        why = "it has only some of the reasons for which certificates are revoked";
    else if (X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) >= 0)
        why = "it is a delta list, which has only what has changed since another one";
    for (int i = 0; why == NULL && i < X509_CRL_get_ext_count(crl); i++)
        if (is_critical_beyond(X509_CRL_get_ext(crl, i)))
            why = "it has a critical extension that is not known";
    if (why == NULL && crl_has_critical_entry(crl))
        why = "an entry has a critical extension that is not known";
    ISSUING_DIST_POINT_free(scope);
    ERR_clear_error();
    return why;
}

/* All of them, or none of a file that is damaged somewhere. */
void tls_crls_of(STACK_OF(X509_CRL) * *out, slice text)
{
    STACK_OF(X509_CRL) *all = sk_X509_CRL_new_null();
    BIO *in = BIO_new_mem_buf(text.ptr, (int)text.len);
    const unsigned char *at = (const unsigned char *)text.ptr;
    X509_CRL *crl;
    ensure(all != NULL && in != NULL);
    ERR_clear_error();
    while ((crl = PEM_read_bio_X509_CRL(in, NULL, tls_no_pass_phrase, NULL)) != NULL)
        ensure(sk_X509_CRL_push(all, crl) > 0);
    bool over = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    while (!over && (crl = sk_X509_CRL_pop(all)) != NULL)
        X509_CRL_free(crl);
    if (over && sk_X509_CRL_num(all) == 0) {
        crl = d2i_X509_CRL(NULL, &at, (long)text.len);
        if (crl != NULL && at == (const unsigned char *)text.ptr + text.len)
            ensure(sk_X509_CRL_push(all, crl) > 0);
        else
            X509_CRL_free(crl);
    }
    BIO_free(in);
    ERR_clear_error();
    *out = all;
}

static enum err crls_read(STACK_OF(X509_CRL) * *out, const char *path, struct why *why)
{
    struct buf text;
    buf_init(&text, TLS_PEM_BYTES_MAX);
    enum err e = whole_file_read(&text, path, why);
    slice bytes = buf_fit(&text);
    *out = NULL;
    if (e == OK && bytes.len > 0)
        tls_crls_of(out, bytes);
    buf_fini(&text);
    if (e == OK && sk_X509_CRL_num(*out) <= 0) {
        why_set(why,
                "%s: no list of revoked certificates, or a damaged one; give whole CRLs in PEM or "
                "DER",
                path);
        e = E_SYNTAX;
    }
    return e;
}

enum err tls_crl_check(struct tls_crl_facts *out, const char *path, struct why *why)
{
    STACK_OF(X509_CRL) * all;
    enum err e = crls_read(&all, path, why);
    *out = (struct tls_crl_facts){ .lists = e == OK ? (unsigned)sk_X509_CRL_num(all) : 0 };
    for (int i = 0; i < sk_X509_CRL_num(all); i++) {
        X509_CRL *crl = sk_X509_CRL_value(all, i);
        int revoked = sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl));
        const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);
        int64_t at = next != NULL ? tls_cert_seconds(next) : 0;
        const char *beyond = tls_crl_is_beyond(crl);
        if (i == 0)
            tls_cert_line(X509_CRL_get_issuer(crl), out->issuer, sizeof(out->issuer));
        if (beyond != NULL) {
            out->beyond = out->beyond == NULL ? beyond : out->beyond;
            continue;
        }
        out->revoked += revoked > 0 ? (unsigned)revoked : 0;
        if (at > 0 && (out->next_update == 0 || at < out->next_update))
            out->next_update = at;
    }
    sk_X509_CRL_pop_free(all, X509_CRL_free);
    return e;
}

static enum err load_revoked(struct tls_trust *t, const char *path, struct why *why)
{
    STACK_OF(X509_CRL) * all;
    enum err e = crls_read(&all, path, why);
    for (int i = 0; i < sk_X509_CRL_num(all); i++) {
        if (tls_crl_is_beyond(sk_X509_CRL_value(all, i)) != NULL)
            continue;
        ensure(X509_STORE_add_crl(t->store, sk_X509_CRL_value(all, i)) == 1);
        t->lists = true;
    }
    sk_X509_CRL_pop_free(all, X509_CRL_free);
    return e;
}

static enum err load_folder(X509_STORE *store, const char *folder, struct why *why)
{
    DIR *dir = opendir(folder);
    enum err e = OK;
    size_t count = 0;
    if (dir == NULL)
        return unreadable(why, E_IO, folder, strerrordesc_np(errno));
    const struct dirent *entry;
    char path[PATH_BYTES];
    while (e == OK && (entry = readdir(dir)) != NULL) {
        if (!tls_trust_takes(entry->d_name))
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        e = load_trusted(store, path, why);
        count++;
    }
    closedir(dir);
    return e == OK && count == 0 ? unreadable(why, E_NOTFOUND, folder, "no .pem or .crt file") : e;
}

bool tls_trust_has_lists(const struct tls_trust *t) { return t->lists; }

/* X509_STORE may be read by others meanwhile. */
void tls_trust_prepare(struct tls_trust *t)
{
    if (!atomic_load(&t->system_wanted))
        return;
    pthread_mutex_lock(&t->reading);
    if (atomic_load(&t->system_wanted) && X509_STORE_set_default_paths(t->store) != 1)
        ERR_clear_error(); /* then none of them is trusted */
    atomic_store(&t->system_wanted, false);
    pthread_mutex_unlock(&t->reading);
}

static struct tls_trust *trust_new(void)
{
    struct tls_trust *t = mem_new(struct tls_trust);

    atomic_init(&t->refs, 1);
    pthread_mutex_init(&t->reading, NULL);
    t->store = X509_STORE_new();
    ensure(t->store != NULL && X509_STORE_set_flags(t->store, X509_V_FLAG_PARTIAL_CHAIN) == 1);
    return t;
}

static enum err trust_give(struct tls_trust **out, struct tls_trust *t, enum err e)
{
    if (e == OK)
        *out = t;
    else
        tls_trust_unref(&t);
    return e;
}

enum err tls_trust_create(struct tls_trust **out, const char *file, const char *folder,
                          struct why *why)
{
    struct tls_trust *t = trust_new();
    enum err e = OK;

    if (file == NULL && folder == NULL)
        atomic_init(&t->system_wanted, true);
    if (file != NULL)
        e = load_trusted(t->store, file, why);
    if (e == OK && folder != NULL)
        e = load_folder(t->store, folder, why);
    return trust_give(out, t, e);
}

enum err tls_trust_create_with(struct tls_trust **out, bool system, const char *file,
                               const char *const *path, size_t count, struct why *why)
{
    struct tls_trust *t = trust_new();
    enum err e = OK;

    atomic_init(&t->system_wanted, system);
    if (file != NULL)
        e = load_trusted(t->store, file, why);
    for (size_t i = 0; e == OK && i < count; i++)
        e = tls_crl_takes(path[i]) ? load_revoked(t, path[i], why)
                                   : load_trusted(t->store, path[i], why);
    return trust_give(out, t, e);
}

X509_STORE *tls_trust_store(const struct tls_trust *trust)
{
    tls_trust_prepare((struct tls_trust *)(uintptr_t)trust);
    return trust->store;
}

bool tls_trust_is_prepared(const struct tls_trust *trust)
{
    return !atomic_load(&trust->system_wanted);
}

struct tls_trust *tls_trust_ref(struct tls_trust *trust)
{
    atomic_fetch_add_explicit(&trust->refs, 1, memory_order_relaxed);
    return trust;
}

void tls_trust_unref(struct tls_trust **trust)
{
    struct tls_trust *t = *trust;

    *trust = NULL;
    if (t == NULL || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) > 1)
        return;
    X509_STORE_free(t->store);
    pthread_mutex_destroy(&t->reading);
    mem_free(&t);
}

struct tls_trust *tls_trusted_get(struct tls_trusted *t)
{
    pthread_mutex_lock(&t->lock);
    struct tls_trust *trust = t->now != NULL ? tls_trust_ref(t->now) : NULL;
    pthread_mutex_unlock(&t->lock);
    return trust;
}

void tls_trusted_set(struct tls_trusted *t, struct tls_trust *trust)
{
    pthread_mutex_lock(&t->lock);
    struct tls_trust *old = t->now;
    t->now = trust;
    pthread_mutex_unlock(&t->lock);
    tls_trust_unref(&old);
}

static enum tls_verdict verdict_of(int code)
{
    switch (code) {
    case X509_V_OK:
        return TLS_VERIFIED;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return TLS_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return TLS_NOT_YET_VALID;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return TLS_SELF_SIGNED;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        return TLS_UNKNOWN_ISSUER;
    case X509_V_ERR_INVALID_PURPOSE:
        return TLS_WRONG_USAGE;
    case X509_V_ERR_CERT_REVOKED:
        return TLS_REVOKED;
    default:
        return TLS_BROKEN;
    }
}

void tls_peer_note(struct tls_peer *out, const X509 *cert, int depth)
{
    out->depth = depth;
    tls_cert_line(X509_get_subject_name(cert), out->subject, sizeof(out->subject));
    tls_cert_line(X509_get_issuer_name(cert), out->issuer, sizeof(out->issuer));
    out->not_before = tls_cert_seconds(X509_get0_notBefore(cert));
    out->not_after = tls_cert_seconds(X509_get0_notAfter(cert));
}

void tls_checked_free(struct tls_checked *c)
{
    sk_X509_pop_free(c->chain, X509_free);
    *c = (struct tls_checked){ 0 };
}

/* X509_STORE_CTX_set_verify_cb(3). An issuer need not have a list. A certificate that is in a list
 * of its issuer is revoked, also where the list is old, is about other certificates (RFC 5280
 * §5.2.5), or the issuer may not make lists; one that is not in it is as without a list. A list
 * with a wrong signature stays an error: somebody has changed it. */
static int lists_may_miss(int good, X509_STORE_CTX *ctx)
{
    struct tls_checked *checked = X509_STORE_CTX_get_app_data(ctx);
    switch (X509_STORE_CTX_get_error(ctx)) {
    case X509_V_ERR_UNABLE_TO_GET_CRL:
    case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
    case X509_V_ERR_CRL_HAS_EXPIRED:
    case X509_V_ERR_CRL_NOT_YET_VALID:
    case X509_V_ERR_DIFFERENT_CRL_SCOPE:
    case X509_V_ERR_KEYUSAGE_NO_CRL_SIGN:
        checked->listed &= ~(1U << X509_STORE_CTX_get_error_depth(ctx));
        X509_STORE_CTX_set_error(ctx, X509_V_OK);
        return 1;
    default:
        return good;
    }
}

/* The error of X509_V_ERR_…, noted with the certificate that has it. */
static int judge_for(const struct tls_trust *trust, X509 *cert, STACK_OF(X509) * rest,
                     const char *purpose, struct tls_peer *out, struct tls_checked *checked)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    int code = X509_V_ERR_UNSPECIFIED;
    int depth = 0;
    ensure(ctx != NULL);
    *checked = (struct tls_checked){ .listed = trust->lists ? ~0U : 0 };
    if (X509_STORE_CTX_init(ctx, tls_trust_store(trust), cert, rest) == 1 &&
        X509_STORE_CTX_set_default(ctx, purpose) == 1) {
        X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
        X509_STORE_CTX_set_verify_cb(ctx, lists_may_miss);
        X509_STORE_CTX_set_app_data(ctx, checked);
        if (trust->lists)
            X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
        X509_VERIFY_PARAM_set_depth(param, CHAIN_DEPTH_MAX);
        X509_VERIFY_PARAM_set_auth_level(param, AUTH_LEVEL);
        bool good = X509_verify_cert(ctx) == 1;
        code = X509_STORE_CTX_get_error(ctx);
        if (!good && code == X509_V_OK)
            code = X509_V_ERR_UNSPECIFIED;
        depth = good ? 0 : X509_STORE_CTX_get_error_depth(ctx);
        checked->chain = good ? X509_STORE_CTX_get1_chain(ctx) : NULL;
        ensure(!good || checked->chain != NULL);
    }
    const X509 *at = code == X509_V_OK ? cert : X509_STORE_CTX_get_current_cert(ctx);
    out->verdict = verdict_of(code);
    out->reason = X509_verify_cert_error_string(code);
    tls_peer_note(out, at != NULL ? at : cert, depth);
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    return code;
}

int tls_trust_judge(const struct tls_trust *trust, X509 *cert, STACK_OF(X509) * rest,
                    enum tls_usage usage, struct tls_peer *out, struct tls_checked *checked)
{
    int code = judge_for(trust, cert, rest, usage == TLS_FOR_CLIENT ? "ssl_client" : "ssl_server",
                         out, checked);

    out->no_server = NULL;
    if (usage == TLS_FOR_EITHER && code == X509_V_ERR_INVALID_PURPOSE) {
        out->no_server = X509_verify_cert_error_string(code);
        code = judge_for(trust, cert, rest, "ssl_client", out, checked);
    }
    return code;
}

static void take_index(void)
{
    judgement_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    ensure(judgement_index >= 0);
}

/* RFC 7633 §4: the extension with status_request (5). */
static bool must_staple(const X509 *cert)
{
    TLS_FEATURE *list = X509_get_ext_d2i(cert, NID_tlsfeature, NULL, NULL);
    bool found = false;
    for (int i = 0; i < sk_ASN1_INTEGER_num(list); i++)
        found = found || ASN1_INTEGER_get(sk_ASN1_INTEGER_value(list, i)) == 5;
    TLS_FEATURE_free(list);
    ERR_clear_error();
    return found;
}

/* SSL_CTX_set_cert_verify_callback(3): in place of the verification of OpenSSL. The code that is
 * set becomes the alert. */
static int verify(X509_STORE_CTX *shown, void *arg)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(shown, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_judgement *j = SSL_get_ex_data(ssl, judgement_index);
    (void)arg;
    if (j == NULL)
        return 1; /* nobody asked */
    tls_checked_free(&j->checked);
    int code =
        tls_trust_judge(j->trust, X509_STORE_CTX_get0_cert(shown),
                        X509_STORE_CTX_get0_untrusted(shown), j->usage, &j->peer, &j->checked);
    if (j->usage == TLS_FOR_EITHER && j->revocation != TLS_REVOKE_OFF &&
        must_staple(X509_STORE_CTX_get0_cert(shown)))
        j->peer.no_server =
            "it demands a stapled OCSP answer, which only who is connected to shows";
    X509_STORE_CTX_set_error(shown, code);
    return code == X509_V_OK || !j->refuse;
}

void tls_judgement_prepare(SSL_CTX *ctx)
{
    pthread_once(&judgement_once, take_index);
    SSL_CTX_set_cert_verify_callback(ctx, verify, NULL);
}

/* Stapled answers (RFC 6066 §8, RFC 6960). */

/* A reference; NULL: it did not come, and is not trusted. */
static X509 *issuer_of(X509 *cert, STACK_OF(X509) * chain, X509_STORE *store)
{
    X509 *issuer = NULL;
    for (int i = 0; i < sk_X509_num(chain); i++)
        if (X509_check_issued(sk_X509_value(chain, i), cert) == X509_V_OK &&
            X509_up_ref(sk_X509_value(chain, i)) == 1)
            return sk_X509_value(chain, i);
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    ensure(ctx != NULL);
    if (X509_STORE_CTX_init(ctx, store, cert, chain) != 1 ||
        X509_STORE_CTX_get1_issuer(&issuer, ctx, cert) != 1)
        issuer = NULL;
    X509_STORE_CTX_free(ctx);
    return issuer;
}

/* Whether it is about the certificate. An answer says by which hash it names it. */
static bool is_about(OCSP_SINGLERESP *one, X509 *cert, X509 *issuer)
{
    OCSP_CERTID *id = (OCSP_CERTID *)(uintptr_t)OCSP_SINGLERESP_get0_id(one);
    ASN1_OBJECT *hash = NULL;
    const EVP_MD *md =
        OCSP_id_get0_info(NULL, &hash, NULL, NULL, id) == 1 ? EVP_get_digestbyobj(hash) : NULL;
    OCSP_CERTID *wanted = md != NULL ? OCSP_cert_to_id(md, cert, issuer) : NULL;
    bool same = wanted != NULL && OCSP_id_cmp(wanted, id) == 0;
    OCSP_CERTID_free(wanted);
    return same;
}

/* Into `out` if it says something about this certificate that is in date. */
static void shown_of(struct tls_revoke_shown *out, OCSP_BASICRESP *answer, X509 *cert, X509 *issuer)
{
    ASN1_GENERALIZEDTIME *from, *to;
    for (int i = 0; i < OCSP_resp_count(answer); i++) {
        OCSP_SINGLERESP *one = OCSP_resp_get0(answer, i);
        if (!is_about(one, cert, issuer))
            continue;
        int status = OCSP_single_get0_status(one, NULL, NULL, &from, &to);
        long oldest = to == NULL ? STAPLE_UNDATED_S : -1;
        if (OCSP_check_validity(from, to, STAPLE_SKEW_S, oldest) != 1)
            return;
        out->end = status == V_OCSP_CERTSTATUS_GOOD      ? TLS_REVOKE_GOOD
                   : status == V_OCSP_CERTSTATUS_REVOKED ? TLS_REVOKE_REVOKED
                                                         : TLS_REVOKE_UNKNOWN;
        out->this_update = tls_cert_seconds(from);
        out->until = to != NULL ? tls_cert_seconds(to) : out->this_update + STAPLE_UNDATED_S;
        return;
    }
}

/* The same; nothing if nobody who may has signed it. */
static void answer_says(struct tls_revoke_shown *out, OCSP_BASICRESP *answer, X509 *cert,
                        STACK_OF(X509) * chain, X509_STORE *store)
{
    X509 *issuer = issuer_of(cert, chain, store);
    if (issuer == NULL)
        return;
    STACK_OF(X509) *known = sk_X509_dup(chain);
    ensure(known != NULL && sk_X509_push(known, issuer) > 0);
    if (OCSP_basic_verify(answer, known, store, 0) == 1)
        shown_of(out, answer, cert, issuer);
    sk_X509_free(known);
    X509_free(issuer);
}

static struct tls_revoke_shown staple_says(SSL *ssl, X509 *cert, X509_STORE *store)
{
    unsigned char *bytes = NULL;
    long len = SSL_get_tlsext_status_ocsp_resp(ssl, &bytes);
    const unsigned char *at = bytes;
    OCSP_RESPONSE *response = len > 0 ? d2i_OCSP_RESPONSE(NULL, &at, len) : NULL;
    OCSP_BASICRESP *answer = response != NULL ? OCSP_response_get1_basic(response) : NULL;
    struct tls_revoke_shown shown = { .end = TLS_REVOKE_UNKNOWN };
    if (answer != NULL)
        answer_says(&shown, answer, cert, SSL_get_peer_cert_chain(ssl), store);
    OCSP_BASICRESP_free(answer);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return shown;
}

/* SSL_CTX_set_tlsext_status_cb(3), on the client, behind verify(). */
static int look_at_staple(SSL *ssl, void *arg)
{
    struct tls_judgement *j = SSL_get_ex_data(ssl, judgement_index);
    X509 *cert = SSL_get0_peer_certificate(ssl);
    (void)arg;
    if (j == NULL || cert == NULL || j->peer.verdict != TLS_VERIFIED ||
        j->revocation == TLS_REVOKE_OFF)
        return 1;
    j->shown = staple_says(ssl, cert, tls_trust_store(j->trust));
    if (j->shown.end == TLS_REVOKE_REVOKED) {
        j->peer.verdict = TLS_REVOKED;
        j->peer.reason = "its authority says that it is revoked (OCSP)";
    } else if (j->shown.end != TLS_REVOKE_GOOD && must_staple(cert)) {
        j->peer.verdict = TLS_NO_STAPLE;
        j->peer.reason = "it demands a stapled OCSP answer, and no valid one came";
    }
    return j->peer.verdict == TLS_VERIFIED || !j->refuse;
}

void tls_judgement_staples(SSL_CTX *ctx)
{
    SSL_CTX_set_tlsext_status_type(ctx, TLSEXT_STATUSTYPE_ocsp);
    SSL_CTX_set_tlsext_status_cb(ctx, look_at_staple);
}

struct tls_judgement *tls_judgement_create(struct tls_trust *trust, enum tls_usage usage)
{
    struct tls_judgement *j = mem_new(struct tls_judgement);

    j->trust = tls_trust_ref(trust);
    j->usage = usage;
    j->shown.end = TLS_REVOKE_UNKNOWN;
    j->unanswered = -1;
    j->peer.reason = "no certificate was shown";
    return j;
}

void tls_judgement_destroy(struct tls_judgement **j)
{
    if (*j == NULL)
        return;
    tls_trust_unref(&(*j)->trust);
    tls_checked_free(&(*j)->checked);
    for (unsigned i = 0; i < TLS_ASKS_MAX; i++)
        list_remove(&(*j)->asks[i].wait.node);
    mem_free(j);
}

/* A session that is resumed shows no certificate, so none is. */
void tls_judgement_use(struct tls_judgement *j, SSL *ssl)
{
    ensure(SSL_set_ex_data(ssl, judgement_index, j) == 1);
    SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    SSL_set_options(ssl, SSL_OP_NO_TICKET);
    (void)SSL_set_num_tickets(ssl, 0);
}

static void add_date(struct buf *out, int64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm tm;
    if (gmtime_r(&t, &tm) != NULL)
        buf_printf(out, "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
}

void tls_peer_explain(const struct tls_peer *peer, struct buf *out)
{
    buf_printf(out, "%s", peer->verdict == TLS_VERIFIED ? "verified" : peer->reason);
    if (peer->verdict == TLS_NOT_SHOWN)
        return;
    buf_printf(out, ": %s, issued by %s, valid ", peer->subject, peer->issuer);
    add_date(out, peer->not_before);
    buf_lit(out, " to ");
    add_date(out, peer->not_after);
}
