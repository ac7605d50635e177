#include "auth/credentials.h"
#include "auth/devices.h"
#include "auth/hashes.h"
#include "auth/looks.h"
#include "auth/schema_private.h"
#include "auth/throttle.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rand.h"
#include "io/loop.h"
#include "io/timer.h"
#include "io/work.h"
#include <assert.h>

/* PLAIN is verified with the keys of SHA-256, or, where an account has none, with the strongest
 * that it has: keys that come from elsewhere may be of one hash only. */
enum { ANY_HASH = -1 };
static_assert((int)SCRAM_SHA_256 == 1, "in credential.get");

/* --- rows --- */

struct store_stmt credential_stmt_get = {
    .name = "credential.get",
    /* Gives one row for unknown accounts, too: the secret is used to make fake keys. */
    .sql = "SELECT s.secret, a.id, a.disabled, c.salt, c.iterations, c.stored_key, c.server_key, "
           "c.other_stored, c.other_server, a.generation, s.factors, c.hash, a.lacks "
           "FROM auth_secret s LEFT JOIN account a ON a.jid = $1 "
           "LEFT JOIN credential c ON c.account = a.id AND c.hash = CASE WHEN $2 >= 0 THEN $2 "
           "ELSE (SELECT o.hash FROM credential o WHERE o.account = a.id "
           "ORDER BY CASE o.hash WHEN 1 THEN 0 ELSE 1 END, o.hash DESC LIMIT 1) END "
           "WHERE s.id = 1",
    .params = "ti",
    .cols = "bIIBIBBBBItII",
};
/* Records a changed work factor of new passwords as " since:iterations". 2,000 bytes are enough for
 * all changes that operators make. */
struct store_stmt credential_stmt_factor = {
    .name = "credential.factor",
    .sql = "UPDATE auth_secret SET factor = $1, factors = factors || $2 "
           "WHERE id = 1 AND factor <> $1 AND length(factors) < 2000",
    .params = "it",
    .cols = "",
};
struct store_stmt credential_stmt_create = {
    .name = "account.create",
    /* $4: 1 if no account with the same look, $3, may exist */
    .sql = "INSERT INTO account(jid, created_us, disabled, look) SELECT $1, $2, 0, $3 "
           "WHERE $4 = 0 OR NOT EXISTS (SELECT 1 FROM account o WHERE o.look = $3) "
           "ON CONFLICT(jid) DO NOTHING",
    .params = "titi",
    .cols = "",
};
#define ADD_KEYS(column)                                                                           \
    "INSERT INTO credential(account, hash, salt, iterations, stored_key, server_key, "             \
    "other_stored, other_server) SELECT id, $2, $3, $4, $5, $6, $7, $8 FROM account WHERE " column \
    " = $1 ON CONFLICT(account, hash) "
