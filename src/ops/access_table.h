/* access_table: what ops/access.h has in memory. */
#pragma once
#include "ops/access.h"
#include "store/store.h"

struct role {
    slice name, grants;
    const char *doc; /* of a built-in one; NULL: made by operators */
};
struct token {
    slice name, hash; /* SHA-256 in hex */
    slice role;
    slice scope;         /* empty: as far as the role goes */
    uint64_t expires_us; /* 0: never */
    uint64_t created_us;
    _Atomic uint64_t used_us; /* 0: never */
    _Atomic bool expired;     /* once seen, it stays so, even if the clock is set back */
};
struct admin {
    slice jid, role;
};

struct access_table {
    struct arena *arena;
    struct role *roles; /* the built-in ones first */
    struct token *tokens;
    struct admin *admins;
    uint32_t role_count, token_count, admin_count;
};

extern struct store_stmt access_roles_stmt, access_tokens_stmt, access_admins_stmt,
    access_used_stmt;

/* Locked for reading until access_table_end(); NULL: it could not be read. */
const struct access_table *access_table_begin(void);
void access_table_end(void);
const struct role *access_role(const struct access_table *t, slice name);

/* A batch begins with these three reads. */
void access_table_add(struct store_batch *b);
void access_table_set(enum store_result result, const struct store_batch *b);
void access_table_free(void);
