#include "io/tls_staple.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/map.h"
#include "base/mem.h"
#include "io/tls_private.h"
#include <openssl/evp.h>
#include <pthread.h>

enum { FINGERPRINT_LEN = 64, DIGEST_BYTES = FINGERPRINT_LEN / 2 };

/* Of one certificate, for all contexts that have it. */
struct tls_staple {
    char fingerprint[FINGERPRINT_LEN + 1];
    unsigned refs;
    char *answer; /* NULL: none */
    size_t len;
    int64_t until;
};

static slice staple_key(const void *item)
{
    return (slice){ ((const struct tls_staple *)item)->fingerprint, FINGERPRINT_LEN };
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards those below */
static struct map staples;
static size_t count; /* in it; at 0 it is not there */

/* SSL_CTX_set_tlsext_status_cb(3) */
static int staple_show(SSL *ssl, void *arg)
{
    const struct tls_staple *s = arg;
    unsigned char *copy = NULL;
    size_t len = 0;
    pthread_mutex_lock(&lock);
    if (s->answer != NULL && (int64_t)(clock_wall_us() / 1000000) < s->until) {
        copy = OPENSSL_memdup(s->answer, s->len);
        len = s->len;
    }
    pthread_mutex_unlock(&lock);
    if (copy == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, (int)len); /* it is the session's now */
    return SSL_TLSEXT_ERR_OK;
}

struct tls_staple *tls_staple_of(const X509 *cert)
{
    unsigned char digest[DIGEST_BYTES];
    unsigned len = 0;
    char text[FINGERPRINT_LEN + 1];
    int rc = X509_digest(cert, EVP_sha256(), digest, &len);
    ensure(rc == 1 && len == DIGEST_BYTES);
    hex_encode(text, (slice){ (const char *)digest, len });
    pthread_mutex_lock(&lock);
    if (count == 0)
        map_init(&staples, staple_key);
    struct tls_staple *s = map_get(&staples, (slice){ text, FINGERPRINT_LEN });
    if (s == NULL) {
        s = mem_new(struct tls_staple);
        memcpy(s->fingerprint, text, sizeof text);
        map_put(&staples, s);
        count++;
    }
    s->refs++;
    pthread_mutex_unlock(&lock);
    return s;
}

void tls_staple_use(struct tls_staple *s, SSL_CTX *ctx)
{
    SSL_CTX_set_tlsext_status_cb(ctx, staple_show);
    SSL_CTX_set_tlsext_status_arg(ctx, s);
}

void tls_staple_unref(struct tls_staple **ps)
{
    struct tls_staple *s = *ps;
    *ps = NULL;
    if (s == NULL)
        return;
    pthread_mutex_lock(&lock);
    if (--s->refs == 0) {
        map_del(&staples, staple_key(s));
        if (--count == 0)
            map_fini(&staples);
        mem_free(&s->answer);
        mem_free(&s);
    }
    pthread_mutex_unlock(&lock);
}

void tls_staple_set(const char *fingerprint, slice answer, int64_t until)
{
    char *copy = NULL;
    ensure(answer.len <= TLS_STAPLE_BYTES_MAX);
    if (answer.len > 0) {
        copy = mem_alloc(answer.len);
        memcpy(copy, answer.ptr, answer.len);
    }
    pthread_mutex_lock(&lock);
    struct tls_staple *s = count > 0 ? map_get(&staples, slice_of(fingerprint)) : NULL;
    if (s != NULL) {
        mem_free(&s->answer);
        s->answer = copy;
        s->len = answer.len;
        s->until = until;
        copy = NULL;
    }
    pthread_mutex_unlock(&lock);
    mem_free(&copy);
}
