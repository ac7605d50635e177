#include "ops/access_table.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "home/node.h"
#include "ops/admins.h"
#include "xmpp/jid.h"
#include <pthread.h>
#include <stdatomic.h>

static const struct role built_in[] = {
    { SLICE_INIT("administrator"), SLICE_INIT("*"), "everything" },
    { SLICE_INIT("operator"),
      SLICE_INIT("*.read server.write log.write tests.write streams.write !compliance.* !audit.* "
                 "!admins.*"),
      "reads, restarts, traces, tests, and ends and tries links with other servers" },
    { SLICE_INIT("help-desk"), SLICE_INIT("users.* sessions.* devices.* contacts.* templates.read"),
      "users with their passwords, sessions, devices and contacts" },
    { SLICE_INIT("auditor"), SLICE_INIT("*.read"), "reads everything, with the audit log" },
    { SLICE_INIT("viewer"), SLICE_INIT("*.read !compliance.* !audit.* !admins.* !trace.*"),
      "reads how the server does" },
};
enum { BUILT_IN = sizeof built_in / sizeof built_in[0], TABLES = 5 };

struct store_stmt access_roles_stmt = {
    .name = "access.roles",
    .sql = "SELECT name, grants FROM access_role ORDER BY name LIMIT 100",
    .params = "",
    .cols = "tt",
};
struct store_stmt access_tokens_stmt = {
    .name = "access.tokens",
    .sql = "SELECT name, hash, role, scope, expires_us, created_us, used_us, made_by "
           "FROM access_token ORDER BY name LIMIT 1000",
    .params = "",
    .cols = "ttttiiit",
};
struct store_stmt access_admins_stmt = {
    .name = "access.admins",
    .sql = "SELECT a.jid, a.role, CAST(COALESCE((SELECT disabled FROM account WHERE "
           "account.jid = a.jid), 1) AS BIGINT) FROM access_admin a ORDER BY a.jid LIMIT 1000",
    .params = "",
    .cols = "tti",
};
struct store_stmt access_persons_stmt = {
    .name = "access.persons",
    .sql = "SELECT name, role, disabled, generation, created_us, changed_us FROM administrator "
           "ORDER BY name LIMIT 1000",
    .params = "",
    .cols = "ttiiii",
};
struct store_stmt access_factors_stmt = {
    .name = "access.factors",
    .sql = "SELECT name FROM admin_factor WHERE confirmed = 1 ORDER BY name LIMIT 2000",
    .params = "",
    .cols = "t",
};
struct store_stmt access_disabled_stmt = {
    .name = "access.disabled",
    .sql = "SELECT jid FROM account WHERE jid = $1 AND disabled <> 0",
    .params = "t",
    .cols = "t",
};
struct store_stmt access_used_stmt = {
    .name = "access.used",
    .sql = "UPDATE access_token SET used_us = $2 WHERE hash = $1 AND used_us < $2",
    .params = "ti",
    .cols = "",
};

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static struct access_table *table;
static uint64_t table_number; /* of the reading that it is of */
static _Atomic uint64_t readings;

const struct access_table *access_table_begin(void)
{
    pthread_rwlock_rdlock(&lock);
    return table;
}

void access_table_end(void) { pthread_rwlock_unlock(&lock); }

const struct role *access_role(const struct access_table *t, slice name)
{
    for (uint32_t i = 0; i < t->role_count; i++)
        if (slice_eq(t->roles[i].name, name))
            return &t->roles[i];
    return NULL;
}

const struct token *access_token(const struct access_table *t, slice name)
{
    for (uint32_t i = 0; t != NULL && i < t->token_count; i++)
        if (slice_eq(t->tokens[i].name, name))
            return &t->tokens[i];
    return NULL;
}

const struct person *access_person(const struct access_table *t, slice name)
{
    for (uint32_t i = 0; t != NULL && i < t->person_count; i++)
        if (slice_eq(t->persons[i].name, name))
            return &t->persons[i];
    return NULL;
}

const struct admin *access_admin(const struct access_table *t, slice bare)
{
    for (uint32_t i = 0; t != NULL && i < t->admin_count; i++)
        if (slice_eq(t->admins[i].jid, bare))
            return &t->admins[i];
    return NULL;
}

bool access_account_disabled(const struct access_table *t, slice bare)
{
    const struct admin *a = access_admin(t, bare);
    bool disabled = a != NULL && a->disabled;
    for (uint32_t i = 0; t != NULL && i < t->disabled_count; i++)
        disabled = disabled || slice_eq(t->disabled[i], bare);
    return disabled;
}

bool access_account_served(const struct access_table *t, slice bare)
{
    slice domain = jid_split(bare).domain;
    ensure(t == NULL || t->domain_count > 0);
    bool served = t == NULL;
    for (uint32_t i = 0; !served && i < t->domain_count; i++)
        served = slice_eq(t->domains[i], domain);
    return served;
}

bool access_token_expired(struct token *k, uint64_t now_us)
{
    if (k->expires_us != 0 && now_us >= k->expires_us)
        atomic_store(&k->expired, true);
    return atomic_load(&k->expired);
}

bool access_has_factor(const struct access_table *t, slice name)
{
    for (uint32_t i = 0; t != NULL && i < t->factor_count; i++)
        if (slice_eq(t->factors[i], name))
            return true;
    return false;
}

