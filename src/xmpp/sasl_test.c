#include "base/base64.h"
#include "base/buf.h"
#include "base/rand.h"
#include "xmpp/sasl.h"
#include "xmpp/scram_private.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* needs the three above */
#include <stdio.h>

#define DOMAIN "example.com"

static struct sasl_binding no_binding;

static struct sasl *start(enum sasl_mech mech, const struct sasl_binding *binding,
                          const char *nonce)
{
    return sasl_create(mech, binding, SLICE(DOMAIN), slice_of(nonce));
}

static enum sasl_step feed(struct sasl *s, const char *text)
{
    return sasl_feed(s, slice_of(text));
}

static void keys_of(struct scram_keys *keys, enum scram_hash h, const char *password,
                    const char *salt_base64, uint32_t iterations)
{
    struct buf salt;
    buf_init(&salt, 64);
    assert_int_equal(base64_decode(&salt, slice_of(salt_base64)), OK);
    scram_derive(keys, h, slice_of(password), buf_slice(&salt), iterations);
    buf_fini(&salt);
}

struct vector {
    enum sasl_mech mech;
    const char *first, *nonce, *salt, *challenge, *final, *success;
};

/* RFC 5802 §5, RFC 7677 §3, and the same exchange as the latter with SHA-512 */
static const struct vector vectors[] = {
    { SASL_SCRAM_SHA_1, "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j",
      "QSXCR+Q6sek8bf92", "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
      "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
      "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=" },
    { SASL_SCRAM_SHA_256, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
      "W22ZaJ0SNY7soEsUEjb6gQ==",
      "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
      "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
      "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
      "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" },
    { SASL_SCRAM_SHA_512, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
      "W22ZaJ0SNY7soEsUEjb6gQ==",
      "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
      "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
      "p=gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==",
      "v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+"
      "5ZxXnJq199RVG2rR7N7Zw==" },
};

static void keeps_to_the_rfcs_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        const struct vector *v = &vectors[i];
        struct scram_keys keys;
        keys_of(&keys, sasl_mech_hash(v->mech), "pencil", v->salt, 4096);
        struct sasl *s = start(v->mech, &no_binding, v->nonce);
        assert_int_equal(feed(s, v->first), SASL_NEED_KEYS);
        assert_true(slice_is(sasl_user(s), "user"));
        assert_int_equal(sasl_keys(s, &keys), SASL_SEND);
        assert_true(slice_is(sasl_out(s), v->challenge));
        assert_int_equal(feed(s, v->final), SASL_SUCCESS);
        assert_true(slice_is(sasl_out(s), v->success));
        assert_int_equal(feed(s, v->final), SASL_FAIL); /* it is over */
        sasl_destroy(&s);
        assert_null(s);
    }
}

/* Each vector once more with one thing changed: the last message is refused. */
static void refuses_what_was_tampered_with(void **state)
{
    (void)state;
    const struct vector *v = &vectors[1];
    static const struct {
        const char *from, *to;
    } changes[] = {
        { "p=dHz", "p=dHy" },       /* another proof */
        { "ndVQ=", "ndVR=" },       /* not base64: bits behind the end */
        { "p=dHzb", "p=" },         /* a proof that is too short */
        { "c=biws", "c=eSws" },     /* "y,," */
        { "c=biws", "c=biwsbiws" }, /* more than was said */
        { "Ilj)h", "Ilj)i" },       /* another nonce */
        { "$k0,p", "$k,p" },        /* a shorter one */
        { "$k0,p", "$k00,p" },      /* a longer one */
        { ",p=", ",x=1,p=" },       /* an extension that the proof does not cover */
    };
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        char text[512];
        const char *at = strstr(v->final, changes[i].from);
        assert_non_null(at);
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - v->final), v->final, changes[i].to,
                 at + strlen(changes[i].from));
        struct scram_keys keys;
        keys_of(&keys, SCRAM_SHA_256, "pencil", v->salt, 4096);
        struct sasl *s = start(v->mech, &no_binding, v->nonce);
        assert_int_equal(feed(s, v->first), SASL_NEED_KEYS);
        assert_int_equal(sasl_keys(s, &keys), SASL_SEND);
        assert_int_equal(feed(s, text), SASL_FAIL);
        assert_int_equal(sasl_why(s), SASL_NOT_AUTHORIZED);
        assert_int_equal(sasl_out(s).len, 0);
        sasl_destroy(&s);
    }
}

