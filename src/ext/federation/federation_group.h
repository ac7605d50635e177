/* federation_group: rules of departments, for the users whose profile names them, and of shared
 * groups (account/shared.h), for their members. A rule holds for a name: it stays when a group of
 * that name goes, and counts when there is one. They are in the database; each node has them in its
 * book. Limit: FEDERATION_GROUPS_MAX. */
#pragma once
#include "store/store.h"

struct command;

extern struct command federation_group_set, federation_group_del, federation_group_list;
extern struct store_stmt *const federation_group_stmts[];                /* NULL-terminated */
extern struct store_stmt federation_groups_all;                          /* reads them for: */
void federation_groups_read(const struct store_batch *b, unsigned stmt); /* into the book */
