#include "xmpp/sasl.h"
#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "xmpp/jid.h"
#include "xmpp/scram_private.h"
#include <openssl/crypto.h>

enum {
    MESSAGE_MAX = 4096,         /* bytes of one message, decoded */
    NONCE_MAX = 256,            /* bytes of the client's nonce */
    OUT_MAX = 1024,             /* bytes of one of ours: two nonces, a salt, a count */
    AUTH_MAX = 3 * MESSAGE_MAX, /* bytes of AuthMessage */
    ARENA_BYTES = 1024,
};

static const struct {
    const char *name;
    enum scram_hash hash;
    bool plus;
} mechs[SASL_MECH_COUNT] = {
    [SASL_SCRAM_SHA_512_PLUS] = { "SCRAM-SHA-512-PLUS", SCRAM_SHA_512, true },
    [SASL_SCRAM_SHA_256_PLUS] = { "SCRAM-SHA-256-PLUS", SCRAM_SHA_256, true },
    [SASL_SCRAM_SHA_1_PLUS] = { "SCRAM-SHA-1-PLUS", SCRAM_SHA_1, true },
    [SASL_SCRAM_SHA_512] = { "SCRAM-SHA-512", SCRAM_SHA_512, false },
    [SASL_SCRAM_SHA_256] = { "SCRAM-SHA-256", SCRAM_SHA_256, false },
    [SASL_SCRAM_SHA_1] = { "SCRAM-SHA-1", SCRAM_SHA_1, false },
    [SASL_PLAIN] = { "PLAIN", SCRAM_HASH_COUNT, false },
    [SASL_ANONYMOUS] = { "ANONYMOUS", SCRAM_HASH_COUNT, false },
    [SASL_HT_SHA_256_EXPR] = { "HT-SHA-256-EXPR", SCRAM_SHA_256, false },
    [SASL_HT_SHA_256_ENDP] = { "HT-SHA-256-ENDP", SCRAM_SHA_256, false },
    [SASL_HT_SHA_256_UNIQ] = { "HT-SHA-256-UNIQ", SCRAM_SHA_256, false },
    [SASL_EXTERNAL] = { "EXTERNAL", SCRAM_HASH_COUNT, false },
    [SASL_HT_SHA_256_NONE] = { "HT-SHA-256-NONE", SCRAM_SHA_256, false },
};

/* XEP-0474 §5.1. Names are ASCII, so strcmp() is the collation i;octet. */
void sasl_offered(struct buf *out, uint32_t offered, const struct sasl_binding *binding)
{
    const char *last = "";
    for (;;) {
        const char *next = NULL;
        for (unsigned m = 0; m < SASL_MECH_COUNT; m++)
            if ((offered >> m & 1) != 0 && strcmp(mechs[m].name, last) > 0 &&
                (next == NULL || strcmp(mechs[m].name, next) < 0))
                next = mechs[m].name;
        if (next == NULL)
            break;
        if (last[0] != '\0')
            buf_lit(out, "\x1e");
        buf_add(out, slice_of(next));
        last = next;
    }
    bool exporter = binding->exporter_len > 0, end_point = binding->end_point_len > 0;
    if (exporter || end_point)
        buf_lit(out, "\x1f");
    if (exporter)
        buf_lit(out, "tls-exporter");
    if (exporter && end_point)
        buf_lit(out, "\x1e");
    if (end_point)
        buf_lit(out, "tls-server-end-point");
}

/* WAIT_FIRST -> (look-up of keys) WAIT_KEYS -> WAIT_FINAL -> DONE
 * WAIT_FIRST -> (check of a password, or of an account) WAIT_VERDICT -> DONE
 * WAIT_FIRST -> (look-up of tokens) WAIT_TOKENS -> DONE
 * Every failure leads to DONE, from where nothing leads away. */
enum state { WAIT_FIRST, WAIT_KEYS, WAIT_FINAL, WAIT_VERDICT, WAIT_TOKENS, DONE };