static void refuses_malformed_last_messages(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "c=biws",
        "c=biws,r=abc",
        "c=biws,p=AAAA,r=abc",
        "r=abc,c=biws,p=AAAA",
        "c=biws,r=abc,p=AAAA,x=1",
        "c=biws,r=abc,p=AAAA,",
        "c=biws,r=abc,,x",
        "m=1,c=biws,r=abc,p=AAAA",
        "",
        ",",
        "\xff",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct scram_keys keys = { .salt_len = 16, .iterations = 4096 };
        struct sasl *s = start(SASL_SCRAM_SHA_1, &no_binding, "def");
        assert_int_equal(feed(s, "n,,n=user,r=abc"), SASL_NEED_KEYS);
        assert_int_equal(sasl_keys(s, &keys), SASL_SEND);
        assert_int_equal(feed(s, bad[i]), SASL_FAIL);
        assert_int_equal(sasl_why(s), SASL_MALFORMED_REQUEST);
        sasl_destroy(&s);
    }
}

static struct sasl_binding both_bindings(void)
{
    struct sasl_binding b = { .exporter_len = 32, .end_point_len = 32, .plus_offered = true };
    memset(b.exporter, 0xe1, 32);
    memset(b.end_point, 0xe2, 32);
    return b;
}

static void takes_first_messages_by_the_rules(void **state)
{
    (void)state;
    enum { GO = -1 };
    struct sasl_binding plus = both_bindings(), end_point_only = plus;
    end_point_only.exporter_len = 0;
    const struct {
        enum sasl_mech mech;
        const struct sasl_binding *binding;
        const char *text;
        int why; /* GO: accepted */
    } rows[] = {
        { SASL_SCRAM_SHA_1, &no_binding, "n,,n=user,r=abc", GO },
        { SASL_SCRAM_SHA_1, &no_binding, "y,,n=user,r=abc", GO },
        { SASL_SCRAM_SHA_1, &plus, "n,,n=user,r=abc", GO },
        { SASL_SCRAM_SHA_1, &plus, "y,,n=user,r=abc", SASL_NOT_AUTHORIZED }, /* downgrade */
        { SASL_SCRAM_SHA_1, &plus, "p=tls-exporter,,n=user,r=abc", SASL_MALFORMED_REQUEST },
        { SASL_SCRAM_SHA_1_PLUS, &plus, "p=tls-exporter,,n=user,r=abc", GO },
        { SASL_SCRAM_SHA_1_PLUS, &plus, "p=tls-server-end-point,,n=user,r=abc", GO },
        { SASL_SCRAM_SHA_1_PLUS, &end_point_only, "p=tls-exporter,,n=u,r=a", SASL_NOT_AUTHORIZED },
        { SASL_SCRAM_SHA_1_PLUS, &plus, "p=tls-unique,,n=user,r=abc", SASL_NOT_AUTHORIZED },
        { SASL_SCRAM_SHA_1_PLUS, &plus, "p=,,n=user,r=abc", SASL_NOT_AUTHORIZED },
        { SASL_SCRAM_SHA_1_PLUS, &plus, "n,,n=user,r=abc", SASL_MALFORMED_REQUEST },
        { SASL_SCRAM_SHA_1_PLUS, &plus, "y,,n=user,r=abc", SASL_MALFORMED_REQUEST },
        { SASL_SCRAM_SHA_1, &no_binding, "n,a=user@" DOMAIN ",n=user,r=abc", GO },
        { SASL_SCRAM_SHA_1, &no_binding, "n,a=USER@" DOMAIN ",n=User,r=abc", GO },
        { SASL_SCRAM_SHA_1, &no_binding, "n,a=bob@" DOMAIN ",n=user,r=abc", SASL_INVALID_AUTHZID },
        { SASL_SCRAM_SHA_1, &no_binding, "n,a=user@a.b,n=user,r=abc", SASL_INVALID_AUTHZID },
        { SASL_SCRAM_SHA_1, &no_binding, "n,a=user@" DOMAIN "/r,n=user,r=a", SASL_INVALID_AUTHZID },
        { SASL_SCRAM_SHA_1, &no_binding, "n,a=user,n=user,r=abc", SASL_INVALID_AUTHZID },
        { SASL_SCRAM_SHA_1, &no_binding, "n,a=,n=user,r=abc", SASL_MALFORMED_REQUEST },
        { SASL_SCRAM_SHA_1, &no_binding, "n,,n=user,r=abc,x=1", GO },
        { SASL_SCRAM_SHA_1, &no_binding, "n,,m=1,n=user,r=abc", SASL_MALFORMED_REQUEST },
        { SASL_SCRAM_SHA_1, &no_binding, "n,,n=user", SASL_MALFORMED_REQUEST },
        { SASL_SCRAM_SHA_1, &no_binding, "n,,n=user,r=", SASL_MALFORMED_REQUEST },
        { SASL_SCRAM_SHA_1, &no_binding, "n,,n=user,r=a b", SASL_MALFORMED_REQUEST },
        { SASL_SCRAM_SHA_1, &no_binding, "n,,n=,r=abc", SASL_MALFORMED_REQUEST },
        { SASL_SCRAM_SHA_1, &no_binding, "n,,r=abc,n=user", SASL_MALFORMED_REQUEST },
        { SASL_SCRAM_SHA_1, &no_binding, "n,,n=a=b,r=abc", SASL_MALFORMED_REQUEST },
        { SASL_SCRAM_SHA_1, &no_binding, "n,,n=a=2,r=abc", SASL_MALFORMED_REQUEST },
        { SASL_SCRAM_SHA_1, &no_binding, "n,,n=a=2c,r=abc", SASL_MALFORMED_REQUEST },
        { SASL_SCRAM_SHA_1, &no_binding, "n,,n=a b,r=abc", SASL_NOT_AUTHORIZED },
        { SASL_SCRAM_SHA_1, &no_binding, "x,,n=user,r=abc", SASL_MALFORMED_REQUEST },
        { SASL_SCRAM_SHA_1, &no_binding, ",,n=user,r=abc", SASL_MALFORMED_REQUEST },
        { SASL_SCRAM_SHA_1, &no_binding, "n,n=user,r=abc", SASL_MALFORMED_REQUEST },
        { SASL_SCRAM_SHA_1, &no_binding, "n,", SASL_MALFORMED_REQUEST },
        { SASL_SCRAM_SHA_1, &no_binding, "n", SASL_MALFORMED_REQUEST },
        { SASL_SCRAM_SHA_1, &no_binding, "", SASL_MALFORMED_REQUEST },
        { SASL_SCRAM_SHA_1, &no_binding, "n,,n=\xc3,r=abc", SASL_MALFORMED_REQUEST },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sasl *s = start(rows[i].mech, rows[i].binding, "def");
        enum sasl_step step = feed(s, rows[i].text);
        if (step != (rows[i].why == GO ? SASL_NEED_KEYS : SASL_FAIL) ||
            (step == SASL_FAIL && (int)sasl_why(s) != rows[i].why))
            fail_msg("%s: step %d, %s", rows[i].text, step, sasl_failure_name(sasl_why(s)));
        sasl_destroy(&s);
    }
}

