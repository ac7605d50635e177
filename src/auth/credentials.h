/* credentials: local accounts and their SCRAM keys in the store. Passwords are never stored; keys
 * of all three hashes are derived on helper threads, so a login costs one indexed read and HMACs. A
 * new password deletes the tokens of all devices (auth/devices.h).
 *
 * Asynchronous: every call returns an operation that belongs to this module; its callback comes
 * exactly once, on the loop of `struct auth`, never from inside the call, and ends the operation.
 * Account ids are what other tables refer to; they are never used again. JIDs are bare and
 * prepared, passwords are prepared (jid_prep_password); both are copied. */
#pragma once
#include "auth/auth.h"
#include "base/err.h"
#include "base/slice.h"
#include "xmpp/sasl.h"

struct arena;
struct loop;
struct store;
struct store_batch;
struct throttle;
struct throttle_try;
struct work_pool;

/* The environment of operations, one for each worker. It must outlive them. */
struct auth {
    struct store *store;
    struct work_pool *pool;
    struct loop *loop;
    struct throttle *throttle; /* of the process */
};

struct credentials {
    int64_t account; /* id; 0: there is no such account, and the keys are fake */
    bool disabled;
    bool unkeyed;       /* there is one, without keys for the hash: they are fake, too */
    int64_t generation; /* of the password: each change increments it, in the same transaction */
    struct scram_keys keys;
};

struct auth_op;
void auth_cancel(struct auth_op **op); /* no callback follows; may still commit; nulls */

/* `c` is valid during the call and only with OK; after credentials_set() it has the generation.
 * Besides what each function names, e may be E_AGAIN (too many operations wait: try later), E_FULL,
 * E_DOWN or E_TIMEOUT (of the store; a write may have been committed). */
typedef void credentials_fn(void *arg, enum err e, const struct credentials *c);

/* Keys for one hash. Unknown accounts give OK, too, with fake keys: the exchange goes on and fails
 * at its end, so a client cannot find out which accounts exist. */
struct auth_op *credentials_get(const struct auth *a, slice jid, enum scram_hash hash,
                                credentials_fn *done, void *arg);
/* An account that lacks keys of some hash gets them when its password is right.
 * E_AUTH: wrong password or no such account, after the same work. Passwords from one address (of
 * `try`) are verified one at a time, and addresses take turns. When its turn comes, the attempt is
 * counted by throttle_take(), and may have to wait for its turn there; E_DENIED: that refused it.
 */
struct credentials_check {
    slice jid, password;
    const struct throttle_try *try;
};
struct auth_op *credentials_verify(const struct auth *a, const struct credentials_check *check,
                                   credentials_fn *done, void *arg);
/* A new account. E_EXISTS. */
struct auth_op *credentials_create(const struct auth *a, slice jid, slice password,
                                   credentials_fn *done, void *arg);
/* The same with more statements in the transaction, which `add` adds. If one of them changes an
 * unexpected number of rows, that is E_EXISTS, too. */
struct credentials_new {
    slice jid, password;
    void (*add)(struct store_batch *b, void *arg); /* NULL: none */
    bool unlike; /* E_EXISTS also if another account of the domain looks like it (UTS 39) */
};
struct auth_op *credentials_create_with(const struct auth *a, const struct credentials_new *n,
                                        credentials_fn *done, void *arg);
/* A new password. E_NOTFOUND: no such account. E_AGAIN also if WORK_LANE_MAX of this account wait:
 * one at a time has its keys derived. */
struct auth_op *credentials_set(const struct auth *a, slice jid, slice password,
                                credentials_fn *done, void *arg);

/* Adds the keys of one more hash to an account (XEP-0480). If it has them, nothing changes. */
struct auth_op *credentials_add_hash(const struct auth *a, int64_t account, enum scram_hash hash,
                                     const struct scram_keys *keys, credentials_fn *done,
                                     void *arg);

/* Adds statements that move what others gave to an account to the one that replaces it. Both have
 * their rows then, and the one before is ' ' || jid. */
typedef void credentials_inherit_fn(struct store_batch *b, slice jid);
/* An account that comes from another server, in the transaction that has all it brings. Its id is
 * reserved first, in a batch of its own, of which it is the only row of the first statement: `name`
 * is no address, and unlike those of other reservations under way. The batch is a conflict if there
 * is such an account. */
struct credentials_ported {
    slice jid;
    int64_t id;
    uint64_t now_us;
    const struct scram_keys *keys; /* SCRAM_HASH_COUNT */
    unsigned has; /* of which hashes: bits; when it is committed, hashes_stored() for the others */
    bool disabled;
    /* It replaces an account that is disabled, as of credentials_add_empty(), and has its profile.
     * NULL: it replaces none. */
    credentials_inherit_fn *inherit;
};
void credentials_reserve(struct store_batch *b, slice name);
void credentials_port(struct store_batch *b, const struct credentials_ported *p, struct arena *tmp);
/* Keys of new accounts, from a password that is prepared. Slow, for helper threads only. */
void credentials_derive(struct scram_keys keys[SCRAM_HASH_COUNT], slice password);
/* All keys of an account: adds the statement; then those of a row. false: it is damaged. */
void credentials_read(struct store_batch *b, int64_t id);
bool credentials_row_keys(const struct store_batch *b, unsigned stmt, uint32_t row,
                          enum scram_hash *hash, struct scram_keys *out);

/* Adds the deletion of account and keys to a batch; other features add their own rows to it. */
void credentials_add_delete(struct store_batch *b, int64_t account);
/* Deletes it, too, and adds an account in its place that has its profile and no keys, and is
 * disabled: for the time that it is empty, or as the one before was. */
void credentials_add_empty(struct store_batch *b, int64_t account, slice jid, uint64_t now_us,
                           credentials_inherit_fn *inherit);
/* What account.disabled is. */
enum credentials_disabled { DISABLED_NOT, DISABLED_BY_OPERATOR, DISABLED_EMPTY };
/* The lane for all writes to the account rows of a bare JID. */
uint64_t credentials_lane(slice jid);

struct credentials_row {
    slice jid;
    int64_t account;
    uint64_t created_us; /* wall clock */
    bool disabled;
};
enum { CREDENTIALS_PAGE_MAX = 500 }; /* rows of one call */
typedef void credentials_list_fn(void *arg, enum err e, const struct credentials_row *rows,
                                 uint32_t count);
/* Lists the accounts of a domain (empty: of all domains) in the order of their JIDs, after `after`
 * (empty: from the first). A page that is not full is the last one. */
struct auth_op *credentials_list(const struct auth *a, slice domain, slice after,
                                 credentials_list_fn *done, void *arg);
