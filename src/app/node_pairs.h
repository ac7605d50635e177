/* node_pairs: settings of the node file of which one may not be above another (not_above). */
#pragma once
#include <stddef.h>

struct arena;
struct node_settings;

/* The mistake of the setting at that place, if both of its pair are in the file: the value of
 * others can be changed by a command. NULL: none. */
const char *node_pair_wrong(const struct node_settings *all, size_t at, struct arena *arena);