static void notes_who_failed_with_a_binding(void **state)
{
    (void)state;
    struct sasl_binding plus = both_bindings();
    const struct {
        enum sasl_mech mech;
        const char *text, *user, *note;
    } rows[] = {
        { SASL_SCRAM_SHA_1, "y,,n=User,r=abc", "user", "offered no channel binding" },
        { SASL_SCRAM_SHA_1, "y,a=u@h,n=user,r=abc", "user", "offered no channel binding" },
        { SASL_SCRAM_SHA_1_PLUS, "p=tls-unique,,n=user,r=abc", "user", "does not have" },
        { SASL_SCRAM_SHA_1_PLUS, "p=tls-unique,,m=1,n=user", "", "does not have" },
        { SASL_SCRAM_SHA_1_PLUS, "p=tls-unique,,n=a b,r=abc", "", "does not have" },
        { SASL_SCRAM_SHA_1_PLUS, "p=tls-unique,x", "", "does not have" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sasl *s = start(rows[i].mech, &plus, "def");
        assert_int_equal(feed(s, rows[i].text), SASL_FAIL);
        assert_int_equal(sasl_why(s), SASL_NOT_AUTHORIZED);
        assert_true(slice_is(sasl_user(s), rows[i].user));
        assert_non_null(strstr(sasl_note(s), rows[i].note));
        sasl_destroy(&s);
    }
}

static void decodes_user_names(void **state)
{
    (void)state;
    struct sasl *s = start(SASL_SCRAM_SHA_256, &no_binding, "def");
    assert_int_equal(feed(s, "n,,n=A=2Cb=3Dc,r=abc"), SASL_NEED_KEYS);
    assert_true(slice_is(sasl_user(s), "a,b=c"));
    sasl_destroy(&s);
}

/* What a client knows when it writes its last message. */
struct client {
    const char *gs2, *first_bare, *nonce;
    slice binding, challenge;
    const struct scram_keys *keys; /* salt and count alone */
};

/* As OpenSSL has it, for passwords and salts of all lengths around the blocks of the hashes. */
static void test_salted_as_another_library(void **state)
{
    static const size_t lens[] = { 0, 1, 19, 20, 63, 64, 65, 127, 128, 129, 300 };
    static const char *const names[] = { "SHA1", "SHA256", "SHA512" };
    char password[300], salt[300];
    (void)state;
    rand_bytes(password, sizeof password);
    rand_bytes(salt, sizeof salt);
    for (unsigned h = 0; h < SCRAM_HASH_COUNT; h++)
        for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++)
            for (size_t k = 1; k < sizeof lens / sizeof lens[0]; k += 2) {
                uint8_t ours[SCRAM_HASH_MAX], theirs[SCRAM_HASH_MAX];
                uint32_t iterations = 1 + (uint32_t)(i * k) % 7;
                int len = (int)scram_hash_len((enum scram_hash)h);
                scram_salted((enum scram_hash)h, (slice){ password, lens[i] },
                             (slice){ salt, lens[k] }, iterations, ours);
                assert_int_equal(PKCS5_PBKDF2_HMAC(password, (int)lens[i], (uint8_t *)salt,
                                                   (int)lens[k], (int)iterations,
                                                   EVP_get_digestbyname(names[h]), len, theirs),
                                 1);
                assert_memory_equal(ours, theirs, len);
            }
}

