/* edges: the list of the ways into the server (home/edge.h), each with what makes it from the node
 * file. An edge more is a row more in edges.c. Called by main's thread. */
#pragma once
#include "base/err.h"
#include "home/edge.h"

struct gate_ops;
struct node_file;
struct tls_ctx;

struct edges {
    struct edge_made made[EDGES_MAX + 1]; /* ended by { 0 } */
};

/* Opens the listeners of all; they accept when the node starts. After an error, too,
 * edges_destroy() must follow. */
NODISCARD enum err edges_make(struct edges *e, const struct node_file *f, struct tls_ctx *tls,
                              struct why *why);
/* For new connections; takes references. Any thread. */
void edges_set_tls(struct edges *e, struct tls_ctx *tls);
void edges_destroy(struct edges *e); /* after the node */

extern const struct gate_ops edges_gate; /* what homes say to streams of clients */
