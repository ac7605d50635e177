#include "auth/credentials.h"
#include "auth/devices.h"
#include "auth/schema_private.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rand.h"
#include "io/loop.h"
#include "io/work.h"

static const enum scram_hash verify_hash = SCRAM_SHA_256; /* PLAIN is checked against its keys */

/* --- rows --- */

struct store_stmt credential_stmt_get = {
    .name = "credential.get",
    /* One row whether there is such an account or not: the secret makes the fake keys. Their work
     * factor is that of some account, the same one for the same name: when the setting was changed,
     * names without an account are old and new as those with one. */
    .sql = "SELECT s.secret, a.id, a.disabled, c.salt, coalesce(c.iterations, "
           "(SELECT o.iterations FROM credential o WHERE o.account >= "
           "$3 * (SELECT max(id) FROM account) / 1000000 "
           "ORDER BY o.account LIMIT 1)), c.stored_key, c.server_key, a.generation "
           "FROM auth_secret s LEFT JOIN account a ON a.jid = $1 "
           "LEFT JOIN credential c ON c.account = a.id AND c.hash = $2 WHERE s.id = 1",
    .params = "tii",
    .cols = "bIIBIBBI",
};
struct store_stmt credential_stmt_create = {
    .name = "account.create",
    .sql = "INSERT INTO account(jid, created_us, disabled) VALUES ($1, $2, 0) "
           "ON CONFLICT(jid) DO NOTHING",
    .params = "ti",
    .cols = "",
};
struct store_stmt credential_stmt_put = {
    .name = "credential.put",
    .sql = "INSERT INTO credential(account, hash, salt, iterations, stored_key, server_key) "
           "SELECT id, $2, $3, $4, $5, $6 FROM account WHERE jid = $1 "
           "ON CONFLICT(account, hash) DO UPDATE SET salt = excluded.salt, "
           "iterations = excluded.iterations, stored_key = excluded.stored_key, "
           "server_key = excluded.server_key",
    .params = "tibibb",
    .cols = "",
};
struct store_stmt credential_stmt_bump = {
    .name = "account.bump",
    .sql = "UPDATE account SET generation = generation + 1 WHERE jid = $1 RETURNING generation",
    .params = "t",
    .cols = "i",
};
struct store_stmt credential_stmt_delete_keys = {
    .name = "credential.delete",
    .sql = "DELETE FROM credential WHERE account = $1",
    .params = "i",
    .cols = "",
};
struct store_stmt credential_stmt_delete = {
    .name = "account.delete",
    .sql = "DELETE FROM account WHERE id = $1",
    .params = "i",
    .cols = "",
};
struct store_stmt credential_stmt_add_hash = {
    .name = "credential.add",
    .sql = "INSERT INTO credential(account, hash, salt, iterations, stored_key, server_key) "
           "SELECT id, $2, $3, $4, $5, $6 FROM account WHERE id = $1 "
           "ON CONFLICT(account, hash) DO NOTHING",
    .params = "iibibb",
    .cols = "",
};
struct store_stmt credential_stmt_list = {
    .name = "account.list",
    .sql = "SELECT jid, id, created_us, disabled FROM account "
           "WHERE jid > $1 AND ($2 = '' OR jid LIKE '%@' || $2) ORDER BY jid LIMIT $3",
    .params = "tti",
    .cols = "tiii",
};

/* --- operations --- */

/* One operation. It waits for the store or for a helper thread, never for both:
 *   get, list:    READ -> done
 *   verify:       READ -> WORK -> done
 *   create, set:  WORK -> WRITE -> done
 * REFUSED: there was no room for the work; told at the end of the tick. */
struct auth_op {
    struct work work;
    struct loop_defer refused;
    struct auth auth;
    enum { ON_STORE, ON_WORK, ON_REFUSAL } waits;
    bool canceled; /* while a helper thread has it */
    struct store_op *store;
    struct arena *arena;
    slice jid, password;
    bool create;
    void (*add)(struct store_batch *b, void *arg);
    enum scram_hash hash;
    bool matches; /* verify: the password fits */
    struct credentials found;
    struct scram_keys keys[SCRAM_HASH_COUNT]; /* create, set */
    credentials_fn *done;
    credentials_list_fn *listed;
    void *arg;
};

