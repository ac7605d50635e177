#include "xmpp/scram_client.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "xmpp/scram_private.h"
#include <openssl/crypto.h>

enum {
    PASSWORD_MAX = 1024,
    SALT_MAX = 256,
    FINAL_MAX = 2 * SCRAM_CLIENT_BYTES,
    TEXT_MAX = 2 * FINAL_MAX
};

struct scram_client {
    enum scram_hash hash;
    uint32_t iterations; /* 0: the challenge has not come */
    bool computed;
    size_t password_len, salt_len;
    uint8_t salt[SALT_MAX];
    uint8_t signature[SCRAM_HASH_MAX]; /* of the server */
    char password[PASSWORD_MAX];
    struct buf first, challenge, final; /* first: with the header "n,," */
};

/* "," and "=" in a user name (RFC 5802 §5.1). */
static void client_add_user(struct buf *out, slice user)
{
    for (size_t i = 0; i < user.len; i++) {
        if (user.ptr[i] == ',')
            buf_lit(out, "=2C");
        else if (user.ptr[i] == '=')
            buf_lit(out, "=3D");
        else
            buf_append(out, user.ptr + i, 1);
    }
}

struct scram_client *scram_client_create(enum scram_hash h, slice user, slice password, slice nonce)
{
    struct scram_client *c = mem_new(struct scram_client);
    ensure(password.len <= sizeof c->password && nonce.len > 0);
    c->hash = h;
    c->password_len = password.len;
    if (password.len > 0)
        memcpy(c->password, password.ptr, password.len);
    buf_init(&c->first, SCRAM_CLIENT_BYTES);
    buf_init(&c->challenge, SCRAM_CLIENT_BYTES);
    buf_init(&c->final, FINAL_MAX);
    buf_lit(&c->first, "n,,n=");
    client_add_user(&c->first, user);
    buf_lit(&c->first, ",r=");
    buf_add(&c->first, nonce);
    ensure(!c->first.overflow);
    return c;
}

void scram_client_free(struct scram_client **pc)
{
    struct scram_client *c = *pc;
    *pc = NULL;
    if (c == NULL)
        return;
    buf_fini(&c->first);
    buf_fini(&c->challenge);
    buf_fini(&c->final);
    mem_wipe(c, sizeof *c);
    mem_free(&c);
}

slice scram_client_first(const struct scram_client *c) { return buf_slice(&c->first); }
slice scram_client_final(const struct scram_client *c) { return buf_slice(&c->final); }

/* The value of the next attribute, which must be this one. */
static bool client_attribute(slice *rest, char name, slice *value)
{
    slice head;
    slice_cut(*rest, ',', &head, rest);
    if (head.len < 3 || head.ptr[0] != name || head.ptr[1] != '=')
        return false;
    *value = slice_from(head, 2);
    return true;
}

static slice client_nonce(const struct scram_client *c)
{
    slice first = buf_slice(&c->first);
    size_t at = first.len;
    while (first.ptr[at - 1] != '=') /* the nonce has none */
        at--;
    return slice_from(first, at);
}

enum err scram_client_challenge(struct scram_client *c, slice message)
{
    slice rest = message, nonce, salt, count;
    int64_t iterations;
    struct buf bytes;
    if (message.len > SCRAM_CLIENT_BYTES || c->iterations != 0)
        return E_LIMIT;
    if (!client_attribute(&rest, 'r', &nonce) || !client_attribute(&rest, 's', &salt) ||
        !client_attribute(&rest, 'i', &count) || !slice_int(count, &iterations) || iterations < 1 ||
        !slice_starts(nonce, client_nonce(c)) || nonce.len == client_nonce(c).len)
        return E_SYNTAX;
    if (iterations > SCRAM_CLIENT_ITERATIONS)
        return E_LIMIT;
    buf_init(&bytes, SALT_MAX);
    enum err e = base64_decode(&bytes, salt);
    if (e == OK && bytes.len == 0)
        e = E_SYNTAX;
    if (e == OK) {
        memcpy(c->salt, bytes.ptr, bytes.len);
        c->salt_len = bytes.len;
        c->iterations = (uint32_t)iterations;
        buf_add(&c->challenge, message);
        buf_lit(&c->final, "c=biws,r=");
        buf_add(&c->final, nonce);
    }
    buf_fini(&bytes);
    return e;
}

static slice client_bytes(const uint8_t *bytes, size_t len)
{
    return (slice){ (const char *)bytes, len };
}

void scram_client_compute(struct scram_client *c)
{
    uint8_t salted[SCRAM_HASH_MAX], key[SCRAM_HASH_MAX], stored[SCRAM_HASH_MAX],
        proof[SCRAM_HASH_MAX];
    size_t len = scram_hash_len(c->hash);
    struct buf text;
    ensure(c->iterations > 0);
    buf_init(&text, TEXT_MAX);
    buf_add(&text, slice_from(buf_slice(&c->first), 3));
    buf_lit(&text, ",");
    buf_add(&text, buf_fit(&c->challenge));
    buf_lit(&text, ",");
    buf_add(&text, buf_slice(&c->final));
    scram_salted(c->hash, (slice){ c->password, c->password_len },
                 client_bytes(c->salt, c->salt_len), c->iterations, salted);
    scram_hmac(c->hash, client_bytes(salted, len), SLICE("Client Key"), key);
    scram_digest(c->hash, client_bytes(key, len), stored);
    scram_hmac(c->hash, client_bytes(stored, len), buf_slice(&text), proof);
    for (size_t i = 0; i < len; i++)
        proof[i] ^= key[i];
    scram_hmac(c->hash, client_bytes(salted, len), SLICE("Server Key"), key);
    scram_hmac(c->hash, client_bytes(key, len), buf_slice(&text), c->signature);
    buf_lit(&c->final, ",p=");
    base64_encode(&c->final, client_bytes(proof, len));
    c->computed = true;
    ensure(!c->final.overflow && !text.overflow);
    buf_fini(&text);
    mem_wipe(salted, sizeof salted);
    mem_wipe(key, sizeof key);
}

bool scram_client_is_proved(const struct scram_client *c, slice message)
{
    struct buf bytes;
    slice rest = message, signature;
    size_t len = scram_hash_len(c->hash);
    if (!c->computed || message.len > SCRAM_CLIENT_BYTES ||
        !client_attribute(&rest, 'v', &signature))
        return false;
    buf_init(&bytes, SCRAM_CLIENT_BYTES);
    bool same = base64_decode(&bytes, signature) == OK && bytes.len == len &&
                CRYPTO_memcmp(bytes.ptr, c->signature, len) == 0;
    buf_fini(&bytes);
    return same;
}
