/* sasl: the server side of SASL as a pure machine (RFC 4422, RFC 5802 SCRAM, RFC 7677, RFC 4616
 * PLAIN, RFC 4505 ANONYMOUS, EXTERNAL of RFC 4422 with XEP-0178, the hashed tokens of XEP-0484, RFC
 * 5929 and RFC 9266 channel binding). The caller base64-decodes what the client sent, feeds it, and
 * does what the step says; keys come from the caller in the middle, so look-ups stay asynchronous.
 * No secret outlives sasl_destroy(); the caller wipes its own copy of the decoded message. Messages
 * are limited to 4 KiB. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

/* Strongest first: the order in which they are offered. */
enum sasl_mech {
    SASL_SCRAM_SHA_512_PLUS,
    SASL_SCRAM_SHA_256_PLUS,
    SASL_SCRAM_SHA_1_PLUS,
    SASL_SCRAM_SHA_512,
    SASL_SCRAM_SHA_256,
    SASL_SCRAM_SHA_1,
    SASL_PLAIN,
    SASL_ANONYMOUS,
    SASL_HT_SHA_256_EXPR, /* hashed tokens (draft-schmaus-kitten-sasl-ht-08); SASL2 only */
    SASL_HT_SHA_256_ENDP,
    SASL_HT_SHA_256_UNIQ,
    SASL_HT_SHA_256_NONE,
    SASL_EXTERNAL, /* the client's certificate; offered before all others */
    SASL_MECH_COUNT
};
enum scram_hash { SCRAM_SHA_1, SCRAM_SHA_256, SCRAM_SHA_512, SCRAM_HASH_COUNT };

const char *sasl_mech_name(enum sasl_mech m);
NODISCARD enum err sasl_mech_find(slice name, enum sasl_mech *out); /* E_NOTFOUND */
bool sasl_mech_is_plus(enum sasl_mech m);
bool sasl_mech_is_token(enum sasl_mech m);
enum scram_hash sasl_mech_hash(enum sasl_mech m); /* of a SCRAM mechanism */

enum { SCRAM_SALT_LEN = 16 }; /* bytes, of the accounts we make and of fake keys */

/* Stored instead of a password, one a hash (RFC 5802 §3). Clients prepare a password by SASLprep,
 * by OpaqueString or not at all. Where the first two differ there are keys of both, with one salt,
 * since the challenge has one: the client's proof may be of either. */
struct scram_keys {
    uint8_t salt[64]; /* other servers make longer ones than we do */
    uint8_t salt_len;
    uint32_t iterations;
    uint8_t stored_key[64], server_key[64]; /* the first scram_hash_len() bytes */
    bool two_forms;                         /* the following are of the other form */
    uint8_t other_stored[64], other_server[64];
};
size_t scram_hash_len(enum scram_hash h);
/* PBKDF2: slow, for helper threads only. `password` is prepared (jid_prep_password_given). The
 * first keys are of its form by SASLprep, which other servers expect; the others are of itself. */
void scram_derive(struct scram_keys *out, enum scram_hash h, slice password, slice salt,
                  uint32_t iterations);
/* Slow, too; compares in constant time. Both forms are compared, with keys of any preparation. */
bool scram_verify(const struct scram_keys *keys, enum scram_hash h, slice password);
/* From a SaltedPassword that the client derived (XEP-0480 §3): scram_hash_len() bytes. */
void scram_from_salted(struct scram_keys *out, enum scram_hash h, slice salted, slice salt,
                       uint32_t iterations);
/* Keys of a user who does not exist: the same each time for the same name, unlike any password. */
void scram_fake_keys(struct scram_keys *out, enum scram_hash h, slice user, slice server_secret,
                     uint32_t iterations);