enum { ARENA_BYTES = 512 };

static struct auth_op *op_new(const struct auth *a, slice jid, credentials_fn *done, void *arg)
{
    struct auth_op *op = mem_new(struct auth_op);
    op->auth = *a;
    op->arena = arena_create(ARENA_BYTES);
    op->jid = slice_dup(op->arena, jid);
    op->done = done;
    op->arg = arg;
    return op;
}

static void op_free(struct auth_op *op)
{
    if (op->password.len > 0)
        mem_wipe((char *)(uintptr_t)op->password.ptr, op->password.len);
    arena_destroy(&op->arena);
    mem_wipe(op, sizeof *op);
    mem_free(&op);
}

static void op_end(struct auth_op *op, enum err e)
{
    if (!op->canceled)
        op->done(op->arg, e, e == OK ? &op->found : NULL);
    op_free(op);
}

void auth_cancel(struct auth_op **pop)
{
    struct auth_op *op = *pop;
    *pop = NULL;
    if (op == NULL)
        return;
    switch (op->waits) {
    case ON_STORE:
        store_cancel(&op->store);
        op_free(op);
        break;
    case ON_WORK:
        op->canceled = true; /* freed when the thread gives it back */
        break;
    case ON_REFUSAL:
        loop_defer_cancel(&op->refused);
        op_free(op);
        break;
    }
}

static void work_refused(struct loop_defer *d)
{
    op_end(CONTAINER_OF(d, struct auth_op, refused), E_AGAIN);
}

static void op_work(struct auth_op *op, void (*run)(struct work *), void (*done)(struct work *))
{
    op->waits = ON_WORK;
    op->work = (struct work){ .run = run, .done = done, .loop = op->auth.loop };
    if (work_submit(op->auth.pool, op->auth.loop, &op->work) == OK)
        return;
    op->waits = ON_REFUSAL;
    op->refused.fn = work_refused;
    loop_defer(op->auth.loop, &op->refused);
}

enum { WRITE_MS = 600 * 1000 };

/* A write waits for the store's word however long it takes: it is never taken back, and a password
 * that changes after all would leave old sessions behind. */
static void op_submit(struct auth_op *op, struct store_batch *b, uint32_t deadline_ms,
                      store_done_fn *done)
{
    op->waits = ON_STORE;
    op->store = store_submit(b, op->auth.loop, deadline_ms, done, op);
}

static enum err err_of(enum store_result r)
{
    switch (r) {
    case STORE_OK:
        return OK;
    case STORE_CONFLICT:
        return E_CONFLICT;
    case STORE_FULL:
        return E_FULL;
    case STORE_UNKNOWN:
        return E_TIMEOUT;
    case STORE_DOWN:
        break;
    }
    return E_DOWN;
}

uint64_t credentials_lane(slice jid) { return hash_keyed(jid) | 1; /* 0 means no lane */ }

/* --- reading --- */

enum {
    COL_SECRET,
    COL_ID,
    COL_DISABLED,
    COL_SALT,
    COL_ITERATIONS,
    COL_STORED,
    COL_SERVER,
    COL_GENERATION
};

/* Keys as stored; false: absent or damaged. */
static bool read_keys(struct scram_keys *keys, enum scram_hash hash, const struct store_batch *b)
{
    slice salt = store_text(b, 0, 0, COL_SALT), stored = store_text(b, 0, 0, COL_STORED);
    slice server = store_text(b, 0, 0, COL_SERVER);
    int64_t iterations = store_int(b, 0, 0, COL_ITERATIONS);
    size_t len = scram_hash_len(hash);
    if (salt.len == 0 || salt.len > sizeof keys->salt || stored.len != len || server.len != len ||
        iterations < 1 || iterations > INT32_MAX)
        return false;
    *keys =
        (struct scram_keys){ .salt_len = (uint8_t)salt.len, .iterations = (uint32_t)iterations };
    memcpy(keys->salt, salt.ptr, salt.len);
    memcpy(keys->stored_key, stored.ptr, len);
    memcpy(keys->server_key, server.ptr, len);
    return true;
}

