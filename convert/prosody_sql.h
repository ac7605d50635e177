/* prosody_sql: the file that Prosody's mod_storage_sql writes with SQLite. Table `prosody` has the
 * stores whose values have keys, `prosodyarchive` those that are lists. Names of hosts, users and
 * stores are as Prosody calls them. Nothing in the file is changed, and what its schema says is not
 * trusted. */
#pragma once
#include "convert/lua.h"
#include <stdint.h>

struct prosody_sql;

/* E_IO, E_CORRUPT: `why` says what is wrong. */
NODISCARD enum err prosody_sql_open(struct prosody_sql **out, const char *path, struct why *why);
void prosody_sql_close(struct prosody_sql **sql); /* NULL is fine */

enum prosody_question {
    PROSODY_HOSTS,  /* of which it has anything */
    PROSODY_USERS,  /* of host ?1 with store ?2 of keys, also rooms */
    PROSODY_STORES, /* of host ?1, of both kinds */
    PROSODY_COUNTS, /* of host ?1: store, user, 1 for a list, how many rows */
    PROSODY_TABLES, /* of others: name, and a query of how many rows it has */
    PROSODY_QUESTIONS
};
/* Columns of a row as texts, valid during the call. false: no more rows are wanted. */
typedef bool prosody_sql_fn(void *arg, const slice *column);
NODISCARD enum err prosody_sql_ask(struct prosody_sql *sql, enum prosody_question question,
                                   const slice param[2], prosody_sql_fn *fn, void *arg,
                                   struct why *why);
NODISCARD enum err prosody_sql_number(struct prosody_sql *sql, slice query, uint64_t *out,
                                      struct why *why);

struct prosody_sql_store {
    slice host, user, store;
    struct arena *tmp;
    size_t *bytes; /* grows by what is read */
    size_t max;    /* bytes of this store; beyond: E_LIMIT */
};
/* All of a store of keys, in the arena; nil: there is nothing. E_SYNTAX, E_CORRUPT: `why` says what
 * is wrong. */
NODISCARD enum err prosody_sql_read(struct prosody_sql *sql, const struct prosody_sql_store *store,
                                    struct lua_value *out, struct why *why);
/* Each item of a list in its order, which is forgotten then: the arena is reset. */
NODISCARD enum err prosody_sql_each(struct prosody_sql *sql, const struct prosody_sql_store *store,
                                    lua_item_fn *fn, void *arg, struct why *why);
