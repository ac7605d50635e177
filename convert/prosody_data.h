/* prosody_data: where Prosody keeps what it has, each store in one of two places.
 *
 * Internal storage is a folder for each host, in it one for each store, in it a file for each user,
 * of Lua data (convert/lua.h). Names of folders and files have %xx for what is neither a
 * letter nor a digit. Storage in SQL is one file beside these folders
 * (convert/prosody_sql.h).
 *
 * Limits: PROSODY_FILE_MAX bytes of a file, or of a store in SQL; PROSODY_USER_MAX of all of a
 * user, or of a room. */
#pragma once
#include "codec/xml_write.h"
#include "convert/lua.h"
#include "convert/output.h"

enum { PROSODY_FILE_MAX = 128 << 20, PROSODY_USER_MAX = 256 << 20 };

struct prosody_data;

/* A folder, or the file of SQL alone. E_IO, E_CORRUPT, E_EXISTS: `why` says what is wrong. */
NODISCARD enum err prosody_data_open(struct prosody_data **out, const char *path, struct why *why);
/* All that is there and was not read is lost, and counted by the name of its store. */
NODISCARD enum err prosody_data_rest(struct prosody_data *data, struct output *o, struct why *why);
void prosody_data_close(struct prosody_data **data); /* NULL is fine */

struct prosody_names {
    char **at;
    uint32_t count, cap;
};
/* Into `out`, in order, each once, as files are called: all hosts; the users of a host with this
 * store, also rooms. Texts are in the arena. E_CORRUPT: `why` says what is wrong. */
NODISCARD enum err prosody_hosts(const struct prosody_data *data, struct prosody_names *out,
                                 struct arena *keep, struct why *why);
NODISCARD enum err prosody_users(const struct prosody_data *data, const char *host,
                                 const char *store, struct prosody_names *out, struct arena *keep,
                                 struct why *why);

/* A user whose stores are read, or a room. */
struct prosody_user {
    struct prosody_data *data;
    struct output *output;
    const char *host, *user; /* as files are called */
    struct arena *tmp;
    struct xml_write x;
    struct why why;    /* text empty: nothing was wrong */
    size_t bytes;      /* that were read */
    slice label;       /* NAME@HOST */
    const char *store; /* that is read */
};
/* The store of a user, or of a room, that holds `what`, is lost in part. */
void prosody_lost(const struct prosody_user *u, const char *what, slice name);
/* Fields of a table of its store that are none of these; `of`: what it is a table of. */
void prosody_lost_fields(const struct prosody_user *u, const struct lua_value *table,
                         const char *of, const char *const *known);

/* The meaning of a name of a file; a % without digits stays. */
slice prosody_name(const char *name, struct arena *tmp);
/* A store that is not there is nil. */
struct lua_value prosody_read(struct prosody_user *u, const char *store);
/* Items of a list one after the other, since there may be very many; the argument of `fn` is u. */
void prosody_each(struct prosody_user *u, const char *store, lua_item_fn *fn);
