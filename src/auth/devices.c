#include "auth/devices.h"
#include "auth/schema_private.h"
#include "auth/seal.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/hex.h"
#include "base/mem.h"
#include "io/loop.h"
#include <stdatomic.h>

enum { SLOT_CURRENT, SLOT_NEW };

struct store_stmt device_stmt_tokens = {
    .name = "device.tokens",
    /* Gives one row for unknown accounts, too, as for passwords. */
    .sql = "SELECT a.id, a.disabled, t.slot, t.mech, t.secret, t.created_us, t.expires_us, "
           "a.generation "
           "FROM auth_secret s LEFT JOIN account a ON a.jid = $1 "
           "LEFT JOIN fast_token t ON t.account = a.id AND t.device = $2 "
           "WHERE s.id = 1 ORDER BY t.slot",
    .params = "tb",
    .cols = "IIITTIII",
};
struct store_stmt device_stmt_put = {
    .name = "device.put",
    .sql = "INSERT INTO device(account, id, software, device, address, created_us, seen_us) "
           "SELECT id, $2, $3, $4, $5, $6, $6 FROM account "
           "WHERE id = $1 AND generation = $7 "
           "ON CONFLICT(account, id) DO UPDATE SET software = excluded.software, "
           "device = excluded.device, address = excluded.address, seen_us = excluded.seen_us",
    .params = "ibtttii",
    .cols = "",
};
struct store_stmt device_stmt_trim = {
    .name = "device.trim",
    .sql = "DELETE FROM device WHERE account = $1 AND id IN (SELECT id FROM device "
           "WHERE account = $1 ORDER BY seen_us DESC, id LIMIT 1000 OFFSET $2)",
    .params = "ii",
    .cols = "",
};
struct store_stmt device_stmt_trim_tokens = {
    .name = "device.trim-tokens",
    .sql = "DELETE FROM fast_token WHERE account = $1 AND device NOT IN "
           "(SELECT id FROM device WHERE account = $1)",
    .params = "i",
    .cols = "",
};
struct store_stmt device_stmt_count = {
    .name = "device.count",
    .sql = "UPDATE fast_token SET count = $4 "
           "WHERE account = $1 AND device = $2 AND secret = $3 AND count < $4",
    .params = "ibti",
    .cols = "",
};
struct store_stmt device_stmt_alive = {
    .name = "device.alive",
    .sql = "UPDATE fast_token SET count = count "
           "WHERE account = $1 AND device = $2 AND secret = $3",
    .params = "ibt",
    .cols = "",
};
/* If two logins use the same new token, the second one finds that it is the current one already. */
struct store_stmt device_stmt_drop_slot = {
    .name = "device.drop-slot",
    .sql = "DELETE FROM fast_token WHERE account = $1 AND device = $2 AND slot = 0 "
           "AND EXISTS (SELECT 1 FROM fast_token f WHERE f.account = $1 AND f.device = $2 "
           "AND f.slot = 1 AND f.secret = $3)",
    .params = "ibt",
    .cols = "",
};
struct store_stmt device_stmt_promote = {
    .name = "device.promote",
    .sql = "UPDATE fast_token SET slot = 0 "
           "WHERE account = $1 AND device = $2 AND slot = 1 AND secret = $3",
    .params = "ibt",
    .cols = "",
};
struct store_stmt device_stmt_drop_used = {
    .name = "device.drop-used",
    .sql = "DELETE FROM fast_token WHERE account = $1 AND device = $2 AND secret = $3",
    .params = "ibt",
    .cols = "",
};

