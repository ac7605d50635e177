#include "auth/hashes.h"
#include "auth/auth.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "store/store.h"
#include "xmpp/jid.h"
#include <pthread.h>

#define LACKING(domain)                                                                            \
    "SELECT " domain ", lacks, count(*) FROM account "                                             \
    "WHERE lacks <> 0 AND disabled = 0 GROUP BY 1, 2"
struct store_stmt hashes_stmt_lacking = {
    .name = "account.lacking",
    .sqlite = LACKING("substr(jid, instr(jid, '@') + 1)"),
    .pgsql = LACKING("split_part(jid, '@', 2)"),
    .params = "",
    .cols = "tii",
};

struct entry {
    struct entry *next;
    slice domain;
    struct hashes_lacking sum;
};

static struct {
    pthread_mutex_t lock;
    struct arena *arena; /* of the entries; NULL: there is none */
    struct entry *first;
    uint64_t changes, read; /* the second: those before the last look that was taken */
} table = { .lock = PTHREAD_MUTEX_INITIALIZER };

void hashes_count(struct hashes_lacking *sum, unsigned lacks, uint64_t accounts)
{
    sum->accounts += (lacks & HASHES_ALL) == 0 ? 0 : accounts;
    for (unsigned h = 0; h < SCRAM_HASH_COUNT; h++)
        sum->of[h] += (lacks >> h & 1) == 0 ? 0 : accounts;
}

unsigned hashes_lacked(const struct hashes_lacking *sum)
{
    unsigned bits = 0;
    for (unsigned h = 0; h < SCRAM_HASH_COUNT; h++)
        bits |= sum->of[h] > 0 ? 1u << h : 0;
    return bits;
}

/* With the lock. */
static struct entry *entry_of(slice domain)
{
    struct entry *e = table.first;
    while (e != NULL && !slice_eq(e->domain, domain))
        e = e->next;
    return e;
}

static void entry_add(slice domain, unsigned lacks, uint64_t accounts)
{
    struct entry *e = entry_of(domain);
    if (table.arena == NULL)
        table.arena = arena_create(0);
    if (e == NULL) {
        e = arena_new(table.arena, struct entry, 1);
        e->domain = slice_dup(table.arena, domain);
        e->next = table.first;
        table.first = e;
    }
    hashes_count(&e->sum, lacks, accounts);
}

struct hashes_lacking hashes_lacking(slice domain)
{
    struct hashes_lacking sum = { 0 };
    pthread_mutex_lock(&table.lock);
    const struct entry *e = entry_of(domain);
    if (e != NULL)
        sum = e->sum;
    pthread_mutex_unlock(&table.lock);
    return sum;
}

unsigned hashes_complete(slice domain)
{
    struct hashes_lacking sum = hashes_lacking(domain);
    return HASHES_ALL & ~hashes_lacked(&sum);
}

void hashes_stored(slice jid, unsigned lacks)
{
    if (lacks == 0)
        return;
    pthread_mutex_lock(&table.lock);
    table.changes++;
    entry_add(jid_split(jid).domain, lacks, 1);
    pthread_mutex_unlock(&table.lock);
}

void hashes_changed(void)
{
    pthread_mutex_lock(&table.lock);
    table.changes++;
    pthread_mutex_unlock(&table.lock);
}

bool hashes_any(void)
{
    pthread_mutex_lock(&table.lock);
    bool any = table.first != NULL;
    pthread_mutex_unlock(&table.lock);
    return any;
}

bool hashes_due(void)
{
    pthread_mutex_lock(&table.lock);
    bool due = table.changes != table.read;
    pthread_mutex_unlock(&table.lock);
    return due;
}

uint64_t hashes_ask(struct store_batch *b)
{
    store_add(b, &hashes_stmt_lacking, STORE_ANY_ROWS, NULL, 0);
    pthread_mutex_lock(&table.lock);
    uint64_t asked = table.changes;
    pthread_mutex_unlock(&table.lock);
    return asked;
}

void hashes_take(const struct store_batch *b, uint64_t asked)
{
    pthread_mutex_lock(&table.lock);
    ensure(asked <= table.changes);
    if (asked == table.changes) {
        table.read = asked;
        arena_destroy(&table.arena);
        table.first = NULL;
        for (uint32_t i = 0; i < store_row_count(b, 0); i++)
            entry_add(store_text(b, 0, i, 0), (unsigned)store_int(b, 0, i, 1),
                      (uint64_t)store_int(b, 0, i, 2));
    }
    pthread_mutex_unlock(&table.lock);
}

static void hashes_loaded(void *arg, enum store_result r, const struct store_batch *b)
{
    if (r == STORE_OK)
        hashes_take(b, *(const uint64_t *)arg);
}

enum err hashes_load(struct store *store, struct why *why)
{
    struct store_batch *b = store_read(store, 0);
    uint64_t asked = hashes_ask(b);
    enum store_result r = store_run(b, hashes_loaded, &asked);
    if (r == STORE_OK)
        return OK;
    why_set(why, "it cannot be read which keys accounts lack: %s", store_result_name(r));
    return E_DOWN;
}

const char *hashes_names(unsigned bits, struct arena *arena)
{
    static const enum sasl_mech mechs[SCRAM_HASH_COUNT] = { SASL_SCRAM_SHA_1, SASL_SCRAM_SHA_256,
                                                            SASL_SCRAM_SHA_512 };
    const char *text = NULL;
    ensure((bits & HASHES_ALL) != 0);
    for (unsigned h = 0; h < SCRAM_HASH_COUNT; h++) {
        if ((bits >> h & 1) == 0)
            continue;
        bool last = (bits & HASHES_ALL) >> h == 1;
        const char *name = sasl_mech_name(mechs[h]);
        text =
            text == NULL ? name : arena_printf(arena, "%s%s%s", text, last ? " and " : ", ", name);
    }
    return text;
}
