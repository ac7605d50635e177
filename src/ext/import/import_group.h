/* import_group: groups of users that a source has (docs/groups.md), all at once: who is in them and
 * who sees them. Everything is in the arena of the list. */
#pragma once
#include "base/map.h"
#include "ext/import/import_source.h"

enum { SOURCE_GROUPS_MAX = 10000, SOURCE_MEMBERS_MAX = 1000000 };
enum source_group_state {
    GROUP_NEW,     /* it is none here, or was made by this import */
    GROUP_BEGUN,   /* an import has made it, and was interrupted */
    GROUP_THERE,   /* it is left alone but for members who come with this import */
    GROUP_REFUSED, /* nothing more is done with it */
};

struct source_viewer {
    struct source_viewer *next;
    const struct source_group *group;
};

struct source_group {
    slice key; /* NAME@HOST; first */
    struct source_group *next;
    slice name, host;            /* as written; host empty: it has none */
    slice shown;                 /* in rosters */
    struct source_text *members; /* addresses */
    struct source_text *domains; /* whose accounts are all members */
    bool to_members, to_all;  /* who sees it: its members; all accounts of the source's domains */
    struct source_viewer *to; /* and the members of these */
    struct source_text *sees; /* names of groups whose members its members see */
    struct source_text *lost;
    const char *problem; /* why it is refused; NULL: it is not */
    /* Set by the import: */
    slice here; /* its name */
    enum source_group_state state;
};

struct source_groups {
    struct arena *arena;
    struct source_group *first, **last;
    uint32_t count, members;
    struct map by_key;
};

void source_groups_init(struct source_groups *l, struct arena *arena);
void source_groups_fini(struct source_groups *l);
/* The group of this name, new perhaps. The texts are the caller's, as long as the list. NULL: there
 * are too many. */
struct source_group *source_groups_get(struct source_groups *l, slice name, slice host);
/* All are there: those that are seen get to know by whom. */
void source_groups_settle(struct source_groups *l);

void source_text_add(struct arena *arena, struct source_text **list, slice text);
void source_text_append(struct source_text **list, struct source_text *more);