struct store_stmt device_stmt_issue = {
    .name = "device.issue",
    .sql = "INSERT INTO fast_token(account, device, slot, mech, secret, created_us, expires_us, "
           "count) VALUES ($1, $2, 1, $3, $4, $5, $6, -1) "
           "ON CONFLICT(account, device, slot) DO UPDATE SET mech = excluded.mech, "
           "secret = excluded.secret, created_us = excluded.created_us, "
           "expires_us = excluded.expires_us, count = excluded.count",
    .params = "ibttii",
    .cols = "",
};
struct store_stmt device_stmt_list = {
    .name = "device.list",
    .sql = "SELECT d.id, d.software, d.device, d.address, d.created_us, d.seen_us, "
           "(SELECT MAX(t.expires_us) FROM fast_token t "
           "WHERE t.account = d.account AND t.device = d.id) "
           "FROM device d JOIN account a ON a.id = d.account WHERE a.jid = $1 "
           "ORDER BY d.seen_us DESC, d.id",
    .params = "t",
    .cols = "btttiiI",
};
struct store_stmt device_stmt_revoke_tokens = {
    .name = "device.revoke-tokens",
    .sql = "DELETE FROM fast_token WHERE account = (SELECT id FROM account WHERE jid = $1) "
           "AND device = $2",
    .params = "tb",
    .cols = "",
};
struct store_stmt device_stmt_revoke = {
    .name = "device.revoke",
    .sql = "DELETE FROM device WHERE account = (SELECT id FROM account WHERE jid = $1) "
           "AND id = $2",
    .params = "tb",
    .cols = "",
};
struct store_stmt device_stmt_forget = {
    .name = "device.forget",
    .sql = "DELETE FROM fast_token WHERE account = (SELECT id FROM account WHERE jid = $1)",
    .params = "t",
    .cols = "",
};
struct store_stmt device_stmt_delete_tokens = {
    .name = "device.delete-tokens",
    .sql = "DELETE FROM fast_token WHERE account = $1",
    .params = "i",
    .cols = "",
};
struct store_stmt device_stmt_delete = {
    .name = "device.delete",
    .sql = "DELETE FROM device WHERE account = $1",
    .params = "i",
    .cols = "",
};

/* --- operations: each one batch --- */

struct device_op {
    struct store_op *store;
    const struct auth *auth;
    device_tokens_fn *tokens;
    device_list_fn *listed;
    device_done_fn *done;
    device_revoked_fn *revoked;
    uint64_t mark;                 /* of a login */
    uint8_t device[DEVICE_ID_LEN]; /* of tokens */
    enum err missing;              /* the error for an unexpected row count */
    uint32_t deadline_ms;          /* 0: the default */
    void *arg;
};

void device_cancel(struct device_op **pop)
{
    struct device_op *op = *pop;
    *pop = NULL;
    if (op == NULL)
        return;
    store_cancel(&op->store);
    mem_free(&op);
}

static struct device_op *auth_devices_submit(const struct auth *a, struct store_batch *b,
                                             store_done_fn *done, const struct device_op *part)
{
    struct device_op *op = mem_new(struct device_op);
    *op = *part;
    op->auth = a;
    op->store = store_submit(b, a->loop, op->deadline_ms, done, op);
    return op;
}

static enum err auth_devices_err_of(const struct device_op *op, enum store_result r)
{
    return r == STORE_CONFLICT ? op->missing : err_of_store(r);
}

static slice id_slice(const uint8_t id[DEVICE_ID_LEN])
{
    return (slice){ (const char *)id, DEVICE_ID_LEN };
}

/* The stored form of a token. A token that is not sealed never matches. */
static slice auth_devices_context_of(int64_t account, const uint8_t id[DEVICE_ID_LEN],
                                     struct arena *tmp)
{
    char hex[2 * DEVICE_ID_LEN + 1];
    hex_encode(hex, id_slice(id));
    return slice_of(arena_printf(tmp, "fast_token %lld %s", (long long)account, hex));
}

static slice sealed(slice token, const struct device_login *l, struct arena *tmp)
{
    if (token.len == 0 || token.len > SEAL_PLAIN_MAX || !seal_ready())
        return SLICE("");
    return seal(token, auth_devices_context_of(l->account, l->agent->id, tmp), tmp);
}

enum {
    COL_ACCOUNT,
    COL_DISABLED,
    COL_SLOT,
    COL_MECH,
    COL_SECRET,
    COL_CREATED,
    COL_EXPIRES,
    COL_GENERATION
};

static void tokens_read(void *arg, enum store_result r, const struct store_batch *b)
{
    struct device_op *op = arg;
    struct device_tokens t = { 0 };
    struct arena *tmp = loop_scratch(op->auth->loop);
    uint32_t rows = r == STORE_OK ? store_row_count(b, 0) : 0;
    if (rows > 0) {
        t.account = store_int(b, 0, 0, COL_ACCOUNT);
        t.disabled = store_int(b, 0, 0, COL_DISABLED) != 0;
        t.generation = store_int(b, 0, 0, COL_GENERATION);
    }
    for (uint32_t i = 0; i < rows && t.count < DEVICE_TOKENS_MAX; i++) {
        struct device_token *k = &t.token[t.count];
        if (!unseal(&k->secret, store_text(b, 0, i, COL_SECRET),
                    auth_devices_context_of(t.account, op->device, tmp), tmp) ||
            k->secret.len == 0 || k->secret.len > DEVICE_SECRET_MAX ||
            sasl_mech_find(store_text(b, 0, i, COL_MECH), &k->mech) != OK)
            continue;
        k->fresh = store_int(b, 0, i, COL_SLOT) == SLOT_NEW;
        k->created_us = (uint64_t)store_int(b, 0, i, COL_CREATED);
        k->expires_us = (uint64_t)store_int(b, 0, i, COL_EXPIRES);
        t.count++;
    }
    op->tokens(op->arg, auth_devices_err_of(op, r), r == STORE_OK ? &t : NULL);
    mem_free(&op);
}

