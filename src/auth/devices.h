/* devices: the clients of an account, each by the id of its user agent (XEP-0388 §2.3.1), and their
 * FAST tokens (XEP-0484). A device has at most two tokens, as XEP-0484 §6.1 describes: `current`,
 * and `new` from when one was given out until it is used. They are sealed in the database
 * (auth/seal.h). Hashing them would protect nothing: clients prove a token with an HMAC keyed with
 * it, so the stored value would be enough to log in. Tokens are random, expire, and are deleted
 * when the password changes.
 *
 * Asynchronous as in auth/credentials.h: an operation ends with its callback, on the loop of
 * `struct auth`. An account has at most DEVICES_MAX devices; a new one replaces the one that was
 * not seen for the longest time. */
#pragma once
#include "auth/credentials.h"
#include "xmpp/sasl2.h"

enum { DEVICES_MAX = 64, DEVICE_TOKENS_MAX = 2, DEVICE_SECRET_MAX = 64 };

struct device_op;
void device_cancel(struct device_op **op); /* no callback comes afterwards; sets *op to NULL */

struct device_token {
    enum sasl_mech mech;
    bool fresh; /* issued, but not used yet */
    slice secret;
    uint64_t created_us, expires_us;
};
struct device_tokens {
    int64_t account; /* 0: no such account, and no tokens */
    bool disabled;
    int64_t generation; /* as in struct credentials */
    unsigned count;
    struct device_token token[DEVICE_TOKENS_MAX];
};
/* e: OK, E_DOWN … `t` is valid during the call, and only with OK. */
typedef void device_tokens_fn(void *arg, enum err e, const struct device_tokens *t);
struct device_op *device_tokens_get(const struct auth *a, slice jid,
                                    const uint8_t id[DEVICE_ID_LEN], device_tokens_fn *done,
                                    void *arg);

/* A login to record. Everything is copied. */
struct device_login {
    slice jid;
    int64_t account;
    const struct sasl2_agent *agent; /* has an id */
    slice address;
    slice used;     /* the token that was used; empty: none */
    bool was_fresh; /* it was new, and now replaces the current one */
    bool invalidate;
    bool has_count;
    int64_t count; /* must be above that of all earlier logins with this token */
    slice issue;   /* a new token; empty: none */
    enum sasl_mech issue_mech;
    uint64_t expires_us;
    int64_t generation; /* at the login: E_CONFLICT if it has changed */
};
/* Whether this login needs no write, because it changes no token and the same device was recorded
 * within this hour. It saves writes for devices that reconnect often; `seen` is exact to an hour.
 * Any thread. About 4,096 logins are remembered. */
bool device_kept(const struct device_login *l, uint64_t now_us);

/* e: OK; E_CONFLICT: the count or the token is not valid any more, or the password was changed:
 * refuse the login. */
typedef void device_done_fn(void *arg, enum err e);
struct device_op *device_login(const struct auth *a, const struct device_login *l,
                               device_done_fn *done, void *arg);

struct device_row {
    uint8_t id[DEVICE_ID_LEN];
    slice software, device, address;
    uint64_t created_us, seen_us;
    uint64_t expires_us; /* of its tokens; 0: it has none */
};
typedef void device_list_fn(void *arg, enum err e, const struct device_row *rows, uint32_t count);
/* Lists the devices of an account, the most recently seen first. */
struct device_op *device_list(const struct auth *a, slice jid, device_list_fn *done, void *arg);
/* Deletes a device with its tokens. E_NOTFOUND. The account gets a new generation, so unfinished
 * logins are refused. The caller must tell the account's home the new generation. */
typedef void device_revoked_fn(void *arg, enum err e, int64_t generation);
struct device_op *device_revoke(const struct auth *a, slice jid, const uint8_t id[DEVICE_ID_LEN],
                                device_revoked_fn *done, void *arg);

/* Add the deletion of all tokens of an account, and of all its devices, to a batch. */
void devices_add_forget(struct store_batch *b, slice jid);
void devices_add_delete(struct store_batch *b, int64_t account);
