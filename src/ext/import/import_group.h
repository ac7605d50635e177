/* import_group: groups of users that a source has (docs/groups.md), all at once: who is in them and
 * who sees them. Everything is in the arena of the list.
 *
 * Limits: SOURCE_GROUPS_MAX groups, SOURCE_MEMBERS_MAX members of all of them. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include "ext/import/import_source.h"

struct arena;

enum { SOURCE_GROUPS_MAX = 10000, SOURCE_MEMBERS_MAX = 1000000 };
enum source_group_state {
    GROUP_NEW,     /* it is none here, or was made by this import */
    GROUP_BEGUN,   /* an import has made it, and was interrupted */
    GROUP_THERE,   /* it is left alone but for members who come with this import */
    GROUP_REFUSED, /* nothing more is done with it */
};

struct source_text {
    struct source_text *next;
    slice text;
};
struct source_viewer {
    struct source_viewer *next;
    const struct source_group *group;
};

struct source_group {
    struct source_group *next;
    slice name, host;            /* as written; host empty: it has none */
    slice shown;                 /* in rosters */
    struct source_text *members; /* addresses */
    struct source_text *domains; /* whose accounts are all members */
    bool to_members, to_all;  /* who sees it: its members; all accounts of the source's domains */
    struct source_viewer *to; /* and the members of these */
    struct source_lost *lost;
    const char *problem; /* why it is refused; NULL: it is not */
    /* Of the import: */
    slice here; /* its name */
    enum source_group_state state;
};

struct source_groups {
    struct arena *arena;
    struct source_group *first, **last;
    uint32_t count, members;
};

void source_groups_init(struct source_groups *l, struct arena *arena);
/* Copied. NULL: there are too many. */
struct source_group *source_groups_add(struct source_groups *l, slice name, slice host);
/* E_LIMIT: there are too many. */
NODISCARD enum err source_group_member(struct source_groups *l, struct source_group *g, slice jid);
void source_group_domain(struct source_groups *l, struct source_group *g, slice domain);
void source_group_to(struct source_groups *l, struct source_group *g,
                     const struct source_group *viewer);
void source_group_lost(struct source_groups *l, struct source_group *g, const char *what);