enum sasl_step {
    SASL_SEND,           /* send `out` as a challenge and wait for the response */
    SASL_NEED_KEYS,      /* look up the keys of `user` for the mechanism's hash, then sasl_keys() */
    SASL_NEED_TOKENS,    /* look up the tokens of `user` on this device, then sasl_tokens() */
    SASL_NEED_ACCOUNT,   /* see whether there is an account of `user`, then sasl_verdict() */
    SASL_CHECK_PASSWORD, /* verify `password` of `user` on a helper thread, then sasl_verdict() */
    SASL_SUCCESS,        /* send `out` as additional data with success (may be empty) */
    SASL_FAIL            /* send <failure/> with `failure`; the machine is at its end */
};
/* RFC 6120 §6.5 conditions */
enum sasl_failure {
    SASL_ABORTED,
    SASL_ACCOUNT_DISABLED,
    SASL_CREDENTIALS_EXPIRED,
    SASL_ENCRYPTION_REQUIRED,
    SASL_INCORRECT_ENCODING,
    SASL_INVALID_AUTHZID,
    SASL_INVALID_MECHANISM,
    SASL_MALFORMED_REQUEST,
    SASL_MECHANISM_TOO_WEAK,
    SASL_NOT_AUTHORIZED,
    SASL_TEMPORARY_AUTH_FAILURE
};
const char *sasl_failure_name(enum sasl_failure f); /* "not-authorized" */
/* What it means, for a log: whoever reads it may know the reason, but not whether there is such an
 * account. */
const char *sasl_failure_text(enum sasl_failure f);

/* Channel binding of the connection, given at start; absent types have len 0. */
struct sasl_binding {
    uint8_t exporter[64];
    size_t exporter_len;
    uint8_t end_point[64];
    size_t end_point_len;
    uint8_t unique[64]; /* tls-unique, below TLS 1.3: for hashed tokens only */
    size_t unique_len;
    bool plus_offered; /* so that a client's "y" flag is recognised as a downgrade (RFC 5802 §6) */
};

struct buf;
struct sasl; /* heap; freed at success or failure (architecture §9) */
struct sasl *sasl_create(enum sasl_mech mech, const struct sasl_binding *binding, slice domain,
                         slice nonce);
void sasl_destroy(struct sasl **s);
/* The binding that a mechanism of hashed tokens needs is there. */
bool sasl_token_fits(enum sasl_mech m, const struct sasl_binding *binding);

/* XEP-0474 §5.1: what was offered, as the string that both sides hash; SCRAM sends the hash along.
 * `mechs`: bit of each mechanism in the list that the client chose from. */
void sasl_offered(struct buf *out, uint32_t mechs, const struct sasl_binding *binding);
void sasl_protect(struct sasl *s, slice offered); /* before the first sasl_feed(); copied */
/* EXTERNAL: the bare JIDs at the domain that the client's certificate proves, prepared. Before the
 * first sasl_feed(); copied. */
void sasl_prove(struct sasl *s, const slice *jids, size_t count);
/* One message of the client (the initial response or a response; an empty one is "=" on the wire).
 * Outputs stay valid until the next call. A message while a step waits for the caller ends the
 * exchange: cancel the look-up then. */
enum sasl_step sasl_feed(struct sasl *s, slice message);
/* It began without an initial response. */
enum sasl_step sasl_feed_none(struct sasl *s);
/* The answer to SASL_NEED_KEYS: fake ones for unknown users. */
enum sasl_step sasl_keys(struct sasl *s, const struct scram_keys *keys);
/* The answer to SASL_NEED_TOKENS; none for unknown users. */
struct sasl_token {
    enum sasl_mech mech; /* it was given out for */
    slice secret;
    bool expired;
};
enum sasl_step sasl_tokens(struct sasl *s, const struct sasl_token *tokens, unsigned count);
unsigned sasl_token_used(const struct sasl *s); /* after success: which of them */
/* The answer to SASL_CHECK_PASSWORD; `ok` false also ends a SCRAM exchange that waits for keys. */
enum sasl_step sasl_verdict(struct sasl *s, enum sasl_failure failure, bool ok);
slice sasl_out(const struct sasl *s);
slice sasl_user(const struct sasl *s); /* prepared localpart; empty with ANONYMOUS */
/* Prepared; empty: none. It is user@domain, else the exchange fails with SASL_INVALID_AUTHZID. */
slice sasl_authzid(const struct sasl *s);
slice sasl_password(const struct sasl *s); /* PLAIN, prepared */
enum sasl_failure sasl_why(const struct sasl *s);
/* A closer reason for the log than sasl_failure_text(), or NULL. The client is not told it. */
const char *sasl_note(const struct sasl *s);
