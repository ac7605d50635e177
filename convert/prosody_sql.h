/* prosody_sql: the file that Prosody's mod_storage_sql writes with SQLite. Table `prosody`
 * has the stores whose values have keys, `prosodyarchive` those that are lists. Names of hosts,
 * users and stores are as Prosody calls them. */
#pragma once
#include "convert/lua.h"
#include <stdint.h>

struct prosody_sql;

/* E_IO, E_CORRUPT: `why` says what is wrong. */
NODISCARD enum err prosody_sql_open(struct prosody_sql **out, const char *path, struct why *why);
void prosody_sql_close(struct prosody_sql **sql); /* NULL is fine */

typedef void prosody_sql_name_fn(void *arg, slice name);
/* Hosts of which it has anything; users of a host with this store of keys, also rooms. */
NODISCARD enum err prosody_sql_hosts(struct prosody_sql *sql, prosody_sql_name_fn *fn, void *arg,
                                     struct why *why);
NODISCARD enum err prosody_sql_users(struct prosody_sql *sql, slice host, const char *store,
                                     prosody_sql_name_fn *fn, void *arg, struct why *why);
/* Stores of a host, of both kinds. */
NODISCARD enum err prosody_sql_stores(struct prosody_sql *sql, slice host, prosody_sql_name_fn *fn,
                                      void *arg, struct why *why);

/* How many rows a host has of each store and user, keys and lists. */
typedef void prosody_sql_count_fn(void *arg, slice store, slice user, bool list, uint64_t count);
NODISCARD enum err prosody_sql_counts(struct prosody_sql *sql, slice host, prosody_sql_count_fn *fn,
                                      void *arg, struct why *why);
/* Tables of others, and how many rows they have. */
typedef void prosody_sql_table_fn(void *arg, slice table, uint64_t count);
NODISCARD enum err prosody_sql_tables(struct prosody_sql *sql, prosody_sql_table_fn *fn, void *arg,
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
