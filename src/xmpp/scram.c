#include "base/arena.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "xmpp/jid.h"
#include "xmpp/scram_private.h"
#include <nettle/hmac.h>
#include <nettle/pbkdf2.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>

static const struct {
    const char *digest;
    size_t len;
} hashes[SCRAM_HASH_COUNT] = {
    [SCRAM_SHA_1] = { "SHA1", 20 },
    [SCRAM_SHA_256] = { "SHA256", 32 },
    [SCRAM_SHA_512] = { "SHA512", 64 },
};

/* Fetching an algorithm costs more than using it, so it is done once. A copy of a prepared context
 * is the cheapest HMAC of OpenSSL 3 that any thread may run: 0.65 µs, where EVP_Q_mac() takes 1.1
 * µs. */
static struct {
    pthread_once_t once;
    EVP_MD *digest[SCRAM_HASH_COUNT];
    EVP_MAC_CTX *hmac[SCRAM_HASH_COUNT]; /* never used themselves */
} crypto = { .once = PTHREAD_ONCE_INIT };

static void crypto_open(void)
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    ensure(mac != NULL);
    for (int h = 0; h < SCRAM_HASH_COUNT; h++) {
        OSSL_PARAM params[] = {
            OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)hashes[h].digest, 0),
            OSSL_PARAM_construct_end(),
        };
        crypto.digest[h] = EVP_MD_fetch(NULL, hashes[h].digest, NULL);
        crypto.hmac[h] = EVP_MAC_CTX_new(mac);
        ensure(crypto.digest[h] != NULL && EVP_MAC_CTX_set_params(crypto.hmac[h], params) == 1);
    }
    EVP_MAC_free(mac);
}

static void hmac_keyed(enum scram_hash h, slice key, slice message, uint8_t *out)
{
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(crypto.hmac[h]);
    size_t len = 0;
    ensure(ctx != NULL && EVP_MAC_init(ctx, (const unsigned char *)key.ptr, key.len, NULL) == 1 &&
           EVP_MAC_update(ctx, (const unsigned char *)message.ptr, message.len) == 1 &&
           EVP_MAC_final(ctx, out, &len, SCRAM_HASH_MAX) == 1 && len == hashes[h].len);
    EVP_MAC_CTX_free(ctx);
}

static void hmac(enum scram_hash h, const uint8_t *key, slice message, uint8_t *out)
{
    hmac_keyed(h, (slice){ (const char *)key, hashes[h].len }, message, out);
}

static void digest(enum scram_hash h, const uint8_t *bytes, uint8_t *out)
{
    ensure(EVP_Digest(bytes, hashes[h].len, out, NULL, crypto.digest[h], NULL) == 1);
}

static void open_once(enum scram_hash h)
{
    ensure((unsigned)h < SCRAM_HASH_COUNT);
    pthread_once(&crypto.once, crypto_open);
}

size_t scram_hash_len(enum scram_hash h)
{
    ensure((unsigned)h < SCRAM_HASH_COUNT);
    return hashes[h].len;
}

size_t scram_digest(enum scram_hash h, slice bytes, uint8_t out[SCRAM_HASH_MAX])
{
    open_once(h);
    ensure(EVP_Digest(bytes.ptr, bytes.len, out, NULL, crypto.digest[h], NULL) == 1);
    return hashes[h].len;
}

void scram_hmac(enum scram_hash h, slice key, slice message, uint8_t out[SCRAM_HASH_MAX])
{
    open_once(h);
    hmac_keyed(h, key, message, out);
}

void scram_from_salted(struct scram_keys *out, enum scram_hash h, slice salted, slice salt,
                       uint32_t iterations)
{
    open_once(h);
    ensure(salt.len > 0 && salt.len <= sizeof out->salt && iterations > 0 &&
           iterations <= INT32_MAX && salted.len == hashes[h].len);
    *out = (struct scram_keys){ .salt_len = (uint8_t)salt.len, .iterations = iterations };
    memcpy(out->salt, salt.ptr, salt.len);
    uint8_t client_key[SCRAM_HASH_MAX];
    hmac_keyed(h, salted, SLICE("Client Key"), client_key);
    digest(h, client_key, out->stored_key);
    hmac_keyed(h, salted, SLICE("Server Key"), out->server_key);
    mem_wipe(client_key, sizeof client_key);
}