static enum err read_credentials(struct auth_op *op, enum store_result r,
                                 const struct store_batch *b)
{
    op->store = NULL;
    if (r != STORE_OK)
        return err_of(r);
    if (store_row_count(b, 0) != 1)
        return E_CORRUPT;
    struct credentials *c = &op->found;
    if (read_keys(&c->keys, op->hash, b)) {
        c->account = store_int(b, 0, 0, COL_ID);
        c->disabled = store_int(b, 0, 0, COL_DISABLED) != 0;
        c->generation = store_int(b, 0, 0, COL_GENERATION);
    } else {
        int64_t iterations = store_int(b, 0, 0, COL_ITERATIONS);
        if (iterations < 1 || iterations > INT32_MAX)
            iterations = setting_int(&auth_scram_iterations);
        scram_fake_keys(&c->keys, op->hash, op->jid, store_text(b, 0, 0, COL_SECRET),
                        (uint32_t)iterations);
    }
    return OK;
}

/* The place of a name among all accounts, in millionths; the same after a restart. */
static int64_t place_of(slice jid)
{
    static const struct hash_key key = { 0x6d75737465722061, 0x7574680000000001 };
    return (int64_t)(hash_with(&key, jid) % 1000000);
}

static void submit_read(struct auth_op *op, enum scram_hash hash, store_done_fn *done)
{
    op->hash = hash;
    struct store_batch *b = store_read(op->auth.store, 0);
    STORE_ADD(b, &credential_stmt_get, STORE_ANY_ROWS, SV_T(op->jid), SV_I(hash),
              SV_I(place_of(op->jid)));
    op_submit(op, b, 0, done);
}

static void get_read(void *arg, enum store_result r, const struct store_batch *b)
{
    struct auth_op *op = arg;
    op_end(op, read_credentials(op, r, b));
}

struct auth_op *credentials_get(const struct auth *a, slice jid, enum scram_hash hash,
                                credentials_fn *done, void *arg)
{
    struct auth_op *op = op_new(a, jid, done, arg);
    submit_read(op, hash, get_read);
    return op;
}

static void verify_run(struct work *w)
{
    struct auth_op *op = CONTAINER_OF(w, struct auth_op, work);
    op->matches = scram_verify(&op->found.keys, op->hash, op->password);
}

static void verify_done(struct work *w)
{
    struct auth_op *op = CONTAINER_OF(w, struct auth_op, work);
    op_end(op, op->matches && op->found.account != 0 ? OK : E_AUTH);
}

static void verify_read(void *arg, enum store_result r, const struct store_batch *b)
{
    struct auth_op *op = arg;
    enum err e = read_credentials(op, r, b);
    if (e == OK)
        op_work(op, verify_run, verify_done);
    else
        op_end(op, e);
}

struct auth_op *credentials_verify(const struct auth *a, slice jid, slice password,
                                   credentials_fn *done, void *arg)
{
    struct auth_op *op = op_new(a, jid, done, arg);
    op->password = slice_dup(op->arena, password);
    submit_read(op, verify_hash, verify_read);
    return op;
}

/* --- writing --- */

static void write_done(void *arg, enum store_result r, const struct store_batch *b)
{
    struct auth_op *op = arg;
    op->store = NULL;
    enum err e = err_of(r);
    if (e == OK && store_row_count(b, 0) > 0) /* of a new password */
        op->found.generation = store_int(b, 0, 0, 0);
    if (e == E_CONFLICT) /* a statement found no row to change */
        e = op->create ? E_EXISTS : E_NOTFOUND;
    op_end(op, e);
}

static slice key_slice(const uint8_t *key, enum scram_hash h)
{
    return (slice){ (const char *)key, scram_hash_len(h) };
}

static void derive_done(struct work *w)
{
    struct auth_op *op = CONTAINER_OF(w, struct auth_op, work);
    if (op->canceled) {
        op_free(op);
        return;
    }
    struct store_batch *b = store_write(op->auth.store, credentials_lane(op->jid));
    if (op->create)
        STORE_ADD(b, &credential_stmt_create, 1, SV_T(op->jid), SV_I(loop_wall_us(op->auth.loop)));
    else
        STORE_ADD(b, &credential_stmt_bump, 1, SV_T(op->jid));
    devices_add_forget(b, op->jid);
    for (enum scram_hash h = 0; h < SCRAM_HASH_COUNT; h++) {
        const struct scram_keys *k = &op->keys[h];
        slice salt = { (const char *)k->salt, k->salt_len };
        STORE_ADD(b, &credential_stmt_put, 1, SV_T(op->jid), SV_I(h), SV_B(salt),
                  SV_I(k->iterations), SV_B(key_slice(k->stored_key, h)),
                  SV_B(key_slice(k->server_key, h)));
    }
    if (op->add != NULL)
        op->add(b, op->arg);
    op_submit(op, b, WRITE_MS, write_done);
}