struct device_op *device_tokens_get(const struct auth *a, slice jid,
                                    const uint8_t id[DEVICE_ID_LEN], device_tokens_fn *done,
                                    void *arg)
{
    struct store_batch *b = store_read(a->store, credentials_lane(jid));
    STORE_ADD(b, &device_stmt_tokens, STORE_ANY_ROWS, SV_T(jid), SV_B(id_slice(id)));
    struct device_op op = { .tokens = done, .arg = arg };
    memcpy(op.device, id, sizeof op.device);
    return auth_devices_submit(a, b, tokens_read, &op);
}

/* Hashes of recorded logins, each over all that was recorded, the hour, and the generation, which a
 * revocation increments. */
enum { KEPT_MAX = 4096 };
static const uint64_t hour_us = 3600000000;
static _Atomic uint64_t kept[KEPT_MAX];

enum { MARK_BYTES_MAX = 4096 };

static uint64_t mark_of(const struct device_login *l, uint64_t now_us)
{
    struct buf b;
    buf_init(&b, MARK_BYTES_MAX);
    buf_printf(&b, "%lld %lld %llu ", (long long)l->account, (long long)l->generation,
               (unsigned long long)(now_us / hour_us));
    buf_add(&b, id_slice(l->agent->id));
    buf_printf(&b, "%.*s\n%.*s\n%.*s", SLICE_ARG(l->agent->software), SLICE_ARG(l->agent->device),
               SLICE_ARG(l->address));
    uint64_t mark = hash_keyed(buf_slice(&b)) | 1; /* fits: the texts of an agent are short */
    buf_fini(&b);
    return mark;
}

bool device_kept(const struct device_login *l, uint64_t now_us)
{
    if (l->issue.len > 0 || l->was_fresh || l->invalidate || l->has_count)
        return false;
    uint64_t mark = mark_of(l, now_us);
    return atomic_load_explicit(&kept[(mark >> 1) % KEPT_MAX], memory_order_relaxed) == mark;
}

static void auth_devices_written(void *arg, enum store_result r, const struct store_batch *b)
{
    struct device_op *op = arg;
    (void)b;
    if (r == STORE_OK)
        atomic_store_explicit(&kept[(op->mark >> 1) % KEPT_MAX], op->mark, memory_order_relaxed);
    op->done(op->arg, auth_devices_err_of(op, r));
    mem_free(&op);
}

/* The order matters: the used token becomes the current one, then its count is set, then a new
 * token may be issued, then the used one may be deleted. */
static void add_tokens(struct store_batch *b, const struct device_login *l, uint64_t now_us,
                       struct arena *tmp)
{
    slice id = id_slice(l->agent->id), mech = { "", 0 };
    slice used = sealed(l->used, l, tmp), issue = sealed(l->issue, l, tmp);
    if (l->issue.len > 0)
        mech = slice_of(sasl_mech_name(l->issue_mech));
    if (l->was_fresh) {
        STORE_ADD(b, &device_stmt_drop_slot, STORE_ANY_ROWS, SV_I(l->account), SV_B(id),
                  SV_T(used));
        STORE_ADD(b, &device_stmt_promote, STORE_ANY_ROWS, SV_I(l->account), SV_B(id), SV_T(used));
    }
    if (l->has_count)
        STORE_ADD(b, &device_stmt_count, 1, SV_I(l->account), SV_B(id), SV_T(used), SV_I(l->count));
    else if (l->used.len > 0) /* it may have been revoked since it was read */
        STORE_ADD(b, &device_stmt_alive, 1, SV_I(l->account), SV_B(id), SV_T(used));
    if (issue.len > 0)
        STORE_ADD(b, &device_stmt_issue, 1, SV_I(l->account), SV_B(id), SV_T(mech), SV_T(issue),
                  SV_I(now_us), SV_I(l->expires_us));
    if (l->invalidate)
        STORE_ADD(b, &device_stmt_drop_used, 1, SV_I(l->account), SV_B(id), SV_T(used));
}