struct sasl {
    enum sasl_mech mech;
    enum state state;
    enum sasl_failure why;
    const char *note;
    struct arena *arena;
    struct sasl_binding binding;
    slice domain, nonce;
    slice user, authzid, password;
    slice gs2_header;   /* "p=tls-exporter,," as sent */
    slice binding_data; /* that `c=` must repeat behind the header */
    slice first_bare;   /* client-first-message-bare */
    slice client_nonce;
    slice offered;  /* hashed into server-first-message (XEP-0474); empty: not said */
    slice proof;    /* of a hashed token */
    unsigned token; /* that fitted */
    slice *proven;  /* by the client's certificate */
    size_t proven_count;
    struct scram_keys keys;
    struct buf out; /* server-first-message while WAIT_FINAL, as AuthMessage needs it */
};

const char *sasl_mech_name(enum sasl_mech m)
{
    ensure((unsigned)m < SASL_MECH_COUNT);
    return mechs[m].name;
}

enum err sasl_mech_find(slice name, enum sasl_mech *out)
{
    for (unsigned m = 0; m < SASL_MECH_COUNT; m++) {
        if (slice_is(name, mechs[m].name)) {
            *out = (enum sasl_mech)m;
            return OK;
        }
    }
    return E_NOTFOUND;
}

bool sasl_mech_is_plus(enum sasl_mech m)
{
    ensure((unsigned)m < SASL_MECH_COUNT);
    return mechs[m].plus;
}

bool sasl_mech_is_token(enum sasl_mech m)
{
    return m >= SASL_HT_SHA_256_EXPR && m <= SASL_HT_SHA_256_NONE;
}

enum scram_hash sasl_mech_hash(enum sasl_mech m)
{
    ensure((unsigned)m < SASL_PLAIN);
    return mechs[m].hash;
}

const char *sasl_failure_name(enum sasl_failure f)
{
    static const char *const names[] = {
        [SASL_ABORTED] = "aborted",
        [SASL_ACCOUNT_DISABLED] = "account-disabled",
        [SASL_CREDENTIALS_EXPIRED] = "credentials-expired",
        [SASL_ENCRYPTION_REQUIRED] = "encryption-required",
        [SASL_INCORRECT_ENCODING] = "incorrect-encoding",
        [SASL_INVALID_AUTHZID] = "invalid-authzid",
        [SASL_INVALID_MECHANISM] = "invalid-mechanism",
        [SASL_MALFORMED_REQUEST] = "malformed-request",
        [SASL_MECHANISM_TOO_WEAK] = "mechanism-too-weak",
        [SASL_NOT_AUTHORIZED] = "not-authorized",
        [SASL_TEMPORARY_AUTH_FAILURE] = "temporary-auth-failure",
    };
    ensure((unsigned)f < sizeof names / sizeof names[0]);
    return names[f];
}

const char *sasl_failure_text(enum sasl_failure f)
{
    static const char *const texts[] = {
        [SASL_ABORTED] = "the client gave up",
        [SASL_ACCOUNT_DISABLED] = "the account is disabled (musterctl user enable)",
        [SASL_CREDENTIALS_EXPIRED] = "the token has expired; the client asks for the password",
        [SASL_ENCRYPTION_REQUIRED] = "the client must use TLS first (c2s.tls-required)",
        [SASL_INCORRECT_ENCODING] = "what the client sent is not base64",
        [SASL_INVALID_AUTHZID] = "the client asked to act as another user",
        [SASL_INVALID_MECHANISM] = "the client chose a mechanism that was not offered",
        [SASL_MALFORMED_REQUEST] = "what the client sent breaks the rules of the mechanism",
        [SASL_MECHANISM_TOO_WEAK] = "the client must choose a stronger mechanism",
        [SASL_NOT_AUTHORIZED] =
            "no such account, a wrong password or token, or other channel binding",
        [SASL_TEMPORARY_AUTH_FAILURE] =
            "too many failed logins lately, or the database does not answer",
    };
    ensure((unsigned)f < sizeof texts / sizeof texts[0]);
    return texts[f];
}

