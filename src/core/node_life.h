/* node_life: how a node begins and ends: what is made, in which order it starts and
 * stops. Called by one thread (main's). */
#pragma once
#include "base/err.h"
#include "home/node.h"

struct bus_local;
struct message_row;

struct node_conf {
    uint32_t id;                   /* unique in the cluster, ≥ 1 */
    const char *name, *cluster;    /* NULL: of no cluster */
    const char *const *domains;    /* prepared; NULL-terminated */
    unsigned workers;              /* 1..64 */
    unsigned first_loop;           /* its loops have the indexes from here on */
    bool pin_workers;              /* to one CPU each */
    struct store *store;           /* open; stays the caller's */
    const char *data;              /* folder for files; stays the caller's; NULL: none */
    const struct gate_ops *gate;   /* what streams are told */
    const struct edge_made *edges; /* ended by { 0 }; NULL: none. They stay the caller's */
};

NODISCARD enum err node_create(struct node **out, const struct node_conf *conf, struct why *why);
/* Starts the worker threads, restores saved sessions and then lets the gates accept. */
NODISCARD enum err node_start(struct node *n, struct why *why);
/* The same for nodes of one process that start together: each step on all of them. */
NODISCARD enum err nodes_start(struct node *const *nodes, unsigned count, struct why *why);
/* Closes streams with system-shutdown, saves sessions that may resume, commits, joins the threads.
 * ≤ 5 s. */
void node_stop(struct node *n);
/* The same for nodes of one process that end together: each step on all of them. */
void nodes_stop(struct node *const *nodes, unsigned count);
void node_destroy(struct node **n);

extern const struct message_row node_life_message; /* from main's thread to each worker */
/* On each worker of the other nodes (bus_gone_fn): questions to it, its links, sessions whose
 * streams are there and streams whose sessions were there end, and rooms drop its users. */
void node_gone(void *worker, uint32_t node);
/* Between node_create() and node_start(): other nodes of this process can be reached. */
void node_join(struct node *n, struct bus_local *b);