/* The client's half, written anew over another API of the library. */
static void client_final(char *out, size_t cap, const struct client *cl)
{
    struct buf b;
    buf_init(&b, 2000);
    buf_printf(&b, "%s%.*s", cl->gs2, SLICE_ARG(cl->binding));
    struct buf c;
    buf_init(&c, 2000);
    buf_lit(&c, "c=");
    base64_encode(&c, buf_slice(&b));
    buf_printf(&c, ",r=%s", cl->nonce);
    uint8_t salted[32], client_key[32], stored[32], signature[32];
    PKCS5_PBKDF2_HMAC("pencil", 6, cl->keys->salt, cl->keys->salt_len, (int)cl->keys->iterations,
                      EVP_sha256(), 32, salted);
    HMAC(EVP_sha256(), salted, 32, (const unsigned char *)"Client Key", 10, client_key, NULL);
    EVP_Digest(client_key, 32, stored, NULL, EVP_sha256(), NULL);
    buf_clear(&b);
    buf_printf(&b, "%s,%.*s,%.*s", cl->first_bare, SLICE_ARG(cl->challenge),
               SLICE_ARG(buf_slice(&c)));
    HMAC(EVP_sha256(), stored, 32, (const unsigned char *)b.ptr, b.len, signature, NULL);
    for (int i = 0; i < 32; i++)
        client_key[i] ^= signature[i];
    buf_lit(&c, ",p=");
    base64_encode(&c, (slice){ (const char *)client_key, 32 });
    snprintf(out, cap, "%.*s", SLICE_ARG(buf_slice(&c)));
    buf_fini(&b);
    buf_fini(&c);
}

/* What a client that binds to `said` gets from a server on a channel with `ours`. */
static enum sasl_step bound_login(const char *type, const struct sasl_binding *ours, slice said)
{
    char gs2[64], first[128], last[1024];
    struct scram_keys keys;
    keys_of(&keys, SCRAM_SHA_256, "pencil", "W22ZaJ0SNY7soEsUEjb6gQ==", 4096);
    snprintf(gs2, sizeof gs2, "p=%s,,", type);
    snprintf(first, sizeof first, "%sn=user,r=abc", gs2);
    struct sasl *s = start(SASL_SCRAM_SHA_256_PLUS, ours, "def");
    assert_int_equal(feed(s, first), SASL_NEED_KEYS);
    assert_int_equal(sasl_keys(s, &keys), SASL_SEND);
    struct client client = { gs2, "n=user,r=abc", "abcdef", said, sasl_out(s), &keys };
    client_final(last, sizeof last, &client);
    enum sasl_step step = feed(s, last);
    sasl_destroy(&s);
    return step;
}

static void binds_to_the_channel(void **state)
{
    (void)state;
    struct sasl_binding ours = both_bindings();
    slice exporter = { (const char *)ours.exporter, 32 };
    slice end_point = { (const char *)ours.end_point, 32 };
    assert_int_equal(bound_login("tls-exporter", &ours, exporter), SASL_SUCCESS);
    assert_int_equal(bound_login("tls-server-end-point", &ours, end_point), SASL_SUCCESS);
    /* somebody in between has two channels with other data */
    assert_int_equal(bound_login("tls-exporter", &ours, end_point), SASL_FAIL);
    assert_int_equal(bound_login("tls-server-end-point", &ours, exporter), SASL_FAIL);
    assert_int_equal(bound_login("tls-exporter", &ours, (slice){ "", 0 }), SASL_FAIL);
}

static void asks_for_a_missing_first_message(void **state)
{
    (void)state;
    struct sasl *s = start(SASL_SCRAM_SHA_1, &no_binding, "def");
    assert_int_equal(sasl_feed_none(s), SASL_SEND);
    assert_int_equal(sasl_out(s).len, 0);
    assert_int_equal(feed(s, "n,,n=user,r=abc"), SASL_NEED_KEYS);
    sasl_destroy(&s);
}