struct sasl *sasl_create(enum sasl_mech mech, const struct sasl_binding *binding, slice domain,
                         slice nonce)
{
    ensure((unsigned)mech < SASL_MECH_COUNT && nonce.len <= NONCE_MAX);
    struct sasl *s = mem_new(struct sasl);
    s->mech = mech;
    s->arena = arena_create(ARENA_BYTES);
    if (binding != NULL)
        s->binding = *binding;
    s->domain = slice_dup(s->arena, domain);
    s->nonce = slice_dup(s->arena, nonce);
    buf_init(&s->out, OUT_MAX);
    return s;
}

static void forget_password(struct sasl *s)
{
    if (s->password.len > 0)
        mem_wipe((char *)(uintptr_t)s->password.ptr, s->password.len);
    s->password = (slice){ 0 };
}

void sasl_destroy(struct sasl **ps)
{
    struct sasl *s = *ps;
    if (s == NULL)
        return;
    forget_password(s);
    arena_destroy(&s->arena);
    buf_fini(&s->out);
    mem_wipe(s, sizeof *s);
    mem_free(ps);
}

static enum sasl_step sasl_fail(struct sasl *s, enum sasl_failure why)
{
    forget_password(s);
    buf_clear(&s->out);
    s->state = DONE;
    s->why = why;
    return SASL_FAIL;
}

static enum sasl_step sasl_malformed(struct sasl *s)
{
    return sasl_fail(s, SASL_MALFORMED_REQUEST);
}

/* The text of an authzid must be the bare JID of the user who logs in: nobody may act for another.
 */
static bool authzid_fits(struct sasl *s, slice text)
{
    struct jid jid;
    if (text.len == 0)
        return true;
    if (jid_parse(&jid, text, s->arena) != OK)
        return false;
    s->authzid = slice_dup(s->arena, jid.full);
    return jid_is_bare(&jid) && slice_eq(jid.local, s->user) && slice_eq(jid.domain, s->domain);
}

/* SASL_SUCCESS stands for "go on". */
static enum sasl_step sasl_take_names(struct sasl *s, slice user, slice authzid)
{
    slice prepared;
    if (jid_prep_local(user, s->arena, &prepared) != OK)
        return sasl_fail(s, SASL_NOT_AUTHORIZED); /* as for any user who does not exist */
    s->user = slice_dup(s->arena, prepared);
    return authzid_fits(s, authzid) ? SASL_SUCCESS : sasl_fail(s, SASL_INVALID_AUTHZID);
}

/* --- PLAIN, RFC 4616 --- */

static enum sasl_step plain_first(struct sasl *s, slice message)
{
    slice authzid, rest, user, password, prepared;
    if (!slice_cut(message, 0, &authzid, &rest) || !slice_cut(rest, 0, &user, &password) ||
        memchr(password.ptr, 0, password.len) != NULL || user.len == 0 || password.len == 0)
        return sasl_malformed(s);
    enum sasl_step step = sasl_take_names(s, user, authzid);
    if (step != SASL_SUCCESS)
        return step;
    if (jid_prep_password_given(password, s->arena, &prepared) != OK)
        return sasl_fail(s, SASL_NOT_AUTHORIZED);
    s->password = prepared.ptr == password.ptr ? slice_dup(s->arena, prepared) : prepared;
    s->state = WAIT_VERDICT;
    return SASL_CHECK_PASSWORD;
}

/* --- SCRAM, RFC 5802 §5 and §7 --- */

/* Takes "x=value" up to the next comma off the front. */
static bool sasl_take_attr(slice *rest, char name, slice *value)
{
    slice attr = *rest, tail = { rest->ptr + rest->len, 0 };
    (void)slice_cut(*rest, ',', &attr, &tail);
    if (attr.len < 2 || attr.ptr[0] != name || attr.ptr[1] != '=')
        return false;
    *value = slice_from(attr, 2);
    *rest = tail;
    return true;
}