static void derive_run(struct work *w)
{
    struct auth_op *op = CONTAINER_OF(w, struct auth_op, work);
    uint32_t iterations = (uint32_t)setting_int(&auth_scram_iterations);
    for (enum scram_hash h = 0; h < SCRAM_HASH_COUNT; h++) {
        char salt[SCRAM_SALT_LEN];
        rand_bytes(salt, sizeof salt);
        scram_derive(&op->keys[h], h, op->password, (slice){ salt, sizeof salt }, iterations);
    }
}

static struct auth_op *write_password(struct auth_op *op, slice password)
{
    op->password = slice_dup(op->arena, password);
    op_work(op, derive_run, derive_done);
    return op;
}

struct auth_op *credentials_create_with(const struct auth *a, const struct credentials_new *n,
                                        credentials_fn *done, void *arg)
{
    struct auth_op *op = op_new(a, n->jid, done, arg);
    op->create = true;
    op->add = n->add;
    return write_password(op, n->password);
}

struct auth_op *credentials_create(const struct auth *a, slice jid, slice password,
                                   credentials_fn *done, void *arg)
{
    return credentials_create_with(a, &(struct credentials_new){ jid, password, NULL }, done, arg);
}

struct auth_op *credentials_set(const struct auth *a, slice jid, slice password,
                                credentials_fn *done, void *arg)
{
    return write_password(op_new(a, jid, done, arg), password);
}

struct auth_op *credentials_add_hash(const struct auth *a, int64_t account, enum scram_hash hash,
                                     const struct scram_keys *keys, credentials_fn *done, void *arg)
{
    struct auth_op *op = op_new(a, (slice){ "", 0 }, done, arg);
    struct store_batch *b = store_write(a->store, (uint64_t)account);
    slice salt = { (const char *)keys->salt, keys->salt_len };
    STORE_ADD(b, &credential_stmt_add_hash, STORE_ANY_ROWS, SV_I(account), SV_I(hash), SV_B(salt),
              SV_I(keys->iterations), SV_B(key_slice(keys->stored_key, hash)),
              SV_B(key_slice(keys->server_key, hash)));
    op_submit(op, b, WRITE_MS, write_done);
    return op;
}

void credentials_add_delete(struct store_batch *b, int64_t account)
{
    devices_add_delete(b, account);
    STORE_ADD(b, &credential_stmt_delete_keys, STORE_ANY_ROWS, SV_I(account));
    STORE_ADD(b, &credential_stmt_delete, STORE_ANY_ROWS, SV_I(account));
}

/* --- listing --- */

static void list_read(void *arg, enum store_result r, const struct store_batch *b)
{
    struct auth_op *op = arg;
    op->store = NULL;
    uint32_t count = r == STORE_OK ? store_row_count(b, 0) : 0;
    struct credentials_row *rows = arena_new(op->arena, struct credentials_row, count);
    for (uint32_t i = 0; i < count; i++)
        rows[i] = (struct credentials_row){ .jid = store_text(b, 0, i, 0),
                                            .account = store_int(b, 0, i, 1),
                                            .created_us = (uint64_t)store_int(b, 0, i, 2),
                                            .disabled = store_int(b, 0, i, 3) != 0 };
    op->listed(op->arg, err_of(r), rows, count);
    op_free(op);
}

struct auth_op *credentials_list(const struct auth *a, slice domain, slice after,
                                 credentials_list_fn *done, void *arg)
{
    struct auth_op *op = op_new(a, after, NULL, arg);
    op->listed = done;
    struct store_batch *b = store_read(a->store, 0);
    STORE_ADD(b, &credential_stmt_list, STORE_ANY_ROWS, SV_T(after), SV_T(domain),
              SV_I(CREDENTIALS_PAGE_MAX));
    op_submit(op, b, 0, list_read);
    return op;
}
