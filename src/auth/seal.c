#include "auth/seal.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/secret_file.h"
#include "store/store.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { NONCE_BYTES = 12, TAG_BYTES = 16, SEALED_MAX = 16384 };

#define PREFIX "sealed:"

static unsigned char enc_key[SEAL_KEY_BYTES], nonce_key[SEAL_KEY_BYTES];
static bool ready, is_new;

struct alarm seal_alarm = {
    .name = "secrets.key",
    .severity = ALARM_ERROR,
    .text =
        "Tokens of devices, secrets of components, settings and webhooks, passwords of rooms and "
        "second factors of administrators cannot be read: their key is missing or cannot be used.",
    .action = "Look at the detail. Restore secrets.key in the data folder, owned by the user of "
              "musterd and with mode 0600, and restart. Or give up what it protects: run "
              "`musterctl secrets reset`, remove the file if there is one, and restart. Devices "
              "then log in with passwords. Components and rooms need new secrets, secret settings "
              "must be set again, and webhooks and test users must be added again. Administrators "
              "who had a second factor log in with the password alone until they make a new one.",
    .explanation =
        "Secrets in the database are encrypted with the key in secrets.key. A copy of the "
        "database alone does not contain them.",
    .raised_when =
        "The file is missing, damaged or not readable, although the database has secrets.",
    .cleared_when = "The server starts with the right key, or the secrets were given up.",
};

struct store_stmt seal_stmt_mark = {
    .name = "seal.mark",
    .sql = "SELECT mark FROM seal WHERE id = 1",
    .params = "",
    .cols = "t",
};
struct store_stmt seal_stmt_put = {
    .name = "seal.put",
    .sql = "INSERT INTO seal(id, mark) VALUES(1, $1)",
    .params = "t",
    .cols = "",
};
struct store_stmt seal_stmt_drop = {
    .name = "seal.drop",
    .sql = "DELETE FROM seal",
    .params = "",
    .cols = "",
};

static void derive(unsigned char out[SEAL_KEY_BYTES], const unsigned char *key, const char *use)
{
    unsigned len = SEAL_KEY_BYTES;
    HMAC(EVP_sha256(), key, SEAL_KEY_BYTES, (const unsigned char *)use, strlen(use), out, &len);
}

void seal_use(const unsigned char key[SEAL_KEY_BYTES])
{
    derive(enc_key, key, "muster seal");
    derive(nonce_key, key, "muster seal nonce");
    ready = true;
}

bool seal_ready(void) { return ready; }

bool seal_is_new(void) { return is_new; }

/* The nonce is derived from text and context, so different texts have different nonces. */
static void nonce_of(unsigned char out[NONCE_BYTES], slice plain, slice context)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    struct buf b;
    buf_init(&b, SEALED_MAX);
    buf_printf(&b, "%zu ", context.len);
    buf_add(&b, context);
    buf_add(&b, plain);
    ensure(!b.overflow); /* different texts would have one nonce */
    HMAC(EVP_sha256(), nonce_key, sizeof nonce_key, (const unsigned char *)b.ptr, b.len, mac, NULL);
    memcpy(out, mac, NONCE_BYTES);
    OPENSSL_cleanse(b.ptr, b.len);
    buf_fini(&b);
}

slice seal(slice plain, slice context, struct arena *arena)
{
    ensure(ready && plain.len <= SEAL_PLAIN_MAX);
    unsigned char out[NONCE_BYTES + SEAL_PLAIN_MAX + TAG_BYTES], *at = out + NONCE_BYTES;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int len = 0, text = 0;
    nonce_of(out, plain, context);
    bool ok =
        c != NULL && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, enc_key, out) == 1 &&
        EVP_EncryptUpdate(c, NULL, &len, (const unsigned char *)context.ptr, (int)context.len) ==
            1 &&
        EVP_EncryptUpdate(c, at, &text, (const unsigned char *)plain.ptr, (int)plain.len) == 1 &&
        EVP_EncryptFinal_ex(c, at + text, &len) == 1 &&
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, at + text) == 1;
    EVP_CIPHER_CTX_free(c);
    ensure(ok); /* nothing of it depends on input */
    struct buf b;
    buf_init(&b, SEALED_MAX);
    buf_lit(&b, PREFIX);
    base64_encode(&b, (slice){ (const char *)out, (size_t)(NONCE_BYTES + text + TAG_BYTES) });
    ensure(!b.overflow); /* the text has SEAL_PLAIN_MAX bytes at most */
    slice sealed = slice_dup(arena, buf_slice(&b));
    buf_fini(&b);
    return sealed;
}