/* saslname, §7: '=' only as =2C (a comma) or =3D (itself). */
static bool decode_name(struct sasl *s, slice text, slice *out)
{
    char *name = arena_alloc(s->arena, 1, text.len);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        slice here = slice_from(text, i);
        bool comma = slice_starts(here, SLICE("=2C")), equals = slice_starts(here, SLICE("=3D"));
        if (text.ptr[i] == '=' && !comma && !equals)
            return false;
        name[len++] = comma ? ',' : text.ptr[i];
        i += comma || equals ? 2 : 0;
    }
    *out = (slice){ name, len };
    return len > 0;
}

/* Which binding data goes with "p=name" (RFC 5929 §4, RFC 9266). */
static bool bind_channel(struct sasl *s, slice name)
{
    const struct sasl_binding *b = &s->binding;
    if (slice_is(name, "tls-exporter"))
        s->binding_data = (slice){ (const char *)b->exporter, b->exporter_len };
    else if (slice_is(name, "tls-server-end-point"))
        s->binding_data = (slice){ (const char *)b->end_point, b->end_point_len };
    return s->binding_data.len > 0;
}

void sasl_protect(struct sasl *s, slice offered) { s->offered = slice_dup(s->arena, offered); }

/* gs2-cbind-flag, §6. SASL_SUCCESS stands for "go on". */
static enum sasl_step check_binding_flag(struct sasl *s, slice flag)
{
    if (slice_starts(flag, SLICE("p="))) {
        if (!mechs[s->mech].plus)
            return sasl_malformed(s);
        if (bind_channel(s, slice_from(flag, 2)))
            return SASL_SUCCESS;
        s->note = "the client chose a channel binding that this connection does not have "
                  "(TLS 1.3 has no tls-unique)";
        return sasl_fail(s, SASL_NOT_AUTHORIZED);
    }
    if (mechs[s->mech].plus || !(slice_is(flag, "n") || slice_is(flag, "y")))
        return sasl_malformed(s);
    /* The client believes that we do not support channel binding, though we offered it: an attacker
     * removed it */
    if (flag.ptr[0] == 'y' && s->binding.plus_offered) {
        s->note = "the client says that it was offered no channel binding, but it was: a mistake "
                  "of the client, or somebody removed the offer";
        return sasl_fail(s, SASL_NOT_AUTHORIZED);
    }
    return SASL_SUCCESS;
}

/* Whose attempt it was, for the log, where the flag in front of the names is refused. */
static void note_user(struct sasl *s, slice rest)
{
    slice authzid, name, user, prepared;
    if (slice_cut(rest, ',', &authzid, &rest) && sasl_take_attr(&rest, 'n', &name) &&
        decode_name(s, name, &user) && jid_prep_local(user, s->arena, &prepared) == OK)
        s->user = slice_dup(s->arena, prepared);
}

/* printable = %x21-2B / %x2D-7E */
static bool nonce_ok(slice nonce)
{
    for (size_t i = 0; i < nonce.len; i++)
        if (nonce.ptr[i] < 0x21 || nonce.ptr[i] > 0x7e)
            return false;
    return nonce.len > 0 && nonce.len <= NONCE_MAX;
}

static enum sasl_step scram_first(struct sasl *s, slice message)
{
    slice flag, rest, authzid = { 0 }, user = { 0 }, name;
    message = slice_dup(s->arena, message); /* parts of it are needed at the end */
    if (!slice_cut(message, ',', &flag, &rest) || rest.len == 0)
        return sasl_malformed(s);
    enum sasl_step step = check_binding_flag(s, flag);
    if (step != SASL_SUCCESS) {
        note_user(s, rest);
        return step;
    }
    if (rest.ptr[0] == ',')
        rest = slice_from(rest, 1);
    else if (!sasl_take_attr(&rest, 'a', &name) || !decode_name(s, name, &authzid))
        return sasl_malformed(s);
    s->gs2_header = (slice){ message.ptr, message.len - rest.len };
    s->first_bare = rest;
    /* "m=" in front is a mandatory extension, of which there are none: it is not the "n=" here */
    if (!sasl_take_attr(&rest, 'n', &name) || !decode_name(s, name, &user) ||
        !sasl_take_attr(&rest, 'r', &s->client_nonce) || !nonce_ok(s->client_nonce))
        return sasl_malformed(s);
    step = sasl_take_names(s, user, authzid);
    if (step != SASL_SUCCESS)
        return step;
    s->state = WAIT_KEYS;
    return SASL_NEED_KEYS;
}