static void refuses_messages_out_of_turn(void **state)
{
    (void)state;
    struct scram_keys keys = { .salt_len = 16, .iterations = 4096 };
    struct sasl *s = start(SASL_SCRAM_SHA_1, &no_binding, "def");
    assert_int_equal(feed(s, "n,,n=user,r=abc"), SASL_NEED_KEYS);
    assert_int_equal(feed(s, "n,,n=user,r=abc"), SASL_FAIL);
    assert_int_equal(sasl_keys(s, &keys), SASL_FAIL); /* the answer to the look-up comes late */
    assert_int_equal(sasl_verdict(s, SASL_NOT_AUTHORIZED, true), SASL_FAIL);
    sasl_destroy(&s);
    s = start(SASL_SCRAM_SHA_1, &no_binding, "def");
    assert_int_equal(sasl_feed_none(s), SASL_SEND);
    assert_int_equal(feed(s, "n,,n=user,r=abc"), SASL_NEED_KEYS);
    assert_int_equal(sasl_verdict(s, SASL_TEMPORARY_AUTH_FAILURE, false), SASL_FAIL);
    assert_int_equal(sasl_why(s), SASL_TEMPORARY_AUTH_FAILURE);
    sasl_destroy(&s);
}

static enum sasl_step plain(struct sasl **s, slice message)
{
    *s = start(SASL_PLAIN, &no_binding, "");
    return sasl_feed(*s, message);
}

static void takes_plain(void **state)
{
    (void)state;
    struct sasl *s;
    assert_int_equal(plain(&s, SLICE("\0User\0pass word")), SASL_CHECK_PASSWORD);
    assert_true(slice_is(sasl_user(s), "user"));
    assert_true(slice_is(sasl_password(s), "pass word"));
    assert_int_equal(sasl_verdict(s, SASL_NOT_AUTHORIZED, true), SASL_SUCCESS);
    assert_int_equal(sasl_out(s).len, 0);
    assert_int_equal(sasl_password(s).len, 0); /* gone */
    sasl_destroy(&s);

    assert_int_equal(plain(&s, SLICE("user@" DOMAIN "\0user\0e\xcc\x81")), SASL_CHECK_PASSWORD);
    assert_true(slice_is(sasl_password(s), "é"));
    assert_true(slice_is(sasl_authzid(s), "user@" DOMAIN));
    assert_int_equal(sasl_verdict(s, SASL_ACCOUNT_DISABLED, false), SASL_FAIL);
    assert_int_equal(sasl_why(s), SASL_ACCOUNT_DISABLED);
    assert_int_equal(sasl_password(s).len, 0);
    sasl_destroy(&s);
}

static void refuses_bad_plain(void **state)
{
    (void)state;
    const struct {
        slice text;
        enum sasl_failure why;
    } rows[] = {
        { SLICE(""), SASL_MALFORMED_REQUEST },
        { SLICE("user"), SASL_MALFORMED_REQUEST },
        { SLICE("\0user"), SASL_MALFORMED_REQUEST },
        { SLICE("\0user\0"), SASL_MALFORMED_REQUEST },
        { SLICE("\0\0pass"), SASL_MALFORMED_REQUEST },
        { SLICE("\0user\0pass\0x"), SASL_MALFORMED_REQUEST },
        { SLICE("\0user\0\xff"), SASL_MALFORMED_REQUEST },
        { SLICE("\0a@b\0pass"), SASL_NOT_AUTHORIZED },
        { SLICE("\0user\0a\tb"), SASL_NOT_AUTHORIZED },
        { SLICE("bob@" DOMAIN "\0user\0pass"), SASL_INVALID_AUTHZID },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sasl *s;
        assert_int_equal(plain(&s, rows[i].text), SASL_FAIL);
        assert_int_equal(sasl_why(s), rows[i].why);
        sasl_destroy(&s);
    }
}

static void limits_messages(void **state)
{
    (void)state;
    static char text[8192];
    memset(text, 'a', sizeof text);
    memcpy(text, "n,,n=user,r=", 12);
    struct sasl *s = start(SASL_SCRAM_SHA_1, &no_binding, "def");
    assert_int_equal(sasl_feed(s, (slice){ text, 12 + 256 }), SASL_NEED_KEYS);
    sasl_destroy(&s);
    s = start(SASL_SCRAM_SHA_1, &no_binding, "def");
    assert_int_equal(sasl_feed(s, (slice){ text, 12 + 257 }), SASL_FAIL);
    sasl_destroy(&s);
    memcpy(text, "n,,n=user,r=a,x=", 16);
    s = start(SASL_SCRAM_SHA_1, &no_binding, "def");
    assert_int_equal(sasl_feed(s, (slice){ text, 4096 }), SASL_NEED_KEYS);
    sasl_destroy(&s);
    s = start(SASL_SCRAM_SHA_1, &no_binding, "def");
    assert_int_equal(sasl_feed(s, (slice){ text, 4097 }), SASL_FAIL);
    sasl_destroy(&s);
}