struct store_stmt credential_stmt_put = {
    .name = "credential.put",
    .sql = ADD_KEYS("jid") "DO UPDATE SET salt = excluded.salt, "
                           "iterations = excluded.iterations, stored_key = excluded.stored_key, "
                           "server_key = excluded.server_key, "
                           "other_stored = excluded.other_stored, "
                           "other_server = excluded.other_server",
    .params = "tibibbbb",
    .cols = "",
};
struct store_stmt credential_stmt_bump = {
    .name = "account.bump",
    .sql = "UPDATE account SET generation = generation + 1, lacks = 0 WHERE jid = $1 "
           "RETURNING generation",
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
struct store_stmt credential_stmt_empty = {
    .name = "account.empty",
    .sql = "INSERT INTO account(jid, created_us, disabled, look) SELECT $1, $2, "
           "CASE WHEN EXISTS (SELECT 1 FROM account o WHERE o.jid = ' ' || $1 AND o.disabled = 1) "
           "THEN 1 ELSE 2 END, $3",
    .params = "tit",
    .cols = "",
};
/* An account in the place of another: that one is put aside, by a name that is no address, and the
 * new one has its profile. $2: 1 if it has to be disabled. */
struct store_stmt credential_stmt_aside = {
    .name = "account.aside",
    .sql = "UPDATE account SET jid = ' ' || jid WHERE jid = $1 AND disabled >= $2",
    .params = "ti",
    .cols = "",
};
struct store_stmt credential_stmt_inherit = {
    .name = "account.inherit",
    .sql = "UPDATE account SET (given_name, surname, email, department, directory_uri, source, "
           "template) = (SELECT o.given_name, o.surname, o.email, o.department, o.directory_uri, "
           "o.source, o.template FROM account o WHERE o.jid = ' ' || $1) "
           "WHERE jid = $1 AND EXISTS (SELECT 1 FROM account o WHERE o.jid = ' ' || $1)",
    .params = "t",
    .cols = "",
};
struct store_stmt credential_stmt_replaced = {
    .name = "account.replaced",
    .sql = "DELETE FROM account WHERE jid = ' ' || $1",
    .params = "t",
    .cols = "",
};
struct store_stmt credential_stmt_add_hash = {
    .name = "credential.add",
    .sql = ADD_KEYS("id") "DO NOTHING",
    .params = "iibibbbb",
    .cols = "",
};
struct store_stmt credential_stmt_lacks_no_more = {
    .name = "account.lacks-no-more",
    .sql = "UPDATE account SET lacks = lacks & $2 WHERE id = $1", /* $2: all other hashes */
    .params = "ii",
    .cols = "",
};
struct store_stmt credential_stmt_reserve = {
    .name = "account.reserve",
    .sql = "INSERT INTO account(jid, created_us, disabled) VALUES($1, 0, 1) RETURNING id",
    .params = "t",
    .cols = "i",
};
struct store_stmt credential_stmt_unreserve = {
    .name = "account.unreserve",
    .sql = "DELETE FROM account WHERE jid = $1",
    .params = "t",
    .cols = "",
};
#define PORT(how)                                                                                  \
    "INSERT INTO account(id, jid, created_us, disabled, look, lacks) " how                         \
    "VALUES($1, $2, $3, $5, $4, $6) ON CONFLICT(jid) DO NOTHING"
struct store_stmt credential_stmt_port = {
    .name = "account.port",
    .sqlite = PORT(""),
    .pgsql = PORT("OVERRIDING SYSTEM VALUE "),
    .params = "ititii",
    .cols = "",
};
struct store_stmt credential_stmt_keys = {
    .name = "credential.keys",
    .sql = "SELECT hash, salt, iterations, stored_key, server_key, other_stored, other_server "
           "FROM credential WHERE account = $1 ORDER BY hash",
    .params = "i",
    .cols = "ibibbbb",
};
struct store_stmt credential_stmt_list = {
    .name = "account.list",
    .sql = "SELECT jid, id, created_us, disabled FROM account "
           "WHERE jid > $1 AND ($2 = '' OR jid LIKE '%@' || $2) "
           "AND NOT EXISTS (SELECT 1 FROM test_user t WHERE t.account = account.id) "
           "ORDER BY jid LIMIT $3",
    .params = "tti",
    .cols = "tiii",
};

/* --- operations --- */

/* One operation. It waits for the store or for a helper thread, never for both at once:
 *   get, list:    READ -> done
 *   verify:       READ -> WORK -> (TURN -> WORK ->) (WRITE ->) done
 *   create, set:  WORK -> WRITE -> done
 * TURN: it waits for its turn (auth/throttle.h). REFUSED: there was no room for the work; told at
 * the end of the tick. */
struct auth_op {
    struct work work;
    struct timer turn;
    struct loop_defer refused;
    struct auth auth;
    enum { ON_STORE, ON_WORK, ON_TURN, ON_REFUSAL } waits;
    bool canceled; /* while a helper thread has it */
    struct store_op *store;
    struct arena *arena;
    slice jid, password;
    bool create, unlike;
    void (*add)(struct store_batch *b, void *arg);
    enum scram_hash hash;
    uint64_t lane;           /* of its work: an address, or an account (io/work.h) */
    struct throttle_try try; /* verify */
    uint32_t wait_ms;        /* for its turn */
    enum err verdict;        /* of verify */
    struct credentials found;
    unsigned lacks; /* verify: hashes of which the account has no keys yet */
    struct scram_keys keys[SCRAM_HASH_COUNT]; /* create, set; verify: of those */
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

static void credentials_op_free(struct auth_op *op)
{
    if (op->try.taken) /* given up while it waited for its turn */
        throttle_failed(op->auth.throttle, &op->try, clock_mono_us());
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
    credentials_op_free(op);
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
        credentials_op_free(op);
        break;
    case ON_WORK:
        op->canceled = true; /* freed when the thread has finished */
        if (work_cancel(op->auth.pool, &op->work))
            credentials_op_free(op);
        break;
    case ON_TURN:
        timer_cancel(&op->turn);
        credentials_op_free(op);
        break;
    case ON_REFUSAL:
        loop_defer_cancel(&op->refused);
        credentials_op_free(op);
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
    op->work = (struct work){ .run = run, .done = done, .lane = op->lane, .may_skip = true };
    if (work_submit(op->auth.pool, op->auth.loop, &op->work) == OK)
        return;
    op->waits = ON_REFUSAL;
    op->refused.fn = work_refused;
    loop_defer(op->auth.loop, &op->refused);
}

/* A write has no timeout. It cannot be undone, and if a password changed after a timeout, old
 * sessions would not be closed. */
static void op_submit(struct auth_op *op, struct store_batch *b, uint32_t deadline_ms,
                      store_done_fn *done)
{
    op->waits = ON_STORE;
    op->store = store_submit(b, op->auth.loop, deadline_ms, done, op);
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
    COL_OTHER_STORED,
    COL_OTHER_SERVER,
    COL_GENERATION,
    COL_FACTORS,
    COL_HASH,
    COL_LACKS
};

/* Reads stored keys: salt, iterations and the keys from column `col` on; false: they are absent or
 * damaged. */
static bool read_keys_at(struct scram_keys *keys, enum scram_hash hash, const struct store_batch *b,
                         unsigned stmt, uint32_t row, unsigned col)
{
    slice salt = store_text(b, stmt, row, col), stored = store_text(b, stmt, row, col + 2);
    slice server = store_text(b, stmt, row, col + 3);
    int64_t iterations = store_int(b, stmt, row, col + 1);
    size_t len = scram_hash_len(hash);
    if (salt.len == 0 || salt.len > sizeof keys->salt || stored.len != len || server.len != len ||
        iterations < 1 || iterations > INT32_MAX)
        return false;
    *keys =
        (struct scram_keys){ .salt_len = (uint8_t)salt.len, .iterations = (uint32_t)iterations };
    memcpy(keys->salt, salt.ptr, salt.len);
    memcpy(keys->stored_key, stored.ptr, len);
    memcpy(keys->server_key, server.ptr, len);
    stored = store_text(b, stmt, row, col + 4);
    server = store_text(b, stmt, row, col + 5);
    keys->two_forms = stored.len == len && server.len == len;
    if (keys->two_forms) {
        memcpy(keys->other_stored, stored.ptr, len);
        memcpy(keys->other_server, server.ptr, len);
    }
    return true;
}

static bool read_keys(struct scram_keys *keys, enum scram_hash hash, const struct store_batch *b)
{
    return read_keys_at(keys, hash, b, 0, 0, COL_SALT);
}

/* A name without an account seems to be one whose password was set at some time. After a change of
 * the work factor it goes over to the new one, with a new salt, as if its user came or changed the
 * password then, and never back: some names within days, half of them within FACTOR_HALF_US, the
 * others later. A keyed hash of the name decides when. Nothing that happens to accounts has a part
 * in it: whoever makes accounts and looks again sees the same as before.
 *
 * Limits: a single look tells as little as this guess is good. Where the accounts come faster or
 * slower, the old and the new factor are not as frequent among them as among other names. A name
 * that gets an account changes its salt, as any registration shows. */

static const double FACTOR_HALF_US = 4 * 365.0 * 86400 * 1000000;

/* One change of the work factor. */
struct factor {
    int64_t since_us, iterations;
};

/* Whether an imaginary user of this name came, or changed the password, since the factor changed:
 * after a time t so many have as s / (1 + s) with s = sqrt(t / FACTOR_HALF_US). */
static bool would_have_changed(const struct auth_op *op, slice secret, const struct factor *f)
{
    struct scram_keys bits; /* a salt that is never sent */
    int64_t age_us = (int64_t)loop_wall_us(op->auth.loop) - f->since_us;
    uint32_t u;
    scram_fake_keys(&bits, SCRAM_SHA_256,
                    slice_of(arena_printf(op->arena, "change %.*s %lld", SLICE_ARG(op->jid),
                                          (long long)f->since_us)),
                    secret, 1);
    memcpy(&u, bits.salt, sizeof u);
    double part = u / (UINT32_MAX + 1.0), s = part / (1 - part);
    return s * s * FACTOR_HALF_US <= (double)age_us;
}

/* Takes the oldest change off the list of " since:iterations"; older versions added ":id". */
static bool next_factor(slice *rest, struct factor *f)
{
    slice note, since, count;
    if (rest->len < 2)
        return false;
    *rest = slice_from(*rest, 1);
    if (!slice_cut(*rest, ' ', &note, &(slice){ 0 }))
        note = *rest;
    *rest = slice_from(*rest, note.len);
    if (!slice_cut(note, ':', &since, &count))
        return false;
    slice_cut(count, ':', &count, &(slice){ 0 });
    return slice_int(since, &f->since_us) && slice_int(count, &f->iterations) &&
           f->iterations >= 1 && f->iterations <= INT32_MAX;
}

static void make_fake(const struct auth_op *op, const struct store_batch *b, struct scram_keys *out)
{
    slice secret = store_text(b, 0, 0, COL_SECRET), rest = store_text(b, 0, 0, COL_FACTORS);
    int64_t chosen = setting_int(&auth_scram_iterations), salt = 0;
    struct factor f;
    for (bool first = true; next_factor(&rest, &f); first = false) {
        if (!first && !would_have_changed(op, secret, &f))
            continue;
        chosen = f.iterations;
        salt = first ? 0 : f.since_us;
    }
    slice name = op->jid;
    if (salt != 0)
        name = slice_of(arena_printf(op->arena, "%.*s %lld", SLICE_ARG(op->jid), (long long)salt));
    scram_fake_keys(out, op->hash, name, secret, (uint32_t)chosen);
}

static enum err read_credentials(struct auth_op *op, enum store_result r,
                                 const struct store_batch *b)
{
    op->store = NULL;
    if (r != STORE_OK)
        return err_of_store(r);
    if (store_row_count(b, 0) != 1)
        return E_CORRUPT;
    struct credentials *c = &op->found;
    int64_t hash = store_int(b, 0, 0, COL_HASH);
    if (store_text(b, 0, 0, COL_SALT).len > 0 && hash >= 0 && hash < SCRAM_HASH_COUNT)
        op->hash = (enum scram_hash)hash;
    struct scram_keys fake; /* made for existing accounts, too, so that the time tells nothing */
    make_fake(op, b, &fake);
    if (read_keys(&c->keys, op->hash, b)) {
        c->account = store_int(b, 0, 0, COL_ID);
        c->disabled = store_int(b, 0, 0, COL_DISABLED) != 0;
        c->generation = store_int(b, 0, 0, COL_GENERATION);
        op->lacks = (unsigned)store_int(b, 0, 0, COL_LACKS) & HASHES_ALL;
    } else {
        c->keys = fake;
        c->unkeyed = store_int(b, 0, 0, COL_ID) != 0;
    }
    mem_wipe(&fake, sizeof fake);
    return OK;
}

/* hash: enum scram_hash, or ANY_HASH. */
static void credentials_submit_read(struct auth_op *op, int hash, store_done_fn *done)
{
    op->hash = hash == ANY_HASH ? SCRAM_SHA_256 : (enum scram_hash)hash;
    struct store_batch *b = store_read(op->auth.store, 0);
    STORE_ADD(b, &credential_stmt_get, STORE_ANY_ROWS, SV_T(op->jid), SV_I(hash));
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
    credentials_submit_read(op, (int)hash, get_read);
    return op;
}

static slice key_slice(const uint8_t *key, enum scram_hash h)
{
    return (slice){ (const char *)key, scram_hash_len(h) };
}

static slice other_slice(const struct scram_keys *k, const uint8_t *key, enum scram_hash h)
{
    return k->two_forms ? key_slice(key, h) : (slice){ "", 0 };
}

static void add_scram_keys(struct store_batch *b, const struct store_stmt *stmt, int rows,
                           struct store_val account, enum scram_hash h, const struct scram_keys *k)
{
    slice salt = { (const char *)k->salt, k->salt_len };
    STORE_ADD(b, stmt, rows, account, SV_I(h), SV_B(salt), SV_I(k->iterations),
              SV_B(key_slice(k->stored_key, h)), SV_B(key_slice(k->server_key, h)),
              SV_B(other_slice(k, k->other_stored, h)), SV_B(other_slice(k, k->other_server, h)));
}

/* Keys of a password that has not changed: those that are there stay. */
static void add_hash(struct store_batch *b, int64_t account, enum scram_hash h,
                     const struct scram_keys *k)
{
    add_scram_keys(b, &credential_stmt_add_hash, STORE_ANY_ROWS, SV_I(account), h, k);
    STORE_ADD(b, &credential_stmt_lacks_no_more, STORE_ANY_ROWS, SV_I(account),
              SV_I(HASHES_ALL & ~(1u << h)));
}

/* Keys of the hashes in `bits`. */
static void derive_some(struct scram_keys keys[SCRAM_HASH_COUNT], unsigned bits, slice password)
{
    uint32_t iterations = (uint32_t)setting_int(&auth_scram_iterations);
    for (enum scram_hash h = 0; h < SCRAM_HASH_COUNT; h++) {
        if ((bits >> h & 1) == 0)
            continue;
        char salt[SCRAM_SALT_LEN];
        rand_bytes(salt, sizeof salt);
        scram_derive(&keys[h], h, password, (slice){ salt, sizeof salt }, iterations);
    }
}

/* The attempt is counted here, where it is made, so that it counts even if nobody waits for the
 * result. It may have to wait for its turn first. */
static void verify_run(struct work *w)
{
    struct auth_op *op = CONTAINER_OF(w, struct auth_op, work);
    op->verdict = OK;
    if (op->wait_ms == 0)
        op->verdict = throttle_take(op->auth.throttle, &op->try, clock_mono_us(), &op->wait_ms);
    else
        op->wait_ms = 0;
    if (op->verdict != OK || op->wait_ms > 0)
        return;
    bool fits = scram_verify(&op->found.keys, op->hash, op->password) && op->found.account != 0;
    if (fits)
        throttle_passed(op->auth.throttle, &op->try, clock_mono_us());
    else
        throttle_failed(op->auth.throttle, &op->try, clock_mono_us());
    op->verdict = fits ? OK : E_AUTH;
    if (fits)
        derive_some(op->keys, op->lacks, op->password);
}

/* The password is known now, so that the account gets the keys that it lacks. If that fails, it is
 * done at a later login. */
static void upgraded(void *arg, enum store_result r, const struct store_batch *b)
{
    struct auth_op *op = arg;
    (void)b;
    op->store = NULL;
    if (r == STORE_OK)
        hashes_changed();
    op_end(op, OK);
}

static void upgrade(struct auth_op *op)
{
    struct store_batch *b = store_write(op->auth.store, credentials_lane(op->jid));
    ensure(op->found.account != 0);
    for (enum scram_hash h = 0; h < SCRAM_HASH_COUNT; h++)
        if ((op->lacks >> h & 1) != 0)
            add_hash(b, op->found.account, h, &op->keys[h]);
    op_submit(op, b, 0, upgraded);
}

static void verify_done(struct work *w);

static void verify_turn_came(struct timer *t, struct loop *loop)
{
    (void)loop;
    op_work(CONTAINER_OF(t, struct auth_op, turn), verify_run, verify_done);
}

static void verify_done(struct work *w)
{
    struct auth_op *op = CONTAINER_OF(w, struct auth_op, work);
    if (op->wait_ms == 0 || op->canceled || w->skipped) {
        if (!op->canceled && !w->skipped && op->verdict == OK && op->lacks != 0)
            upgrade(op);
        else
            op_end(op, w->skipped ? E_AGAIN : op->verdict);
        return;
    }
    op->waits = ON_TURN;
    op->turn.fn = verify_turn_came;
    timer_set(op->auth.loop, &op->turn, op->wait_ms);
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

struct auth_op *credentials_verify(const struct auth *a, const struct credentials_check *check,
                                   credentials_fn *done, void *arg)
{
    struct auth_op *op = op_new(a, check->jid, done, arg);
    op->password = slice_dup(op->arena, check->password);
    op->try = *check->try;
    op->try.jid = op->jid;
    op->lane = op->try.address;
    credentials_submit_read(op, ANY_HASH, verify_read);
    return op;
}

/* --- writing --- */

static void write_done(void *arg, enum store_result r, const struct store_batch *b)
{
    struct auth_op *op = arg;
    op->store = NULL;
    enum err e = err_of_store(r);
    if (e == OK && store_row_count(b, 0) > 0) /* of a new password */
        op->found.generation = store_int(b, 0, 0, 0);
    if (e == E_CONFLICT) /* a statement found no row to change */
        e = op->create ? E_EXISTS : E_NOTFOUND;
    if (e == OK && !op->create)
        hashes_changed();
    op_end(op, e);
}

static void derive_done(struct work *w)
{
    struct auth_op *op = CONTAINER_OF(w, struct auth_op, work);
    if (op->canceled || w->skipped) {
        op_end(op, E_AGAIN);
        return;
    }
    struct store_batch *b = store_write(op->auth.store, credentials_lane(op->jid));
    if (op->create)
        STORE_ADD(b, &credential_stmt_create, 1, SV_T(op->jid), SV_I(loop_wall_us(op->auth.loop)),
                  SV_T(look_of(op->jid, op->arena)), SV_I(op->unlike));
    else
        STORE_ADD(b, &credential_stmt_bump, 1, SV_T(op->jid));
    devices_add_forget(b, op->jid);
    slice note = slice_of(arena_printf(op->arena, " %llu:%u",
                                       (unsigned long long)loop_wall_us(op->auth.loop),
                                       op->keys[0].iterations));
    STORE_ADD(b, &credential_stmt_factor, STORE_ANY_ROWS, SV_I(op->keys[0].iterations), SV_T(note));
    for (enum scram_hash h = 0; h < SCRAM_HASH_COUNT; h++)
        add_scram_keys(b, &credential_stmt_put, 1, SV_T(op->jid), h, &op->keys[h]);
    if (op->add != NULL)
        op->add(b, op->arg);
    op_submit(op, b, STORE_UNTIL_DONE, write_done);
}

void credentials_derive(struct scram_keys keys[SCRAM_HASH_COUNT], slice password)
{
    derive_some(keys, HASHES_ALL, password);
}

static void derive_run(struct work *w)
{
    struct auth_op *op = CONTAINER_OF(w, struct auth_op, work);
    credentials_derive(op->keys, op->password);
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
    op->unlike = n->unlike;
    return write_password(op, n->password);
}

struct auth_op *credentials_create(const struct auth *a, slice jid, slice password,
                                   credentials_fn *done, void *arg)
{
    return credentials_create_with(a, &(struct credentials_new){ .jid = jid, .password = password },
                                   done, arg);
}

struct auth_op *credentials_set(const struct auth *a, slice jid, slice password,
                                credentials_fn *done, void *arg)
{
    struct auth_op *op = op_new(a, jid, done, arg);
    op->lane = credentials_lane(jid);
    return write_password(op, password);
}

struct auth_op *credentials_add_hash(const struct auth *a, int64_t account, enum scram_hash hash,
                                     const struct scram_keys *keys, credentials_fn *done, void *arg)
{
    struct auth_op *op = op_new(a, (slice){ "", 0 }, done, arg);
    struct store_batch *b = store_write(a->store, (uint64_t)account);
    add_hash(b, account, hash, keys);
    op_submit(op, b, STORE_UNTIL_DONE, write_done);
    return op;
}

/* --- accounts that come and go --- */

void credentials_reserve(struct store_batch *b, slice name)
{
    STORE_ADD(b, &credential_stmt_reserve, 1, SV_T(name));
    STORE_ADD(b, &credential_stmt_unreserve, 1, SV_T(name));
}

static void credentials_inherit(struct store_batch *b, slice jid, credentials_inherit_fn *inherit)
{
    STORE_ADD(b, &credential_stmt_inherit, STORE_ANY_ROWS, SV_T(jid));
    inherit(b, jid);
    STORE_ADD(b, &credential_stmt_replaced, STORE_ANY_ROWS, SV_T(jid));
}

void credentials_port(struct store_batch *b, const struct credentials_ported *p, struct arena *tmp)
{
    if (p->inherit != NULL)
        STORE_ADD(b, &credential_stmt_aside, STORE_ANY_ROWS, SV_T(p->jid), SV_I(1));
    STORE_ADD(b, &credential_stmt_port, 1, SV_I(p->id), SV_T(p->jid), SV_I(p->now_us),
              SV_T(look_of(p->jid, tmp)), SV_I(p->disabled),
              SV_I(p->has == 0 ? 0 : HASHES_ALL & ~p->has));
    if (p->inherit != NULL)
        credentials_inherit(b, p->jid, p->inherit);
    for (enum scram_hash h = 0; h < SCRAM_HASH_COUNT; h++)
        if ((p->has & 1u << h) != 0)
            add_scram_keys(b, &credential_stmt_put, 1, SV_T(p->jid), h, &p->keys[h]);
}

void credentials_read(struct store_batch *b, int64_t id)
{
    STORE_ADD(b, &credential_stmt_keys, STORE_ANY_ROWS, SV_I(id));
}

bool credentials_row_keys(const struct store_batch *b, unsigned stmt, uint32_t row,
                          enum scram_hash *hash, struct scram_keys *out)
{
    int64_t h = store_int(b, stmt, row, 0);
    if (h < 0 || h >= SCRAM_HASH_COUNT)
        return false;
    *hash = (enum scram_hash)h;
    return read_keys_at(out, *hash, b, stmt, row, 1);
}

static void add_delete_keys(struct store_batch *b, int64_t account)
{
    devices_add_delete(b, account);
    STORE_ADD(b, &credential_stmt_delete_keys, STORE_ANY_ROWS, SV_I(account));
}

void credentials_add_delete(struct store_batch *b, int64_t account)
{
    add_delete_keys(b, account);
    STORE_ADD(b, &credential_stmt_delete, STORE_ANY_ROWS, SV_I(account));
}

void credentials_add_empty(struct store_batch *b, int64_t account, slice jid, uint64_t now_us,
                           credentials_inherit_fn *inherit)
{
    struct arena *tmp = arena_create(0);
    add_delete_keys(b, account);
    STORE_ADD(b, &credential_stmt_aside, STORE_ANY_ROWS, SV_T(jid), SV_I(0));
    STORE_ADD(b, &credential_stmt_empty, 1, SV_T(jid), SV_I(now_us), SV_T(look_of(jid, tmp)));
    credentials_inherit(b, jid, inherit);
    arena_destroy(&tmp);
}

/* --- listing --- */

static void credentials_list_read(void *arg, enum store_result r, const struct store_batch *b)
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
    op->listed(op->arg, err_of_store(r), rows, count);
    credentials_op_free(op);
}

struct auth_op *credentials_list(const struct auth *a, slice domain, slice after,
                                 credentials_list_fn *done, void *arg)
{
    struct auth_op *op = op_new(a, after, NULL, arg);
    op->listed = done;
    struct store_batch *b = store_read(a->store, 0);
    STORE_ADD(b, &credential_stmt_list, STORE_ANY_ROWS, SV_T(after), SV_T(domain),
              SV_I(CREDENTIALS_PAGE_MAX));
    op_submit(op, b, 0, credentials_list_read);
    return op;
}
