/* server: wires the parts of one process together: start, reload, end. Called by main's thread; the
 * work of a reload that touches running parts is done at the home of the duty `settings`. */
#pragma once
#include "app/edges.h"
#include "base/err.h"

struct node;
struct node_file;
struct second_node;
struct store;
struct tls_ctx;

struct server {
    struct node_file *file;
    struct tls_ctx *tls;
    struct store *store;
    struct edges edges;
    struct node *node;
    struct second_node *second; /* NULL: as nearly always */
    int lock_fd;                /* holds the lock of the data folder */
    int64_t log_level;          /* as the node file said last */
};

/* Returns when the server is ready for clients. Takes ownership of `file`. On failure nothing is
 * left running. */
NODISCARD enum err server_start(struct server *s, struct node_file *file, struct why *why);
/* Reads the node file and the certificates again. If there is a mistake, it is logged and nothing
 * changes. */
void server_reload(struct server *s);
/* To be called before server_stop() if the server starts again at once: clients can resume. */
void server_restarts(struct server *s);
/* Debug builds, as at SIGUSR2: the second node of the process is cut off. */
void server_cut(struct server *s);
/* Closes streams, commits, frees everything. Takes at most 5 s. */
void server_stop(struct server *s);

/* A node as its file says, over a store and with edges that stay the caller's. Its loops have the
 * indexes from first_loop on. */
NODISCARD enum err server_make_node(struct node **out, const struct node_file *f,
                                    struct store *store, const struct edge_made *edges,
                                    unsigned first_loop, struct why *why);