static void verifies_and_fakes_keys(void **state)
{
    (void)state;
    for (enum scram_hash h = 0; h < SCRAM_HASH_COUNT; h++) {
        struct scram_keys a, b, fake, again, other;
        scram_derive(&a, h, SLICE("pencil"), SLICE("0123456789abcdef"), 4096);
        scram_derive(&b, h, SLICE("pencil"), SLICE("0123456789abcdeX"), 4096);
        assert_memory_not_equal(a.stored_key, b.stored_key, scram_hash_len(h));
        assert_true(scram_verify(&a, h, SLICE("pencil")));
        assert_false(scram_verify(&a, h, SLICE("pencil1")));

        const slice secret = SLICE("0123456789abcdef0123456789abcdef");
        scram_fake_keys(&fake, h, SLICE("nobody@x"), secret, 4096);
        scram_fake_keys(&again, h, SLICE("nobody@x"), secret, 4096);
        scram_fake_keys(&other, h, SLICE("nobody@y"), secret, 4096);
        assert_memory_equal(&fake, &again, sizeof fake);
        assert_memory_not_equal(fake.salt, other.salt, SCRAM_SALT_LEN);
        assert_int_equal(fake.salt_len, SCRAM_SALT_LEN);
        assert_int_equal(fake.iterations, 4096);
        assert_false(scram_verify(&fake, h, SLICE("pencil")));
        scram_fake_keys(&other, h, SLICE("nobody@x"), SLICE("another secret"), 4096);
        assert_memory_not_equal(fake.salt, other.salt, SCRAM_SALT_LEN);
    }
}

static struct sasl *external_of(const char *const *jids, size_t count)
{
    slice all[4];
    struct sasl *s = sasl_create(SASL_EXTERNAL, NULL, SLICE("a.test"), SLICE("nonce"));
    for (size_t i = 0; i < count; i++)
        all[i] = slice_of(jids[i]);
    sasl_prove(s, all, count);
    return s;
}

