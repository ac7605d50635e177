#include "io/tls_tickets.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/rand.h"
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <pthread.h>

enum { TICKET_NONE = 0, TICKET_GOOD = 1, TICKET_RENEW = 2, TICKET_ERROR = -1 }; /* of OpenSSL */

static struct {
    pthread_mutex_t lock; /* guards the keys */
    struct ticket_keys keys;
    pthread_once_t once;
    EVP_CIPHER *cipher;
} tickets = { .lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT };

static void fetch_once(void)
{
    tickets.cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    ensure(tickets.cipher != NULL);
}

void ticket_keys_renew(struct ticket_keys *k, uint64_t now_us)
{
    if (k->count > 0 && now_us - k->since_us < TICKET_KEY_US)
        return;
    bool missed = k->count > 0 && now_us - k->since_us >= 2 * TICKET_KEY_US;
    k->key[1] = k->key[0];
    rand_bytes(&k->key[0], sizeof k->key[0]);
    k->count = k->count == 0 || missed ? 1 : 2;
    if (k->count == 1)
        mem_wipe(&k->key[1], sizeof k->key[1]);
    k->since_us = now_us;
}

const struct ticket_key *ticket_keys_find(const struct ticket_keys *k,
                                          const uint8_t name[TICKET_NAME_BYTES])
{
    for (unsigned i = 0; i < k->count; i++)
        if (memcmp(k->key[i].name, name, TICKET_NAME_BYTES) == 0) /* it is no secret */
            return &k->key[i];
    return NULL;
}

/* 2: it is the older one, and the client gets a new ticket. */
static int tls_tickets_take_key(struct ticket_key *out, const uint8_t *name)
{
    int found = TICKET_NONE;
    pthread_mutex_lock(&tickets.lock);
    ticket_keys_renew(&tickets.keys, clock_mono_us());
    const struct ticket_key *k =
        name == NULL ? &tickets.keys.key[0] : ticket_keys_find(&tickets.keys, name);
    if (k != NULL) {
        *out = *k;
        found = k == &tickets.keys.key[0] ? TICKET_GOOD : TICKET_RENEW;
    }
    pthread_mutex_unlock(&tickets.lock);
    return found;
}

static bool set_mac(EVP_MAC_CTX *mac, struct ticket_key *k)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k->hmac, sizeof k->hmac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3) */
static int ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                      EVP_MAC_CTX *mac, int encrypt)
{
    struct ticket_key k;
    int found = tls_tickets_take_key(&k, encrypt ? NULL : name);
    (void)ssl;
    if (found == TICKET_NONE)
        return found;
    if (encrypt) {
        memcpy(name, k.name, sizeof k.name);
        rand_bytes(iv, (size_t)EVP_CIPHER_get_iv_length(tickets.cipher));
    }
    bool ok = EVP_CipherInit_ex(cipher, tickets.cipher, NULL, k.aes, iv, encrypt) == 1 &&
              set_mac(mac, &k);
    mem_wipe(&k, sizeof k);
    return ok ? found : TICKET_ERROR;
}

void tls_tickets_use(SSL_CTX *ctx)
{
    pthread_once(&tickets.once, fetch_once);
    ensure(SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key) == 1);
}