enum sasl_step sasl_keys(struct sasl *s, const struct scram_keys *keys)
{
    if (s->state != WAIT_KEYS)
        return sasl_malformed(s); /* the peer spoke out of turn meanwhile */
    s->keys = *keys;
    buf_clear(&s->out);
    buf_printf(&s->out, "r=%.*s%.*s,s=", SLICE_ARG(s->client_nonce), SLICE_ARG(s->nonce));
    base64_encode(&s->out, (slice){ (const char *)keys->salt, keys->salt_len });
    buf_printf(&s->out, ",i=%u", keys->iterations);
    if (s->offered.len > 0) {
        uint8_t hash[SCRAM_HASH_MAX];
        size_t len = scram_digest(mechs[s->mech].hash, s->offered, hash);
        buf_lit(&s->out, ",h=");
        base64_encode(&s->out, (slice){ (const char *)hash, len });
    }
    ensure(!s->out.overflow);
    s->state = WAIT_FINAL;
    return SASL_SEND;
}

/* Base64 of exactly these bytes, a then b. */
static bool encodes(slice text, slice a, slice b)
{
    struct buf got;
    buf_init(&got, MESSAGE_MAX);
    bool same = base64_decode(&got, text) == OK && got.len == a.len + b.len &&
                memcmp(got.ptr, a.ptr, a.len) == 0 &&
                (b.len == 0 || CRYPTO_memcmp(got.ptr + a.len, b.ptr, b.len) == 0);
    buf_fini(&got);
    return same;
}

static bool nonce_is_ours(const struct sasl *s, slice nonce)
{
    return nonce.len == s->client_nonce.len + s->nonce.len &&
           slice_starts(nonce, s->client_nonce) &&
           slice_eq(slice_from(nonce, s->client_nonce.len), s->nonce);
}

/* AuthMessage of §3 with the client's proof of it; leaves "v=signature" in `out`. */
static bool proof_holds(struct sasl *s, slice without_proof, slice proof_text)
{
    uint8_t signature[SCRAM_HASH_MAX];
    struct buf auth, proof;
    buf_init(&auth, AUTH_MAX);
    buf_init(&proof, MESSAGE_MAX);
    buf_printf(&auth, "%.*s,%.*s,%.*s", SLICE_ARG(s->first_bare), SLICE_ARG(buf_slice(&s->out)),
               SLICE_ARG(without_proof));
    ensure(!auth.overflow);
    enum scram_hash hash = mechs[s->mech].hash;
    bool proven = base64_decode(&proof, proof_text) == OK &&
                  scram_prove(&s->keys, hash, buf_slice(&auth), buf_fit(&proof), signature);
    buf_clear(&s->out);
    if (proven) {
        buf_lit(&s->out, "v=");
        base64_encode(&s->out, (slice){ (const char *)signature, scram_hash_len(hash) });
    }
    buf_fini(&auth);
    buf_fini(&proof);
    return proven;
}

static enum sasl_step scram_final(struct sasl *s, slice message)
{
    slice rest = message, binding, nonce, proof, extension, without_proof;
    if (!sasl_take_attr(&rest, 'c', &binding) || !sasl_take_attr(&rest, 'r', &nonce))
        return sasl_malformed(s);
    for (;;) { /* extensions may come before the proof, which is the last attribute */
        without_proof = (slice){ message.ptr, message.len - rest.len };
        if (sasl_take_attr(&rest, 'p', &proof))
            break;
        if (!slice_cut(rest, ',', &extension, &rest))
            return sasl_malformed(s);
    }
    if (proof.ptr + proof.len != message.ptr + message.len)
        return sasl_malformed(s);
    without_proof.len--; /* the comma before the proof */
    if (!encodes(binding, s->gs2_header, s->binding_data) || !nonce_is_ours(s, nonce) ||
        !proof_holds(s, without_proof, proof))
        return sasl_fail(s, SASL_NOT_AUTHORIZED);
    s->state = DONE;
    return SASL_SUCCESS;
}

