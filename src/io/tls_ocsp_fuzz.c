#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "io/tls_cert_make.h"
#include "io/tls_ocsp.h"
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXT_MAX = 1 << 16, NOW = 1800000000 };

/* A certificate that is its own issuer is enough of a chain to ask about. */
static struct {
    struct tls_cert_facts facts[2];
    struct tls_chain chain;
    X509 *cert;
    EVP_PKEY *key;
} made;

static void *pem_read(slice pem, bool key)
{
    BIO *in = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    void *out = key ? (void *)PEM_read_bio_PrivateKey(in, NULL, NULL, NULL)
                    : (void *)PEM_read_bio_X509(in, NULL, NULL, NULL);
    BIO_free(in);
    ensure(out != NULL);
    return out;
}

static void make_once(void)
{
    const struct tls_name name = { TLS_NAME_DNS, SLICE("a.test") };
    struct tls_chain one;
    struct buf key, pem;
    struct why why;
    if (made.chain.count > 0)
        return;
    struct arena *arena = arena_create(0);
    tls_key_room(&key, TLS_KEY_BYTES_MAX);
    buf_init(&pem, TEXT_MAX);
    enum err e = tls_key_make(&key, TLS_ECDSA_P256, &why);
    if (e == OK)
        e = tls_self_sign(&pem, buf_fit(&key), &(struct tls_names){ &name, 1 }, &why);
    if (e == OK)
        e = tls_chain_of_pem(&one, buf_fit(&pem), 1, "made", arena, &why);
    ensure(e == OK);
    made.facts[0] = made.facts[1] = one.item[0];
    made.chain = (struct tls_chain){ made.facts, 2 }; /* the arena stays */
    made.cert = pem_read(buf_fit(&pem), false);
    made.key = pem_read(buf_fit(&key), true);
    tls_key_wipe(&key);
    buf_fini(&pem);
}

static enum err reads(struct tls_ocsp *out, slice answer)
{
    struct why why = { "" };
    enum err e = tls_ocsp_read(out, answer, &made.chain, NOW, &why);
    ensure(e == OK || why.text[0] != '\0');
    ensure(e != OK || (out->status <= TLS_OCSP_UNKNOWN && out->until > NOW));
    return e;
}

/* As a question asks for it, or with another serial number. */
static OCSP_CERTID *id_of(bool other)
{
    ASN1_INTEGER *serial = NULL;
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), made.cert, made.cert);
    ensure(id != NULL && OCSP_id_get0_info(NULL, NULL, NULL, &serial, id) == 1);
    ensure(!other || ASN1_INTEGER_set(serial, 7) == 1);
    return id;
}

/* The bytes are the fields of an answer that the issuer signs: its status, dates and reason. */
static void reads_signed(const uint8_t *data, size_t size)
{
    struct tls_ocsp out;
    unsigned char *der = NULL;
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    OCSP_CERTID *id = id_of(data[0] >> 7);
    int status = data[0] % 3, reason = (data[0] >> 2) % 12;
    ASN1_TIME *when[3];
    for (size_t i = 0; i < 3; i++) {
        int32_t offset = 0; /* about a minute to 68 years */
        memcpy(&offset, data + 1 + i * sizeof offset, sizeof offset);
        when[i] = ASN1_GENERALIZEDTIME_set(NULL, (time_t)NOW + offset);
    }
    bool ends = (data[0] >> 6 & 1) != 0;
    if (OCSP_basic_add1_status(basic, id, status, reason, when[2], when[0],
                               ends ? when[1] : NULL) != NULL &&
        OCSP_basic_sign(basic, made.cert, made.key, EVP_sha256(), NULL, 0) == 1) {
        OCSP_RESPONSE *response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
        int len = i2d_OCSP_RESPONSE(response, &der);
        ensure(len > 0);
        slice answer = { (const char *)der, (size_t)len };
        enum err e = reads(&out, answer);
        ensure(e == OK || e == E_TIMEOUT || e == E_NOTFOUND);
        ensure(e != OK || (int)out.status == status); /* the three have the same numbers */
        ensure(e != OK || data[0] >> 7 == 0);
        if (size > 14) { /* a byte of it is another one: then nobody has signed it */
            der[(size_t)(data[13] << 8 | data[14]) % (size_t)len] ^= (unsigned char)(1 | data[0]);
            (void)reads(&out, answer);
        }
        OCSP_RESPONSE_free(response);
    }
    for (size_t i = 0; i < 3; i++)
        ASN1_TIME_free(when[i]);
    OPENSSL_free(der);
    OCSP_CERTID_free(id);
    OCSP_BASICRESP_free(basic);
    ERR_clear_error();
}

/* Begins with 'S': fields that are signed. Else an answer, which nobody has signed: none of it is
 * believed. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tls_ocsp out;
    make_once();
    if (size > 13 && data[0] == 'S')
        reads_signed(data + 1, size - 1);
    else
        ensure(reads(&out, (slice){ (const char *)data, size }) != OK);
    return 0;
}
