/* devices: the clients of an account, each by the id of its user agent (XEP-0388 §2.3.1), and their
 * FAST tokens (XEP-0484). A device has at most two tokens, as XEP-0484 §6.1 describes: `current`,
 * and `new` from when one was given out until it is used. They are sealed in the database
 * (auth/seal.h) and not hashed: a hashed token proves itself by an HMAC that is keyed with it, so
 * whatever could check it could forge it. They are random, end by themselves, and go with a change
 * of the password.
 *
 * Asynchronous as in auth/credentials.h: an operation ends with its callback, on the loop of
 * `struct auth`. At most DEVICES_MAX devices an account: the one that was not seen for longest
 * gives way. */
#pragma once
#include "auth/credentials.h"
#include "xmpp/sasl2.h"

enum { DEVICES_MAX = 64, DEVICE_TOKENS_MAX = 2, DEVICE_SECRET_MAX = 64 };

struct device_op;
void device_cancel(struct device_op **op); /* no callback will come; nulls */

struct device_token {
    enum sasl_mech mech;
    bool fresh; /* given out and not used yet */
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

/* What is kept of a login. All is copied. */
struct device_login {
    slice jid;
    int64_t account;
    const struct sasl2_agent *agent; /* has an id */
    slice address;
    slice used;     /* the token it logged in with; empty: none */
    bool was_fresh; /* it replaces the older one now */
    bool invalidate;
    bool has_count;
    int64_t count; /* must be above that of all earlier logins with this token */
    slice issue;   /* a new token; empty: none */
    enum sasl_mech issue_mech;
    uint64_t expires_us;
    int64_t generation; /* that it logged in with: another one by now is a conflict */
};
/* Whether nothing need be written for this login: it changes no token, and the same device was kept
 * within this hour. So a device that comes and goes costs no write each time; `seen` is exact to an
 * hour. Any thread; the last 4,096 logins or so are remembered. */
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
/* The devices of an account, the one seen last first. */
struct device_op *device_list(const struct auth *a, slice jid, device_list_fn *done, void *arg);
/* Deletes a device with its tokens. E_NOTFOUND. Logins that are under way are refused: the account
 * has a new generation then, which its home must be told. */
typedef void device_revoked_fn(void *arg, enum err e, int64_t generation);
struct device_op *device_revoke(const struct auth *a, slice jid, const uint8_t id[DEVICE_ID_LEN],
                                device_revoked_fn *done, void *arg);

/* Add the deletion of all tokens of an account, and of its devices, too. */
void devices_add_forget(struct store_batch *b, slice jid);
void devices_add_delete(struct store_batch *b, int64_t account);
