/* second_node: another whole node in this process, over the same database and with the same data
 * folder, joined to the first by bus_local. With it the end-to-end tests run on two nodes
 * (architecture §12). Only in debug builds, where the environment variable MUSTER_SECOND_NODE names
 * its node file: of that, name, id, workers and listeners are read. What the process has once is
 * that of the first node: settings, control socket, log, reload.
 *
 * Called by main's thread. */
#pragma once
#include "base/err.h"

struct node;
struct second_node;
struct server;

enum { SECOND_NODE_ALL = 2 };

/* *out NULL: there is none. The first node is made and does not run yet. */
NODISCARD enum err second_node_make(struct second_node **out, const struct server *first,
                                    struct why *why);
/* The nodes of this process: the first and, where there is one, the second. */
unsigned second_node_all(const struct second_node *s, struct node *first,
                         struct node *nodes[SECOND_NODE_ALL]);
/* Cuts it off while it runs, as if it had died: the first node hears that it is gone. NULL is fine.
 */
void second_node_cut(struct second_node *s);
/* After all nodes have stopped, before the store is closed: they speak no more. */
void second_node_part(struct second_node *s);
void second_node_destroy(struct second_node **s); /* after the first */
