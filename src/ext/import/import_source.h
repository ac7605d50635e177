/* import_source: where accounts come from: a file of XEP-0227 and what it includes (§5), or a
 * folder that muster-convert has written (convert/output.h), which has rooms and groups, too. It
 * gives one user after the other, then the rooms. On a helper thread.
 *
 * Limits: PIE_ELEMENT_MAX bytes of a user; FILES_MAX files inside each other; SOURCE_GROUPS_MAX
 * groups, SOURCE_MEMBERS_MAX members of all of them. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include <stdint.h>

struct arena;
struct source;
struct source_groups;

enum source_unit {
    SOURCE_USER,
    SOURCE_ROOM,
    SOURCE_LOST, /* something that does not come along; `text` says what */
    SOURCE_END,
    SOURCE_ERROR /* nothing more can be read */
};

struct source_text {
    struct source_text *next;
    slice text;
};

/* In the arena of the call. Of a room: its address is host and name. */
struct source_found {
    slice host;               /* as written */
    slice name;               /* of the user, as far as it is known: for messages */
    slice xml;                /* of the <user/>, not checked yet */
    slice ns;                 /* the namespace that it stands in */
    slice file;               /* of SOURCE_ROOM: what `room export` writes */
    slice text;               /* of SOURCE_ROOM: why it is refused; empty: it is not */
    uint64_t count;           /* of SOURCE_LOST: how many of them */
    struct source_text *lost; /* of the room */
};

/* E_IO, E_SYNTAX: `why` says what is wrong. groups: those of the source, complete at its end. */
NODISCARD enum err source_open(struct source **out, const char *path, struct source_groups *groups,
                               struct why *why);
enum source_unit source_next(struct source *s, struct arena *tmp, struct source_found *out,
                             struct why *why);
void source_close(struct source **s); /* NULL is fine */
/* How much of all bytes of its first file was given. */
void source_progress(const struct source *s, uint64_t *done, uint64_t *all);
bool source_is_folder(const struct source *s);