/* --- hashed tokens, draft-schmaus-kitten-sasl-ht-08 --- */

static slice token_binding(enum sasl_mech m, const struct sasl_binding *b)
{
    switch (m) {
    case SASL_HT_SHA_256_EXPR:
        return (slice){ (const char *)b->exporter, b->exporter_len };
    case SASL_HT_SHA_256_ENDP:
        return (slice){ (const char *)b->end_point, b->end_point_len };
    case SASL_HT_SHA_256_UNIQ:
        return (slice){ (const char *)b->unique, b->unique_len };
    default:
        return (slice){ "", 0 };
    }
}

bool sasl_token_fits(enum sasl_mech m, const struct sasl_binding *binding)
{
    return m == SASL_HT_SHA_256_NONE || token_binding(m, binding).len > 0;
}

/* authcid NUL HMAC(token, "Initiator" || binding data) */
static enum sasl_step token_first(struct sasl *s, slice message)
{
    slice user, proof;
    if (!slice_cut(message, 0, &user, &proof) || user.len == 0 || !utf8_valid(user))
        return sasl_malformed(s);
    if (proof.len != scram_hash_len(mechs[s->mech].hash)) /* of no token that there ever was */
        return sasl_fail(s, SASL_NOT_AUTHORIZED);
    if (!sasl_token_fits(s->mech, &s->binding))
        return sasl_fail(s, SASL_INVALID_MECHANISM);
    enum sasl_step step = sasl_take_names(s, user, (slice){ "", 0 });
    if (step != SASL_SUCCESS)
        return step;
    s->proof = slice_dup(s->arena, proof);
    s->state = WAIT_TOKENS;
    return SASL_NEED_TOKENS;
}

static void token_hash(const struct sasl *s, slice secret, slice role, uint8_t *out)
{
    struct buf text;
    buf_init(&text, OUT_MAX);
    buf_add(&text, role);
    buf_add(&text, token_binding(s->mech, &s->binding));
    scram_hmac(mechs[s->mech].hash, secret, buf_fit(&text), out);
    buf_fini(&text);
}

enum sasl_step sasl_tokens(struct sasl *s, const struct sasl_token *tokens, unsigned count)
{
    static const struct sasl_token none = { .mech = SASL_MECH_COUNT, .secret = SLICE_INIT("none") };
    uint8_t hash[SCRAM_HASH_MAX];
    const struct sasl_token *found = NULL;
    if (s->state != WAIT_TOKENS)
        return sasl_malformed(s);
    for (unsigned i = 0; i == 0 || i < count; i++) { /* the same work where there is none */
        const struct sasl_token *t = count == 0 ? &none : &tokens[i];
        token_hash(s, t->secret, SLICE("Initiator"), hash);
        if (CRYPTO_memcmp(hash, s->proof.ptr, s->proof.len) == 0 && t->mech == s->mech) {
            found = t;
            s->token = i;
        }
    }
    if (found == NULL)
        return sasl_fail(s, SASL_NOT_AUTHORIZED);
    if (found->expired)
        return sasl_fail(s, SASL_CREDENTIALS_EXPIRED);
    token_hash(s, found->secret, SLICE("Responder"), hash);
    buf_clear(&s->out);
    buf_append(&s->out, hash, scram_hash_len(mechs[s->mech].hash));
    s->state = DONE;
    return SASL_SUCCESS;
}

unsigned sasl_token_used(const struct sasl *s) { return s->token; }

/* --- EXTERNAL, RFC 4422 appendix A, XEP-0178 §2 --- */