uint64_t access_table_add(struct store_batch *b)
{
    store_add(b, &access_roles_stmt, STORE_ANY_ROWS, NULL, 0);
    store_add(b, &access_tokens_stmt, STORE_ANY_ROWS, NULL, 0);
    store_add(b, &access_admins_stmt, STORE_ANY_ROWS, NULL, 0);
    store_add(b, &access_persons_stmt, STORE_ANY_ROWS, NULL, 0);
    store_add(b, &access_factors_stmt, STORE_ANY_ROWS, NULL, 0);
    slice one, rest = slice_of(setting_text(&admin_accounts));
    while (slice_word(&rest, &one))
        STORE_ADD(b, &access_disabled_stmt, STORE_ANY_ROWS, SV_T(one));
    return atomic_fetch_add(&readings, 1) + 1;
}

static slice row_text(struct access_table *t, const struct store_batch *b, uint32_t stmt,
                      uint32_t row, uint32_t col)
{
    return slice_dup(t->arena, store_text(b, stmt, row, col));
}

static void read_tokens(struct access_table *t, const struct store_batch *b)
{
    t->token_count = store_row_count(b, 1);
    t->tokens = arena_new(t->arena, struct token, t->token_count + 1);
    for (uint32_t i = 0; i < t->token_count; i++) {
        struct token *k = &t->tokens[i];
        k->name = row_text(t, b, 1, i, 0);
        k->hash = row_text(t, b, 1, i, 1);
        k->role = row_text(t, b, 1, i, 2);
        k->scope = row_text(t, b, 1, i, 3);
        k->expires_us = (uint64_t)store_int(b, 1, i, 4);
        k->created_us = (uint64_t)store_int(b, 1, i, 5);
        atomic_store(&k->used_us, (uint64_t)store_int(b, 1, i, 6));
        k->made_by = row_text(t, b, 1, i, 7);
    }
}

static void read_persons(struct access_table *t, const struct store_batch *b)
{
    t->person_count = store_row_count(b, 3);
    t->persons = arena_new(t->arena, struct person, t->person_count + 1);
    for (uint32_t i = 0; i < t->person_count; i++)
        t->persons[i] = (struct person){ .name = row_text(t, b, 3, i, 0),
                                         .role = row_text(t, b, 3, i, 1),
                                         .disabled = store_int(b, 3, i, 2) != 0,
                                         .generation = store_int(b, 3, i, 3),
                                         .created_us = (uint64_t)store_int(b, 3, i, 4),
                                         .changed_us = (uint64_t)store_int(b, 3, i, 5) };
    t->factor_count = store_row_count(b, 4);
    t->factors = arena_new(t->arena, slice, t->factor_count + 1);
    for (uint32_t i = 0; i < t->factor_count; i++)
        t->factors[i] = row_text(t, b, 4, i, 0);
}

/* Accounts of admin.accounts: a statement each, behind the tables. */
static void read_disabled(struct access_table *t, const struct store_batch *b)
{
    unsigned count = store_stmt_count(b);
    t->disabled = arena_new(t->arena, slice, count);
    for (unsigned i = TABLES; i < count; i++)
        if (store_row_count(b, i) > 0)
            t->disabled[t->disabled_count++] = row_text(t, b, i, 0, 0);
}

static struct access_table *table_read(const struct node *n, const struct store_batch *b)
{
    struct access_table *t = mem_new(struct access_table);
    t->arena = arena_create(0);
    t->role_count = BUILT_IN + store_row_count(b, 0);
    t->roles = arena_new(t->arena, struct role, t->role_count);
    memcpy(t->roles, built_in, sizeof built_in);
    for (uint32_t i = BUILT_IN; i < t->role_count; i++)
        t->roles[i] = (struct role){ .name = row_text(t, b, 0, i - BUILT_IN, 0),
                                     .grants = row_text(t, b, 0, i - BUILT_IN, 1) };
    read_tokens(t, b);
    t->admin_count = store_row_count(b, 2);
    t->admins = arena_new(t->arena, struct admin, t->admin_count + 1);
    for (uint32_t i = 0; i < t->admin_count; i++)
        t->admins[i] = (struct admin){ row_text(t, b, 2, i, 0), row_text(t, b, 2, i, 1),
                                       store_int(b, 2, i, 2) != 0 };
    read_persons(t, b);
    read_disabled(t, b);
    t->domain_count = n->domain_count;
    t->domains = arena_new(t->arena, slice, t->domain_count);
    for (uint32_t i = 0; i < t->domain_count; i++)
        t->domains[i] = slice_dup(t->arena, n->domains[i]);
    ensure(t->role_count >= BUILT_IN);
    return t;
}

/* Keeps what is known of a token since it was read. */
static void keep_uses(const struct access_table *was, struct access_table *t)
{
    for (uint32_t i = 0; was != NULL && i < was->token_count; i++)
        for (uint32_t j = 0; j < t->token_count; j++) {
            struct token *old = &was->tokens[i], *now = &t->tokens[j];
            if (!slice_eq(old->hash, now->hash))
                continue;
            if (atomic_load(&old->used_us) > atomic_load(&now->used_us))
                atomic_store(&now->used_us, atomic_load(&old->used_us));
            atomic_store(&now->expired, atomic_load(&old->expired));
        }
}

static void table_free(struct access_table *t)
{
    if (t == NULL)
        return;
    arena_destroy(&t->arena);
    mem_free(&t);
}

void access_table_set(const struct node *n, uint64_t number, enum store_result result,
                      const struct store_batch *b)
{
    struct access_table *now = result == STORE_OK ? table_read(n, b) : NULL, *old = now;
    pthread_rwlock_wrlock(&lock);
    if (number > table_number) {
        old = table;
        if (now != NULL)
            keep_uses(old, now);
        table = now;
        table_number = number;
    }
    pthread_rwlock_unlock(&lock);
    table_free(old);
}

void access_table_free(void)
{
    pthread_rwlock_wrlock(&lock);
    table_free(table);
    table = NULL;
    pthread_rwlock_unlock(&lock);
}
