/* import_source: where accounts come from. Each kind of source gives one user after the other as a
 * <user/> of the portable format (XEP-0227), whatever its files are, and then its rooms as files of
 * `room export`. Runs on a helper thread. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include <stdint.h>

struct arena;
struct source_groups;

enum source_unit {
    SOURCE_USER,
    SOURCE_ROOM,
    SOURCE_LOST, /* something that does not come along; `text` says what */
    SOURCE_END,
    SOURCE_ERROR /* nothing more can be read */
};

/* Something of a user or a room that does not come along. */
struct source_lost {
    struct source_lost *next;
    const char *what;
};

/* In the arena of the call. Of a room: its address is host and name; `file` is open, has no name,
 * and is what `room export` writes; it belongs to the caller. */
struct source_found {
    const char *folder; /* given: where files without a name are made; NULL: nowhere */
    slice host;         /* as written */
    slice name;         /* of the user, as far as it is known: for messages */
    slice xml;          /* of the <user/>, not checked yet */
    slice ns;           /* the namespace that it stands in */
    slice text;         /* of SOURCE_USER, SOURCE_ROOM: why it is refused; empty: it is not */
    int file;           /* of SOURCE_ROOM that is not refused */
    struct source_lost *lost;
};

struct source_kind {
    /* E_IO, E_SYNTAX, E_UNSUPPORTED: `why` says what is wrong. */
    enum err (*open)(void **source, const char *path, struct why *why);
    enum source_unit (*next)(void *source, struct arena *tmp, struct source_found *out,
                             struct why *why);
    void (*close)(void **source); /* NULL is fine */
    /* How much of all was given: of users and rooms, or of bytes. */
    void (*progress)(const void *source, uint64_t *done, uint64_t *all);
    /* Behind the end: groups of users (ext/import/import_group.h); NULL: it has none. E_SYNTAX,
     * E_LIMIT: `why` says what is wrong. */
    enum err (*groups)(void *source, struct source_groups *out, struct why *why);
    const char *expects; /* what it reads: for a source in which nothing is found */
};

extern const struct source_kind source_prosody; /* a data folder of Prosody */
/* Ejabberd's database as a text file, or a file of XEP-0227. */
extern const struct source_kind source_ejabberd;
extern const struct source_kind source_pie; /* a file of XEP-0227, and what it includes */
/* The same, or a file of the plugin "User Import/Export" of Openfire, which names no host. */
extern const struct source_kind source_openfire;