struct device_op *device_login(const struct auth *a, const struct device_login *l,
                               device_done_fn *done, void *arg)
{
    uint64_t now_us = loop_wall_us(a->loop);
    struct store_batch *b = store_write(a->store, credentials_lane(l->jid));
    STORE_ADD(b, &device_stmt_put, 1, SV_I(l->account), SV_B(id_slice(l->agent->id)),
              SV_T(l->agent->software), SV_T(l->agent->device), SV_T(l->address), SV_I(now_us),
              SV_I(l->generation));
    add_tokens(b, l, now_us, loop_scratch(a->loop));
    STORE_ADD(b, &device_stmt_trim, STORE_ANY_ROWS, SV_I(l->account), SV_I(DEVICES_MAX));
    STORE_ADD(b, &device_stmt_trim_tokens, STORE_ANY_ROWS, SV_I(l->account));
    return auth_devices_submit(
        a, b, auth_devices_written,
        &(struct device_op){
            .done = done, .mark = mark_of(l, now_us), .missing = E_CONFLICT, .arg = arg });
}

static void auth_devices_list_read(void *arg, enum store_result r, const struct store_batch *b)
{
    struct device_op *op = arg;
    struct device_row rows[DEVICES_MAX];
    uint32_t count = 0, found = r == STORE_OK ? store_row_count(b, 0) : 0;
    for (uint32_t i = 0; i < found && count < DEVICES_MAX; i++) {
        slice id = store_text(b, 0, i, 0);
        if (id.len != DEVICE_ID_LEN)
            continue;
        struct device_row *row = &rows[count++];
        *row = (struct device_row){ .software = store_text(b, 0, i, 1),
                                    .device = store_text(b, 0, i, 2),
                                    .address = store_text(b, 0, i, 3),
                                    .created_us = (uint64_t)store_int(b, 0, i, 4),
                                    .seen_us = (uint64_t)store_int(b, 0, i, 5),
                                    .expires_us = (uint64_t)store_int(b, 0, i, 6) };
        memcpy(row->id, id.ptr, DEVICE_ID_LEN);
    }
    op->listed(op->arg, auth_devices_err_of(op, r), rows, count);
    mem_free(&op);
}

struct device_op *device_list(const struct auth *a, slice jid, device_list_fn *done, void *arg)
{
    struct store_batch *b = store_read(a->store, credentials_lane(jid));
    STORE_ADD(b, &device_stmt_list, STORE_ANY_ROWS, SV_T(jid));
    return auth_devices_submit(a, b, auth_devices_list_read,
                               &(struct device_op){ .listed = done, .arg = arg });
}

static void auth_devices_revoked(void *arg, enum store_result r, const struct store_batch *b)
{
    struct device_op *op = arg;
    op->revoked(op->arg, auth_devices_err_of(op, r), r == STORE_OK ? store_int(b, 0, 0, 0) : 0);
    mem_free(&op);
}

struct device_op *device_revoke(const struct auth *a, slice jid, const uint8_t id[DEVICE_ID_LEN],
                                device_revoked_fn *done, void *arg)
{
    struct store_batch *b = store_write(a->store, credentials_lane(jid));
    STORE_ADD(b, &credential_stmt_bump, 1, SV_T(jid));
    STORE_ADD(b, &device_stmt_revoke_tokens, STORE_ANY_ROWS, SV_T(jid), SV_B(id_slice(id)));
    STORE_ADD(b, &device_stmt_revoke, 1, SV_T(jid), SV_B(id_slice(id)));
    return auth_devices_submit(
        a, b, auth_devices_revoked,
        &(struct device_op){ .revoked = done,
                             .missing = E_NOTFOUND,
                             .deadline_ms = STORE_UNTIL_DONE, /* its sessions end then */
                             .arg = arg });
}

void devices_add_forget(struct store_batch *b, slice jid)
{
    STORE_ADD(b, &device_stmt_forget, STORE_ANY_ROWS, SV_T(jid));
}

void devices_add_delete(struct store_batch *b, int64_t account)
{
    STORE_ADD(b, &device_stmt_delete_tokens, STORE_ANY_ROWS, SV_I(account));
    STORE_ADD(b, &device_stmt_delete, STORE_ANY_ROWS, SV_I(account));
}