/* XEP-0178 §2 */
static void proves_by_certificate(void **state)
{
    static const char *const jids[] = { "ann@a.test", "bob@a.test" };
    static const struct {
        size_t count;
        const char *authzid;
        enum sasl_step step;
        enum sasl_failure why;
        const char *user;
    } cases[] = {
        { 1, "", SASL_NEED_ACCOUNT, 0, "ann" },
        { 1, "ann@a.test", SASL_NEED_ACCOUNT, 0, "ann" },
        { 1, "ANN@A.test", SASL_NEED_ACCOUNT, 0, "ann" },
        { 1, "bob@a.test", SASL_FAIL, SASL_INVALID_AUTHZID, "" },
        { 1, "ann@a.test/r", SASL_FAIL, SASL_INVALID_AUTHZID, "" },
        { 1, "@", SASL_FAIL, SASL_INVALID_AUTHZID, "" },
        { 1, "\xff", SASL_FAIL, SASL_MALFORMED_REQUEST, "" },
        { 2, "", SASL_FAIL, SASL_INVALID_AUTHZID, "" },
        { 2, "bob@a.test", SASL_NEED_ACCOUNT, 0, "bob" },
        { 0, "", SASL_FAIL, SASL_NOT_AUTHORIZED, "" },
        { 0, "ann@a.test", SASL_FAIL, SASL_NOT_AUTHORIZED, "" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sasl *s = external_of(jids, cases[i].count);
        assert_int_equal(sasl_feed(s, slice_of(cases[i].authzid)), cases[i].step);
        if (cases[i].step == SASL_FAIL)
            assert_int_equal(sasl_why(s), cases[i].why);
        else
            assert_true(slice_is(sasl_user(s), cases[i].user));
        if (cases[i].step == SASL_NEED_ACCOUNT)
            assert_int_equal(sasl_verdict(s, SASL_NOT_AUTHORIZED, i % 2 == 0),
                             i % 2 == 0 ? SASL_SUCCESS : SASL_FAIL);
        sasl_destroy(&s);
    }
}

static void names_mechanisms(void **state)
{
    (void)state;
    for (enum sasl_mech m = 0; m < SASL_MECH_COUNT; m++) {
        enum sasl_mech found = SASL_MECH_COUNT;
        assert_int_equal(sasl_mech_find(slice_of(sasl_mech_name(m)), &found), OK);
        assert_int_equal(found, m);
        slice name = slice_of(sasl_mech_name(m));
        bool plus = name.len > 5 && memcmp(name.ptr + name.len - 5, "-PLUS", 5) == 0;
        assert_int_equal(sasl_mech_is_plus(m), plus);
    }
    enum sasl_mech found;
    assert_int_equal(sasl_mech_find(SLICE("plain"), &found), E_NOTFOUND);
    assert_int_equal(sasl_mech_hash(SASL_SCRAM_SHA_512_PLUS), SCRAM_SHA_512);
    assert_int_equal(scram_hash_len(SCRAM_SHA_1), 20);
    assert_string_equal(sasl_failure_name(SASL_TEMPORARY_AUTH_FAILURE), "temporary-auth-failure");
}

/* XEP-0474 §5.3, with its made-up channel binding */
static void says_what_was_offered(void **state)
{
    static const char cb[] = "THIS IS FAKE CB DATA";
    struct sasl_binding b = { .exporter_len = sizeof cb - 1,
                              .end_point_len = 32,
                              .plus_offered = true };
    struct scram_keys keys;
    struct buf list;
    (void)state;
    memcpy(b.exporter, cb, sizeof cb - 1);
    buf_init(&list, 1024);
    sasl_offered(&list, 1u << SASL_SCRAM_SHA_1_PLUS | 1u << SASL_SCRAM_SHA_1, &b);
    assert_true(
        slice_is(buf_slice(&list),
                 "SCRAM-SHA-1\x1eSCRAM-SHA-1-PLUS\x1ftls-exporter\x1etls-server-end-point"));
    keys_of(&keys, SCRAM_SHA_1, "pencil", "QSXCR+Q6sek8bf92", 4096);
    struct sasl *s = start(SASL_SCRAM_SHA_1_PLUS, &b, "a09117a6-ac50-4f2f-93f1-93799c2bddf6");
    sasl_protect(s, buf_slice(&list));
    assert_int_equal(feed(s, "p=tls-exporter,,n=user,r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6"),
                     SASL_NEED_KEYS);
    assert_int_equal(sasl_keys(s, &keys), SASL_SEND);
    assert_true(slice_is(sasl_out(s),
                         "r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6"
                         "a09117a6-ac50-4f2f-93f1-93799c2bddf6,s=QSXCR+Q6sek8bf92,i=4096,"
                         "h=G6k/rBLDqgOhRRaCuuatSDFkJ08="));
    assert_int_equal(feed(s, "c=cD10bHMtZXhwb3J0ZXIsLFRISVMgSVMgRkFLRSBDQiBEQVRB,"
                             "r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6"
                             "a09117a6-ac50-4f2f-93f1-93799c2bddf6,"
                             "x=19C6532F-1CF4-4A27-A18D-DC9CEA41BBB3,"
                             "p=M/SIDjT+dfcxUh89jZEypRvFxB4="),
                     SASL_SUCCESS);
    assert_true(slice_is(sasl_out(s), "v=MQrMPvv7yv4x4Cq4W4Ih25EqS2c="));
    sasl_destroy(&s);
    buf_clear(&list);
    sasl_offered(&list, 1u << SASL_PLAIN, &no_binding);
    assert_true(slice_is(buf_slice(&list), "PLAIN"));
    buf_fini(&list);
}

static void salted_passwords_are_keys(void **state)
{
    struct scram_keys derived, made;
    uint8_t salted[32];
    (void)state;
    keys_of(&derived, SCRAM_SHA_256, "pencil", "W22ZaJ0SNY7soEsUEjb6gQ==", 4096);
    slice salt = { (const char *)derived.salt, derived.salt_len };
    PKCS5_PBKDF2_HMAC("pencil", 6, derived.salt, derived.salt_len, 4096, EVP_sha256(), 32, salted);
    scram_from_salted(&made, SCRAM_SHA_256, (slice){ (const char *)salted, 32 }, salt, 4096);
    assert_memory_equal(&made, &derived, sizeof made);
}

/* Hashed tokens: computed here by other means. */

static void token_message(struct buf *out, const char *token, const char *role, slice binding)
{
    uint8_t mac[32];
    unsigned len;
    struct buf text;
    buf_init(&text, 256);
    buf_add(&text, slice_of(role));
    buf_add(&text, binding);
    HMAC(EVP_sha256(), token, (int)strlen(token), (const unsigned char *)text.ptr, text.len, mac,
         &len);
    buf_append(out, mac, len);
    buf_fini(&text);
}

static struct sasl *token_start(enum sasl_mech mech, const struct sasl_binding *b, slice binding)
{
    struct sasl *s = start(mech, b, "n");
    struct buf message;
    buf_init(&message, 256);
    buf_append(&message, "user", 5);
    token_message(&message, "secret-token", "Initiator", binding);
    assert_int_equal(sasl_feed(s, buf_slice(&message)), SASL_NEED_TOKENS);
    assert_true(slice_is(sasl_user(s), "user"));
    buf_fini(&message);
    return s;
}

static const struct sasl_binding bindings = { .exporter = "exporter",
                                              .exporter_len = 8,
                                              .end_point = "end point",
                                              .end_point_len = 9,
                                              .unique = "unique",
                                              .unique_len = 6 };

static void takes_tokens(void **state)
{
    static const struct {
        enum sasl_mech mech;
        const char *binding;
    } table[] = { { SASL_HT_SHA_256_NONE, "" },
                  { SASL_HT_SHA_256_EXPR, "exporter" },
                  { SASL_HT_SHA_256_ENDP, "end point" },
                  { SASL_HT_SHA_256_UNIQ, "unique" } };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct sasl_token tokens[] = { { table[i].mech, SLICE_INIT("another"), false },
                                       { table[i].mech, SLICE_INIT("secret-token"), false } };
        struct buf wanted;
        struct sasl *s = token_start(table[i].mech, &bindings, slice_of(table[i].binding));
        assert_int_equal(sasl_tokens(s, tokens, 2), SASL_SUCCESS);
        assert_int_equal(sasl_token_used(s), 1);
        buf_init(&wanted, 64);
        token_message(&wanted, "secret-token", "Responder", slice_of(table[i].binding));
        assert_true(slice_eq(sasl_out(s), buf_slice(&wanted)));
        buf_fini(&wanted);
        assert_int_equal(sasl_tokens(s, tokens, 2), SASL_FAIL); /* it is over */
        sasl_destroy(&s);
    }
}

