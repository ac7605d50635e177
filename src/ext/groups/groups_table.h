/* groups_table: makes the table of groups (account/shared.h) of what is stored. Accounts of domains
 * that the node does not serve are left out, and so are those beyond the limits: the newest; of all
 * groups together, those of the largest groups. Any worker. */
#pragma once
#include "store/store.h"

struct alarm;
struct metric;
struct shared;
struct worker;

/* A batch begins with these reads. */
void groups_reads_add(struct store_batch *b);
/* NULL: there are no groups. */
struct shared *groups_table_made(struct worker *w, const struct store_batch *b);
/* UINT32_MAX: the table, which may be NULL, has no such group. */
uint32_t groups_number(const struct shared *t, slice name);
/* Whether an account that is made, or whose profile changes, may come into a group by itself, as of
 * the last table. Any thread. */
bool groups_follow_accounts(void);

extern struct alarm groups_cut_alarm;
extern struct metric groups_count, groups_people;
extern struct store_stmt groups_stmt_groups, groups_stmt_members, groups_stmt_viewers,
    groups_stmt_domains, groups_stmt_follows, groups_stmt_matched, groups_stmt_too_many_see,
    groups_stmt_larger, groups_stmt_others, groups_stmt_by_rule, groups_stmt_in;
