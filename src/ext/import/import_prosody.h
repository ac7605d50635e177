/* import_prosody: the source source_prosody, the data folder of Prosody with its internal storage:
 * a folder for each host, in it one for each store, in it a file for each user, of Lua data
 * (ext/import/import_lua.h). Names of folders and files have %xx for what is neither a letter nor a
 * digit. The reader of rooms (import_prosody_room.h) uses the same. On a helper thread.
 *
 * Limits: PROSODY_FILE_MAX bytes of a file; PROSODY_USER_MAX of all files of a user, or of a room;
 * NAMES_MAX users, and as many rooms. */
#pragma once
#include "codec/xml_write.h"
#include "ext/import/import_lua.h"
#include "ext/import/import_source.h"

enum { PROSODY_FILE_MAX = 128 << 20, PROSODY_USER_MAX = 256 << 20 };

/* A user whose files are read, or a room. */
struct prosody_user {
    const char *path;        /* the data folder */
    const char *host, *user; /* as the files are called */
    struct arena *tmp;
    struct xml_write x;
    struct why why; /* text empty: nothing was wrong */
    size_t bytes;   /* of the files that were read */
};

/* What a name of a file means; a % without digits stays. */
slice prosody_name(const char *name, struct arena *tmp);
/* A file that is not there is nil. */
struct lua_value prosody_read(struct prosody_user *u, const char *store, const char *ending);
/* Items one after the other, since there may be very many; the argument of `fn` is u. */
void prosody_each(struct prosody_user *u, const char *store, lua_item_fn *fn);
/* Writes a stanza, a table with name, attr, and children as its list, with `more` behind its
 * children. ns: where it says none; NULL: that of the element around it. */
void prosody_stanza(struct buf *out, const struct lua_value *v, const char *ns, slice more);
/* Microseconds since 1970 of a number of seconds, "1588327200" or "1588327200.25"; 0: it is none.
 */
uint64_t prosody_time_us(slice when);
