#include "io/tls_trust.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/whole_file.h"
#include "io/tls_cert.h"
#include "io/tls_private.h"
#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { CHAIN_DEPTH_MAX = 10, AUTH_LEVEL = 2 /* 112 bits: RSA 2048, no SHA-1 */, PATH_BYTES = 4096 };

struct tls_trust {
    _Atomic unsigned refs;
    _Atomic bool system_wanted; /* and not read yet: it takes 10 ms */
    pthread_mutex_t reading;    /* of the system's */
    X509_STORE *store;
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

/* X509_STORE may be read by others meanwhile. */
static void trust_read_system(struct tls_trust *t)
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
                               const char *folder, struct why *why)
{
    struct tls_trust *t = trust_new();
    enum err e = OK;

    atomic_init(&t->system_wanted, system);
    if (e == OK && file != NULL)
        e = load_trusted(t->store, file, why);
    if (e == OK && access(folder, F_OK) == 0)
        e = load_folder(t->store, folder, why);
    return trust_give(out, t, e == E_NOTFOUND ? OK : e);
}

X509_STORE *tls_trust_store(const struct tls_trust *trust)
{
    trust_read_system((struct tls_trust *)(uintptr_t)trust);
    return trust->store;
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
    default:
        return TLS_BROKEN;
    }
}

static void note_facts(struct tls_peer *out, const X509 *cert, int code)
{
    out->verdict = verdict_of(code);
    out->reason = X509_verify_cert_error_string(code);
    tls_cert_line(X509_get_subject_name(cert), out->subject, sizeof(out->subject));
    tls_cert_line(X509_get_issuer_name(cert), out->issuer, sizeof(out->issuer));
    out->not_before = tls_cert_seconds(X509_get0_notBefore(cert));
    out->not_after = tls_cert_seconds(X509_get0_notAfter(cert));
}

/* The error of X509_V_ERR_…, noted with the certificate that has it. */
static int judge_for(const struct tls_trust *trust, X509 *cert, STACK_OF(X509) * rest,
                     const char *purpose, struct tls_peer *out)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    int code = X509_V_ERR_UNSPECIFIED;
    ensure(ctx != NULL);
    out->depth = 0;
    if (X509_STORE_CTX_init(ctx, tls_trust_store(trust), cert, rest) == 1 &&
        X509_STORE_CTX_set_default(ctx, purpose) == 1) {
        X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
        X509_VERIFY_PARAM_set_depth(param, CHAIN_DEPTH_MAX);
        X509_VERIFY_PARAM_set_auth_level(param, AUTH_LEVEL);
        bool good = X509_verify_cert(ctx) == 1;
        code = X509_STORE_CTX_get_error(ctx);
        if (!good && code == X509_V_OK)
            code = X509_V_ERR_UNSPECIFIED;
        out->depth = good ? 0 : X509_STORE_CTX_get_error_depth(ctx);
    }
    const X509 *at = code == X509_V_OK ? cert : X509_STORE_CTX_get_current_cert(ctx);
    note_facts(out, at != NULL ? at : cert, code);
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    return code;
}

static int tls_trust_judge_chain(const struct tls_trust *trust, X509 *cert, STACK_OF(X509) * rest,
                                 enum tls_usage usage, struct tls_peer *out)
{
    int code =
        judge_for(trust, cert, rest, usage == TLS_FOR_CLIENT ? "ssl_client" : "ssl_server", out);

    if (usage == TLS_FOR_EITHER && code == X509_V_ERR_INVALID_PURPOSE)
        code = judge_for(trust, cert, rest, "ssl_client", out);
    return code;
}

void tls_trust_judge(const struct tls_trust *trust, X509 *cert, STACK_OF(X509) * rest,
                     enum tls_usage usage, struct tls_peer *out)
{
    (void)tls_trust_judge_chain(trust, cert, rest, usage, out);
}

static void take_index(void)
{
    judgement_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    ensure(judgement_index >= 0);
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
    int code = tls_trust_judge_chain(j->trust, X509_STORE_CTX_get0_cert(shown),
                                     X509_STORE_CTX_get0_untrusted(shown), j->usage, &j->peer);
    X509_STORE_CTX_set_error(shown, code);
    return code == X509_V_OK || !j->refuse;
}

void tls_judgement_prepare(SSL_CTX *ctx)
{
    pthread_once(&judgement_once, take_index);
    SSL_CTX_set_cert_verify_callback(ctx, verify, NULL);
}

struct tls_judgement *tls_judgement_create(struct tls_trust *trust, enum tls_usage usage)
{
    struct tls_judgement *j = mem_new(struct tls_judgement);

    j->trust = tls_trust_ref(trust);
    j->usage = usage;
    j->peer.reason = "no certificate was shown";
    return j;
}

void tls_judgement_destroy(struct tls_judgement **j)
{
    if (*j == NULL)
        return;
    tls_trust_unref(&(*j)->trust);
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