static void refuses_tokens(void **state)
{
    struct sasl_token token = { SASL_HT_SHA_256_NONE, SLICE_INIT("secret-token"), false };
    struct sasl *s = token_start(SASL_HT_SHA_256_NONE, &bindings, SLICE(""));
    (void)state;
    token.expired = true;
    assert_int_equal(sasl_tokens(s, &token, 1), SASL_FAIL);
    assert_int_equal(sasl_why(s), SASL_CREDENTIALS_EXPIRED);
    sasl_destroy(&s);
    s = token_start(SASL_HT_SHA_256_NONE, &bindings, SLICE(""));
    token = (struct sasl_token){ SASL_HT_SHA_256_EXPR, SLICE_INIT("secret-token"), false };
    assert_int_equal(sasl_tokens(s, &token, 1), SASL_FAIL); /* XEP-0484 §4.4: its mechanism */
    assert_int_equal(sasl_why(s), SASL_NOT_AUTHORIZED);
    sasl_destroy(&s);
    s = token_start(SASL_HT_SHA_256_EXPR, &bindings, SLICE("another channel"));
    assert_int_equal(sasl_tokens(s, &token, 1), SASL_FAIL);
    sasl_destroy(&s);
    s = token_start(SASL_HT_SHA_256_NONE, &bindings, SLICE(""));
    assert_int_equal(sasl_tokens(s, NULL, 0), SASL_FAIL);
    assert_int_equal(sasl_why(s), SASL_NOT_AUTHORIZED);
    sasl_destroy(&s);
    s = start(SASL_HT_SHA_256_NONE, &bindings, "n");
    assert_int_equal(feed(s, "no NUL"), SASL_FAIL);
    assert_int_equal(sasl_why(s), SASL_MALFORMED_REQUEST);
    sasl_destroy(&s);
    assert_false(sasl_token_fits(SASL_HT_SHA_256_EXPR, &no_binding));
    assert_true(sasl_token_fits(SASL_HT_SHA_256_NONE, &no_binding));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_salted_as_another_library),
        cmocka_unit_test(keeps_to_the_rfcs_vectors),
        cmocka_unit_test(refuses_what_was_tampered_with),
        cmocka_unit_test(refuses_malformed_last_messages),
        cmocka_unit_test(takes_first_messages_by_the_rules),
        cmocka_unit_test(notes_who_failed_with_a_binding),
        cmocka_unit_test(decodes_user_names),
        cmocka_unit_test(binds_to_the_channel),
        cmocka_unit_test(asks_for_a_missing_first_message),
        cmocka_unit_test(refuses_messages_out_of_turn),
        cmocka_unit_test(takes_plain),
        cmocka_unit_test(refuses_bad_plain),
        cmocka_unit_test(limits_messages),
        cmocka_unit_test(verifies_and_fakes_keys),
        cmocka_unit_test(proves_by_certificate),
        cmocka_unit_test(names_mechanisms),
        cmocka_unit_test(says_what_was_offered),
        cmocka_unit_test(salted_passwords_are_keys),
        cmocka_unit_test(takes_tokens),
        cmocka_unit_test(refuses_tokens),
    };
    return cmocka_run_group_tests_name("sasl", tests, NULL, NULL);
}
