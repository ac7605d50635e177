/* groups: an administrator makes groups of users that stand in the rosters of those who may see
 * them (account/shared.h). ext/groups/groups.c has what is stored and brings changes to all nodes,
 * ext/groups/groups_table.c makes the table that all workers go by, ext/groups/groups_commands.c
 * has the commands. Members are accounts by name, all of a domain, and those whose profile has a
 * value in a column.
 *
 * Everything that changes is written at the home of DUTY_GROUPS, which then leads all nodes through
 * one round at a time: read, take, show (account/shared_change.h).
 *
 * Limits: groups.max, groups.members-max, groups.viewers-max, groups.together-max; GROUPS_TOGETHER
 * accounts a command; GROUPS_RULES_MAX domains and rules, and GROUPS_VIEWERS_MAX that may see it,
 * of a group. */
#pragma once
#include "account/shared.h"
#include "store/store.h"

struct arena;
struct command_call;
struct setting;

enum {
    GROUPS_TOGETHER = 2000,
    GROUPS_RULES_MAX = 50,
    GROUPS_VIEWERS_MAX = 50,
    GROUPS_NAME_BYTES_MAX = SHARED_GROUP_BYTES_MAX,
    GROUPS_SHOWN_BYTES_MAX = 128,
    GROUPS_VALUE_BYTES_MAX = 256,
};

/* The batch of a command about a group is committed: ends the call when all nodes go by it, and
 * says what it `did` and whether a limit leaves accounts out. At the home of the duty. `name` lives
 * as long as the call. */
void groups_changed(struct command_call *call, slice name, const char *did);
/* The sentence of groups.members-max. */
const char *groups_too_many(int64_t members, struct arena *arena);
/* The lane of all that is written and read of groups. */
uint64_t groups_lane(void);

extern struct setting groups_max, groups_members_max, groups_viewers_max, groups_together_max;
extern struct store_stmt groups_stmt_put, groups_stmt_shown, groups_stmt_drop,
    groups_stmt_drop_members, groups_stmt_drop_domains, groups_stmt_drop_rules,
    groups_stmt_drop_viewers, groups_stmt_drop_viewed, groups_stmt_viewer_put,
    groups_stmt_member_put, groups_stmt_member_drop, groups_stmt_rule_put, groups_stmt_rule_drop,
    groups_stmt_look, groups_stmt_look_user, groups_stmt_list, groups_stmt_show, groups_stmt_named;
/* What a row of groups.show is about: its first column. */
enum groups_row { GROUPS_ROW_SHOWN, GROUPS_ROW_VIEWER, GROUPS_ROW_RULE, GROUPS_ROW_MEMBER };