static bool open_bytes(slice *plain, slice bytes, slice context, struct arena *arena)
{
    if (bytes.len < NONCE_BYTES + TAG_BYTES || bytes.len > NONCE_BYTES + SEAL_PLAIN_MAX + TAG_BYTES)
        return false;
    unsigned char tag[TAG_BYTES], nonce[NONCE_BYTES];
    size_t text = bytes.len - NONCE_BYTES - TAG_BYTES;
    unsigned char *out = arena_alloc(arena, 1, text + TAG_BYTES);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int len = 0;
    memcpy(nonce, bytes.ptr, sizeof nonce);
    memcpy(tag, bytes.ptr + bytes.len - TAG_BYTES, sizeof tag);
    bool ok = c != NULL && EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, enc_key, nonce) == 1 &&
              EVP_DecryptUpdate(c, NULL, &len, (const unsigned char *)context.ptr,
                                (int)context.len) == 1 &&
              EVP_DecryptUpdate(c, out, &len, (const unsigned char *)bytes.ptr + NONCE_BYTES,
                                (int)text) == 1 &&
              EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) == 1 &&
              EVP_DecryptFinal_ex(c, out + len, &len) == 1;
    EVP_CIPHER_CTX_free(c);
    *plain = ok ? (slice){ (const char *)out, text } : (slice){ 0 };
    return ok;
}

bool unseal(slice *plain, slice sealed, slice context, struct arena *arena)
{
    struct buf b;
    *plain = (slice){ 0 };
    if (!ready || !slice_starts(sealed, SLICE(PREFIX)))
        return false;
    buf_init(&b, SEALED_MAX);
    bool ok = base64_decode(&b, slice_from(sealed, sizeof PREFIX - 1)) == OK && !b.overflow &&
              open_bytes(plain, buf_slice(&b), context, arena);
    buf_fini(&b);
    return ok;
}

bool seal_again(struct buf *out, slice sealed, slice was, slice is, struct arena *tmp)
{
    slice plain;
    bool known = unseal(&plain, sealed, was, tmp);
    if (known)
        buf_add(out, seal(plain, is, tmp));
    return known;
}

struct mark {
    struct arena *arena;
    slice text; /* empty: none */
};

static void mark_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct mark *m = arg;
    if (result == STORE_OK && store_row_count(b, 0) > 0)
        m->text = slice_dup(m->arena, store_text(b, 0, 0, 0));
}

static enum err obtain(struct store *store, const struct mark *m, const char *path, struct why *why)
{
    unsigned char key[SEAL_KEY_BYTES];
    slice plain, context = SLICE("mark");
    enum err e = secret_file_read(path, key, sizeof key, why);
    if (e == E_NOTFOUND && m->text.len == 0) {
        e = secret_file_obtain(path, key, sizeof key, why);
        is_new = e == OK;
    }
    if (e != OK) {
        alarm_raise(&seal_alarm, slice_of(why->text));
        return OK;
    }
    seal_use(key);
    OPENSSL_cleanse(key, sizeof key);
    if (m->text.len == 0) {
        struct store_batch *b = store_write(store, 0);
        STORE_ADD(b, &seal_stmt_put, 1, SV_T(seal(context, context, m->arena)));
        enum store_result result = store_run(b, NULL, NULL);
        why_set(why, "the database cannot be written: %s", store_result_name(result));
        return result == STORE_OK ? OK : E_DOWN;
    }
    if (unseal(&plain, m->text, context, m->arena))
        return OK;
    ready = false;
    why_set(why, "%s: is the key of another database", path);
    alarm_raise(&seal_alarm, slice_of(why->text));
    return OK;
}

enum err seal_load(struct store *store, const char *data, struct why *why)
{
    struct arena *arena = arena_create(0);
    struct mark m = { .arena = arena };
    struct store_batch *b = store_read(store, 0);
    store_add(b, &seal_stmt_mark, STORE_ANY_ROWS, NULL, 0);
    enum store_result result = store_run(b, mark_read, &m);
    enum err e = E_DOWN;
    if (result == STORE_OK)
        e = obtain(store, &m, arena_printf(arena, "%s/secrets.key", data), why);
    else
        why_set(why, "the database cannot be read: %s", store_result_name(result));
    arena_destroy(&arena);
    return e;
}
