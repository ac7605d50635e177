#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "io/tls_cert_make.h"
#include "io/tls_private.h"
#include <openssl/err.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXT_MAX = 1 << 16 };

/* A certificate that is its own issuer. */
static struct tls_suspect *suspect;

static void make_once(void)
{
    const struct tls_name name = { TLS_NAME_DNS, SLICE("a.test") };
    struct buf key, pem;
    struct why why;
    if (suspect != NULL)
        return;
    tls_key_room(&key, TLS_KEY_BYTES_MAX);
    buf_init(&pem, TEXT_MAX);
    enum err e = tls_key_make(&key, TLS_ECDSA_P256, &why);
    if (e == OK)
        e = tls_self_sign(&pem, buf_fit(&key), &(struct tls_names){ &name, 1 }, &why);
    ensure(e == OK);
    suspect = tls_suspect_of_pem(buf_fit(&pem), buf_fit(&pem));
    ensure(suspect != NULL);
    tls_key_wipe(&key);
    buf_fini(&pem);
}

/* Nobody has signed it: whatever it says is not believed. */
static void reads_list(slice bytes)
{
    struct why why = { "" };
    enum tls_ocsp_status status = TLS_OCSP_GOOD;
    struct tls_crl *crl;
    if (tls_crl_read(&crl, bytes, &why) == OK) {
        ensure(tls_crl_says(&status, crl, suspect, &why) != OK && status == TLS_OCSP_UNKNOWN);
        (void)tls_crl_until(crl);
        tls_crl_unref(&crl);
    }
    ensure(why.text[0] != '\0');
}

/* The addresses that a certificate names. */
static void reads_sources(const uint8_t *data, size_t size)
{
    struct tls_source source[TLS_SOURCES_MAX];
    const unsigned char *at = data;
    X509 *cert = d2i_X509(NULL, &at, (long)size);
    ERR_clear_error();
    if (cert == NULL)
        return;
    struct arena *arena = arena_create(0);
    struct tls_suspect *s = tls_suspect_create(cert, cert);
    size_t count = tls_suspect_sources(s, arena, source);
    ensure(count <= TLS_SOURCES_MAX);
    for (size_t i = 0; i < count; i++)
        ensure(slice_starts(source[i].uri, SLICE("http://")) &&
               memchr(source[i].uri.ptr, '\0', source[i].uri.len) == NULL);
    tls_suspect_unref(&s);
    arena_destroy(&arena);
    X509_free(cert);
}

/* Begins with 'C': a certificate; else a list. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    make_once();
    if (size > 1 && data[0] == 'C')
        reads_sources(data + 1, size - 1);
    else
        reads_list((slice){ (const char *)data, size });
    return 0;
}
