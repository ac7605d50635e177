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

struct loop;
struct store;
struct store_batch;
struct throttle;
struct throttle_try;
struct work_pool;

/* What an operation runs on; one a worker. Lives longer than its operations. */
struct auth {
    struct store *store;
    struct work_pool *pool;
    struct loop *loop;
    struct throttle *throttle; /* of the process */
};

struct credentials {
    int64_t account; /* id; 0: no such account, and the keys are fake ones that no password fits */
    bool disabled;
    int64_t generation; /* of the password: rises with each change, in its transaction */
    struct scram_keys keys;
};

struct auth_op;
void auth_cancel(
    struct auth_op **op); /* no callback will come; a write may still be committed; nulls */

/* `c` is valid during the call and only with OK; after credentials_set() it has the generation.
 * Besides what each function names, e may be E_AGAIN (too much is waiting: try later), E_FULL,
 * E_DOWN or E_TIMEOUT (of the store; a write may have been committed). */
typedef void credentials_fn(void *arg, enum err e, const struct credentials *c);

/* Keys for one hash. Unknown accounts give OK, too, with fake keys: the exchange goes on and fails
 * at its end (RFC 5802 has no way to tell a client less). */
struct auth_op *credentials_get(const struct auth *a, slice jid, enum scram_hash hash,
                                credentials_fn *done, void *arg);
/* E_AUTH: wrong password or no such account, after the same work. Passwords that come from one
 * address (of `try`) are worked at one at a time, addresses taking turns; the attempt takes its
 * place in the throttle when its turn comes. E_DENIED: it got none. */
struct credentials_check {
    slice jid, password;
    const struct throttle_try *try;
};
struct auth_op *credentials_verify(const struct auth *a, const struct credentials_check *check,
                                   credentials_fn *done, void *arg);
/* A new account. E_EXISTS. */
struct auth_op *credentials_create(const struct auth *a, slice jid, slice password,
                                   credentials_fn *done, void *arg);
/* The same with more statements in its transaction, added by `add` with `arg`; where a row count of
 * theirs is not met, that is E_EXISTS, too. */
struct credentials_new {
    slice jid, password;
    void (*add)(struct store_batch *b, void *arg); /* NULL: none */
    bool unlike; /* E_EXISTS also if another account of the domain looks like it (UTS 39) */
};
struct auth_op *credentials_create_with(const struct auth *a, const struct credentials_new *n,
                                        credentials_fn *done, void *arg);
/* A new password. E_NOTFOUND: no such account. */
struct auth_op *credentials_set(const struct auth *a, slice jid, slice password,
                                credentials_fn *done, void *arg);

/* One more hash for an account that lacks it (XEP-0480); nothing is changed where it is there. */
struct auth_op *credentials_add_hash(const struct auth *a, int64_t account, enum scram_hash hash,
                                     const struct scram_keys *keys, credentials_fn *done,
                                     void *arg);

/* Adds the deletion of account and keys to a batch; other features add their own rows to it. */
void credentials_add_delete(struct store_batch *b, int64_t account);
/* The lane of a bare JID's account rows: what deletes or changes them uses it. */
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
/* Accounts of a domain (empty: of all) in the order of their JIDs, those behind `after` (empty:
 * from the start). A page that is not full is the last. */
struct auth_op *credentials_list(const struct auth *a, slice domain, slice after,
                                 credentials_list_fn *done, void *arg);