void sasl_prove(struct sasl *s, const slice *jids, size_t count)
{
    ensure(s->mech == SASL_EXTERNAL && s->state == WAIT_FIRST);
    s->proven = arena_new(s->arena, slice, count + 1);
    for (size_t i = 0; i < count; i++)
        s->proven[i] = slice_dup(s->arena, jids[i]);
    s->proven_count = count;
}

static enum sasl_step external_be(struct sasl *s, slice jid)
{
    s->user = jid_split(jid).local;
    s->state = WAIT_VERDICT;
    return SASL_NEED_ACCOUNT;
}

/* The message is the identity that the client wants, or empty where there is only one. */
static enum sasl_step external_first(struct sasl *s, slice message)
{
    struct jid jid;
    if (message.len > MESSAGE_MAX || !utf8_valid(message))
        return sasl_malformed(s);
    if (s->proven_count == 0)
        return sasl_fail(s, SASL_NOT_AUTHORIZED);
    if (message.len == 0 && s->proven_count > 1) {
        s->note = "the certificate has several addresses, and the client does not say which";
        return sasl_fail(s, SASL_INVALID_AUTHZID);
    }
    if (message.len == 0)
        return external_be(s, s->proven[0]);
    if (jid_parse(&jid, message, s->arena) == OK)
        for (size_t i = 0; i < s->proven_count; i++)
            if (slice_eq(jid.full, s->proven[i])) {
                s->authzid = s->proven[i];
                return external_be(s, s->proven[i]);
            }
    s->note = "the client asked for an address that its certificate does not have";
    return sasl_fail(s, SASL_INVALID_AUTHZID);
}

/* --- all --- */

/* RFC 4505 §2: the client may leave a trace, of which nothing is kept. */
static enum sasl_step anonymous_first(struct sasl *s)
{
    buf_clear(&s->out);
    s->state = DONE;
    return SASL_SUCCESS;
}

enum sasl_step sasl_feed_none(struct sasl *s)
{
    if (s->state != WAIT_FIRST)
        return sasl_malformed(s);
    if (s->mech == SASL_ANONYMOUS)
        return anonymous_first(s);
    buf_clear(&s->out); /* RFC 6120 §6.4.2: an empty challenge asks for the first message */
    return SASL_SEND;
}

enum sasl_step sasl_feed(struct sasl *s, slice message)
{
    if (s->state != WAIT_FIRST && s->state != WAIT_FINAL)
        return sasl_malformed(s);
    if (s->mech == SASL_ANONYMOUS)
        return message.len <= 4 * 255 && utf8_valid(message) ? anonymous_first(s)
                                                             : sasl_malformed(s);
    if (s->mech == SASL_EXTERNAL)
        return external_first(s, message);
    if (message.len == 0 || message.len > MESSAGE_MAX)
        return sasl_malformed(s);
    if (sasl_mech_is_token(s->mech))
        return token_first(s, message);
    if (!utf8_valid(message))
        return sasl_malformed(s);
    if (s->mech == SASL_PLAIN)
        return plain_first(s, message);
    if (memchr(message.ptr, 0, message.len) != NULL)
        return sasl_malformed(s);
    return s->state == WAIT_FIRST ? scram_first(s, message) : scram_final(s, message);
}

enum sasl_step sasl_verdict(struct sasl *s, enum sasl_failure failure, bool ok)
{
    if (!ok || s->state != WAIT_VERDICT)
        return sasl_fail(s, ok ? SASL_MALFORMED_REQUEST : failure);
    forget_password(s);
    buf_clear(&s->out);
    s->state = DONE;
    return SASL_SUCCESS;
}

slice sasl_out(const struct sasl *s) { return buf_slice(&s->out); }
slice sasl_user(const struct sasl *s) { return s->user; }
slice sasl_authzid(const struct sasl *s) { return s->authzid; }
slice sasl_password(const struct sasl *s) { return s->password; }
enum sasl_failure sasl_why(const struct sasl *s) { return s->why; }

const char *sasl_note(const struct sasl *s) { return s->note; }
