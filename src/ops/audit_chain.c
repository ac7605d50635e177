#include "ops/audit_chain.h"
#include "auth/seal.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/log.h"
#include "store/store.h"
#include <openssl/evp.h>

enum { HASHED_BYTES_MAX = (AUDIT_FIELDS + 2) * (AUDIT_BYTES_MAX + 64) };

struct log_area log_audit = { .name = "audit", .whole = true };

struct store_stmt audit_last_stmt = {
    .name = "audit.last",
    .sql = "SELECT id, hash, (SELECT min(id) FROM audit_log) FROM audit_log "
           "ORDER BY id DESC LIMIT 1",
    .params = "",
    .cols = "iti",
};
struct store_stmt audit_head_stmt = {
    .name = "audit.head",
    .sql = "SELECT sealed FROM audit_head WHERE id = 1",
    .params = "",
    .cols = "t",
};
struct store_stmt audit_page_stmt = {
    .name = "audit.page",
    .sql = "SELECT id, at_us, actor, peer, role, command, args, result, was, became, hash "
           "FROM audit_log WHERE id > $1 ORDER BY id LIMIT $2",
    .params = "ii",
    .cols = "iittttttttt",
};

void audit_texts_of(const struct store_batch *b, uint32_t row, struct audit_texts *out)
{
    out->at_us = (uint64_t)store_int(b, 0, row, 1);
    for (uint32_t i = 0; i < AUDIT_FIELDS; i++)
        out->text[i] = store_text(b, 0, row, 2 + i);
}

void audit_hash(char out[AUDIT_HASH + 1], slice before, int64_t id, const struct audit_texts *t)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    struct buf bytes;
    buf_init(&bytes, HASHED_BYTES_MAX);
    buf_printf(&bytes, "%zu:%.*s %lld %llu", before.len, SLICE_ARG(before), (long long)id,
               (unsigned long long)t->at_us);
    for (unsigned i = 0; i < AUDIT_FIELDS; i++) {
        buf_printf(&bytes, " %zu:", t->text[i].len);
        buf_add(&bytes, t->text[i]);
    }
    slice all = buf_slice(&bytes);
    if (bytes.overflow || EVP_Digest(all.ptr, all.len, hash, &len, EVP_sha256(), NULL) != 1)
        len = 0;
    hex_encode(out, (slice){ (const char *)hash, len });
    buf_fini(&bytes);
}

/* The head says which entries there are. It is sealed with the key of the node (auth/seal.h), which
 * is not in the database: somebody who has only the database can compute hashes, but no head. So
 * entries that are missing at either end are found, and a chain that was written anew. A head that
 * was there before fits the entries of that time, also if it was put back: only a copy elsewhere
 * shows that. */
slice audit_head_text(const struct audit_end *end, struct arena *tmp)
{
    const char *text =
        arena_printf(tmp, "%lld %lld %s", (long long)end->first, (long long)end->number, end->hash);
    if (end->reset > end->first)
        text = arena_printf(tmp, "%s %lld", text, (long long)end->reset);
    return slice_of(text);
}

/* The reverse. */
static bool head_parse(slice text, struct audit_end *end)
{
    slice first, number, hash, reset;
    bool has = slice_cut(text, ' ', &first, &text) && slice_cut(text, ' ', &number, &text);
    *end = (struct audit_end){ 0 };
    if (!has || !slice_int(first, &end->first) || !slice_int(number, &end->number))
        return false;
    bool was_reset = slice_cut(text, ' ', &hash, &reset);
    if (hash.len > AUDIT_HASH || (was_reset && !slice_int(reset, &end->reset)))
        return false;
    memcpy(end->hash, hash.ptr, hash.len);
    return true;
}

bool audit_head_read(const struct store_batch *b, unsigned stmt, struct audit_end *out)
{
    struct arena *tmp = arena_create(0);
    slice plain = { 0 };
    bool fits = store_row_count(b, stmt) > 0 && seal_ready() &&
                unseal(&plain, store_text(b, stmt, 0, 0), SLICE(AUDIT_HEAD_CONTEXT), tmp) &&
                head_parse(plain, out);
    arena_destroy(&tmp);
    return fits;
}

bool audit_head_fits(const struct store_batch *b, unsigned stmt, struct audit_end *end)
{
    struct audit_end head;
    if (!seal_ready() || (store_row_count(b, stmt) == 0 && end->number == 0))
        return true;
    if (!audit_head_read(b, stmt, &head) || head.first != end->first ||
        head.number != end->number || strcmp(head.hash, end->hash) != 0)
        return false;
    end->reset = head.reset;
    return true;
}

static struct {
    bool begun;
    struct list waiters; /* struct audit_waiter */
} waiting;

void audit_wait_begin(void)
{
    waiting.begun = false;
    list_init(&waiting.waiters);
}

bool audit_has_begun(void) { return waiting.begun; }

void audit_wait(struct audit_waiter *a)
{
    ensure(a->fn != NULL && !list_linked(&a->node));
    if (waiting.begun)
        a->fn(a);
    else
        list_append(&waiting.waiters, &a->node);
}

void audit_wake(bool begun)
{
    waiting.begun = waiting.begun || begun;
    LIST_EACH (it, &waiting.waiters) {
        struct audit_waiter *a = CONTAINER_OF(it, struct audit_waiter, node);
        list_remove(it);
        a->fn(a);
    }
    ensure(!begun || list_empty(&waiting.waiters));
}