/* By nettle: OpenSSL pays 0.3 µs for each of the iterations, which is as much as SHA-256 itself. */
void scram_salted(enum scram_hash h, slice password, slice salt, uint32_t iterations,
                  uint8_t out[SCRAM_HASH_MAX])
{
    const uint8_t *key = (const uint8_t *)password.ptr, *salted = (const uint8_t *)salt.ptr;
    union {
        struct hmac_sha1_ctx sha1;
        struct hmac_sha256_ctx sha256;
        struct hmac_sha512_ctx sha512;
    } with;
    ensure((unsigned)h < SCRAM_HASH_COUNT && iterations > 0);
    switch (h) {
    case SCRAM_SHA_1:
        hmac_sha1_set_key(&with.sha1, password.len, key);
        PBKDF2(&with.sha1, hmac_sha1_update, hmac_sha1_digest, SHA1_DIGEST_SIZE, iterations,
               salt.len, salted, SHA1_DIGEST_SIZE, out);
        break;
    case SCRAM_SHA_256:
        hmac_sha256_set_key(&with.sha256, password.len, key);
        PBKDF2(&with.sha256, hmac_sha256_update, hmac_sha256_digest, SHA256_DIGEST_SIZE, iterations,
               salt.len, salted, SHA256_DIGEST_SIZE, out);
        break;
    default:
        hmac_sha512_set_key(&with.sha512, password.len, key);
        PBKDF2(&with.sha512, hmac_sha512_update, hmac_sha512_digest, SHA512_DIGEST_SIZE, iterations,
               salt.len, salted, SHA512_DIGEST_SIZE, out);
    }
    mem_wipe(&with, sizeof with);
}

static void derive_form(struct scram_keys *out, enum scram_hash h, slice password, slice salt,
                        uint32_t iterations)
{
    uint8_t salted[SCRAM_HASH_MAX];
    scram_salted(h, password, salt, iterations, salted);
    scram_from_salted(out, h, (slice){ (const char *)salted, hashes[h].len }, salt, iterations);
    mem_wipe(salted, sizeof salted);
}

void scram_derive(struct scram_keys *out, enum scram_hash h, slice password, slice salt,
                  uint32_t iterations)
{
    struct arena *tmp = arena_create(0);
    struct scram_keys other;
    slice form;
    if (jid_prep_password_sasl(password, tmp, &form) != OK)
        form = password;
    derive_form(out, h, form, salt, iterations);
    if (!slice_eq(form, password)) {
        derive_form(&other, h, password, salt, iterations);
        out->two_forms = true;
        memcpy(out->other_stored, other.stored_key, sizeof out->other_stored);
        memcpy(out->other_server, other.server_key, sizeof out->other_server);
        mem_wipe(&other, sizeof other);
    }
    if (form.ptr != password.ptr)
        mem_wipe((char *)(uintptr_t)form.ptr, form.len);
    arena_destroy(&tmp);
}

static bool stored_is(const struct scram_keys *k, enum scram_hash h, const uint8_t *stored)
{
    bool same = CRYPTO_memcmp(k->stored_key, stored, hashes[h].len) == 0;
    bool other = CRYPTO_memcmp(k->other_stored, stored, hashes[h].len) == 0;
    return same || (k->two_forms && other);
}

bool scram_verify(const struct scram_keys *keys, enum scram_hash h, slice password)
{
    struct scram_keys derived;
    slice salt = { (const char *)keys->salt, keys->salt_len };
    scram_derive(&derived, h, password, salt, keys->iterations);
    bool same = stored_is(keys, h, derived.stored_key);
    if (derived.two_forms)
        same = stored_is(keys, h, derived.other_stored) || same;
    mem_wipe(&derived, sizeof derived);
    return same;
}

/* Every login pays for this, so it is one HMAC: its value is the salt that is shown, and stands for
 * keys that are never shown. No pre-image of it is known, so no password fits. */
void scram_fake_keys(struct scram_keys *out, enum scram_hash h, slice user, slice server_secret,
                     uint32_t iterations)
{
    open_once(h);
    uint8_t key[SCRAM_HASH_MAX] = { 0 }, value[SCRAM_HASH_MAX];
    size_t len = server_secret.len < hashes[h].len ? server_secret.len : hashes[h].len;
    memcpy(key, server_secret.ptr, len);
    hmac(h, key, user, value);
    *out = (struct scram_keys){ .salt_len = SCRAM_SALT_LEN, .iterations = iterations };
    memcpy(out->salt, value, SCRAM_SALT_LEN);
    memcpy(out->stored_key, value, hashes[h].len);
    memcpy(out->server_key, value, hashes[h].len);
    mem_wipe(key, sizeof key);
}

static bool prove(enum scram_hash h, const uint8_t *stored_key, slice auth_message, slice proof)
{
    size_t len = hashes[h].len;
    uint8_t client[SCRAM_HASH_MAX], stored[SCRAM_HASH_MAX];
    hmac(h, stored_key, auth_message, client);
    for (size_t i = 0; i < len; i++) /* ClientKey = ClientProof XOR ClientSignature */
        client[i] = (uint8_t)(client[i] ^ (uint8_t)proof.ptr[i]);
    digest(h, client, stored);
    bool proven = CRYPTO_memcmp(stored, stored_key, len) == 0;
    mem_wipe(client, sizeof client);
    return proven;
}

/* The second form costs as much where there is none, so that the time does not tell. */
bool scram_prove(const struct scram_keys *keys, enum scram_hash h, slice auth_message, slice proof,
                 uint8_t signature[SCRAM_HASH_MAX])
{
    open_once(h);
    if (proof.len != hashes[h].len)
        return false;
    bool first = prove(h, keys->stored_key, auth_message, proof);
    bool other = prove(h, keys->other_stored, auth_message, proof) && keys->two_forms;
    hmac(h, other ? keys->other_server : keys->server_key, auth_message, signature);
    return first || other;
}
