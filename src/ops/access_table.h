/* access_table: what ops/access.h has in memory. */
#pragma once
#include "ops/access.h"
#include "store/store.h"

struct node;

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
    slice made_by;            /* ops/owner.h */
    _Atomic uint64_t used_us; /* 0: never */
    _Atomic bool expired;     /* once seen, it stays so, even if the clock is set back */
};
struct admin {
    slice jid, role;
    bool disabled; /* the account */
};

/* An administrator (ops/administrators.h); its password is read when it logs in. */
struct person {
    slice name, role;
    bool disabled;
    int64_t generation; /* of its password, role and state: another one ends its sessions */
    uint64_t created_us, changed_us; /* the second: its password */
};

struct access_table {
    struct arena *arena;
    struct role *roles; /* the built-in ones first */
    struct token *tokens;
    struct admin *admins;
    struct person *persons;
    slice *factors;  /* names of administrators and accounts with a second factor */
    slice *disabled; /* accounts of admin.accounts that are disabled */
    slice *domains;  /* that are served: accounts of others have no role */
    uint32_t role_count, token_count, admin_count, person_count, factor_count, disabled_count,
        domain_count;
};

extern struct store_stmt access_roles_stmt, access_tokens_stmt, access_admins_stmt,
    access_used_stmt, access_persons_stmt, access_factors_stmt, access_disabled_stmt;

/* Locked for reading until access_table_end(); NULL: it could not be read. */
const struct access_table *access_table_begin(void);
void access_table_end(void);
const struct role *access_role(const struct access_table *t, slice name);
const struct token *access_token(const struct access_table *t, slice name);
const struct person *access_person(const struct access_table *t, slice name);
const struct admin *access_admin(const struct access_table *t, slice bare);
/* Whether its domain is served; t NULL: nobody knows, and none is left out. */
bool access_account_served(const struct access_table *t, slice bare);
bool access_account_disabled(const struct access_table *t, slice bare);
bool access_token_expired(struct token *k, uint64_t now_us);
bool access_has_factor(const struct access_table *t, slice name);

/* The reads of a batch that has no others. Returns the number of the reading: a later one is
 * perhaps answered earlier, and what it has read stays. */
uint64_t access_table_add(struct store_batch *b);
void access_table_set(const struct node *n, uint64_t number, enum store_result result,
                      const struct store_batch *b);
void access_table_free(void);

/* A change by a command, in its turn (ops/access_turn.h): its batch, and its end when all nodes
 * have read the table again. done, missing: said behind the name; `missing` if the first statement
 * changed nothing. */
struct store_batch *access_change(struct command_call *call);
void access_submit(struct command_call *call, struct store_batch *b, slice name, const char *done,
                   const char *missing);
/* For a command that finds no table: it fails, and the table is read again. */
void access_fail_unread(struct command_call *call);
/* Checks of such a command. false: the call has failed. */
bool access_role_grants(struct command_call *call, slice name, slice *grants);
bool access_role_given(struct command_call *call, slice *grants); /* of its argument `role` */
bool access_may_give(struct command_call *call, slice grants, slice scope);
/* Grants of a role now, in the arena of the call; ptr NULL: there is no such role. */
slice access_grants_now(struct command_call *call, slice name);
/* Of what `name` has now: nobody changes somebody who can do more than they. */
bool access_may_change(struct command_call *call, slice name, slice grants, slice scope);
void access_stamp(struct command_call *call, const char *key, uint64_t us); /* 0: nothing */
