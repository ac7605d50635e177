/* import_groups: makes groups of users that a source has, by the commands that operators use. First
 * all groups are made, visible to nobody; then each gets its members, and last those who see it. A
 * group that is there already and that nobody sees is one of an import that was interrupted, and is
 * finished. Another one is left alone, but accounts that come with this import become its members.
 * On the worker that imports. */
#pragma once
#include "base/slice.h"
#include "ext/import/import_group.h"
#include "home/command_run.h"

struct import;

struct import_groups {
    struct import *of;
    void (*done)(struct import *of);
    uint64_t imported, there, refused;
    /* Its own: */
    struct source_group *group;
    struct arena *tmp; /* of a group */
    slice *wanted;     /* accounts that are to become members; those that are there */
    uint32_t wanted_count, member_count, checked, added;
    const struct source_text *domain; /* the next */
    struct command_call ran;
    struct command_return back;
    void (*then)(struct import_groups *x, const struct command_call *ran);
};

void import_groups_start(struct import *of, void (*done)(struct import *of));
extern struct store_stmt import_groups_account;
