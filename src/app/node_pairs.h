/* node_pairs: settings of the node file that are wrong beside others of its keys: one that is there
 * twice for a domain, one that may not be above another (not_above), and accounts of none of its
 * domains. */
#pragma once
#include <stddef.h>

struct arena;
struct node_file;
struct node_settings;

/* The mistake of the setting at that place, if one before is the same, with another writing of the
 * domain. NULL: none. */
const char *node_setting_twice(const struct node_settings *all, size_t at, struct arena *arena);
/* The same, if both of its pair are in the file: the value of
 * others can be changed by a command. NULL: none. */
const char *node_pair_wrong(const struct node_settings *all, size_t at, struct arena *arena);
/* The same of the first account that is of another server. */
const char *node_account_wrong(const struct node_file *f, size_t at);
