/* server: wires the parts of one process together: start, reload, end. Called by main's thread; the
 * work of a reload that touches running parts is done on worker 0, the only writer of settings. */
#pragma once
#include "base/err.h"

struct c2s;
struct control;
struct http_server;
struct node;
struct node_file;
struct store;
struct tls_ctx;

struct server {
    struct node_file *file;
    struct tls_ctx *tls;
    struct store *store;
    struct c2s *c2s;
    struct http_server *http;
    struct node *node;
    struct control *control;
    int lock_fd; /* holds the lock of the data folder */
};

/* Until the server is ready for clients. Takes over `file`. On failure nothing is left running. */
NODISCARD enum err server_start(struct server *s, struct node_file *file, struct why *why);
/* Reads the node file and the certificates again. After a mistake, which is logged, everything
 * stays as it was. */
void server_reload(struct server *s);
/* Within 5 s: closes streams, commits, frees everything. */
void server_stop(struct server *s);
