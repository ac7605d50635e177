/* node: one Muster node: its workers, domains, store and links. A process has one; tests put two
 * into a process and join them by bus_local. Made and ended by one thread (main's); in between
 * read-only but for what says otherwise. */
#pragma once
#include "base/err.h"
#include "base/hash.h"
#include "bus/bus.h"
#include "home/origin.h"
#include "io/loop.h"
#include "xmpp/jid.h"
#include <pthread.h>

struct account;
struct frame;
struct destinations;
struct edge_made;
struct gate_ops;
struct mesh;
struct node;
struct store;
struct worker;
struct work_pool;

enum { NODE_SLOTS = 4096, NODE_WORKERS_MAX = 64, NODE_DOMAINS_MAX = 64 };

struct node {
    uint32_t id;
    uint32_t epoch; /* rises with every start; in frames */
    char name[64], cluster[64];
    unsigned worker_count, domain_count;
    slice domains[NODE_DOMAINS_MAX];
    struct worker *workers;
    struct mesh *mesh;
    struct bus *bus; /* NULL: a single node */
    struct store *store;
    const char *data; /* folder for files of features; NULL: none */
    struct work_pool *work;
    struct work_pool *handshakes; /* of TLS, for the loops */
    struct throttle *throttle;    /* of logins */
    const struct gate_ops *gate;
    const struct destinations *destinations; /* home/router.h */
    const struct edge_made *edges;           /* ended by { 0 }; NULL: none */
    uint8_t slot_worker[NODE_SLOTS];         /* slot -> worker */
    uint64_t start_wall_us;
    bool pin_workers;
    /* archive ids (architecture §7): none is above what is reserved on disk, none below the floor,
     * which is what an earlier run had reserved */
    _Atomic uint64_t ids_reserved_us, ids_wanted_us;
    _Atomic bool ids_reserving;
    uint64_t ids_floor_us;
    /* how far an id may be from the time of its message: at least as far as any has been, ever */
    _Atomic uint64_t ids_slack_us;
    _Atomic uint32_t stage_waits;      /* stanzas that wait: core/stage_wait.h */
    _Atomic uint64_t presence_next_us; /* of presence/presence_pace.c: monotonic */
    /* It ends to start again at once: set before node_stop(). Streams whose sessions can be resumed
     * then end without </stream:stream>. */
    _Atomic bool restarts;
    pthread_t threads[NODE_WORKERS_MAX];
    unsigned started; /* of the workers; main's */
    bool parts;       /* edges that stay until the others have ended end, too; main's */
    /* Of core/node_life.c: what the workers do now, how many have yet to; sessions are restored. */
    _Atomic int life_step, life_left;
    _Atomic uint64_t life_sent, life_received; /* frames between workers */
    _Atomic bool restored;
};

bool node_serves(const struct node *n, slice domain); /* one of our domains */
unsigned node_slot(slice bare);
/* The home of a bare JID (architecture §4): registry, then slot. `node` gets the node id. */
unsigned node_home(const struct node *n, slice bare, uint32_t *node);
unsigned node_home_registered(const struct node *n, unsigned slot,
                              uint32_t *node); /* n has a bus */
static inline unsigned node_home_of_slot(const struct node *n, unsigned slot, uint32_t *node)
{
    if (n->bus != NULL)
        return node_home_registered(n, slot, node);
    *node = n->id;
    return n->slot_worker[slot];
}
/* The node of a slot from now on, as this node sees it: others may see it before or after. Any
 * thread. `node` is there, or was. */
void node_assign_slot(const struct node *n, unsigned slot, uint32_t node);
bool node_is_there(const struct node *n, uint32_t node); /* any thread */
bool node_is_home(const struct worker *w, slice bare);   /* this worker */
/* All nodes that are there, this one first. Any thread. */
unsigned node_all(const struct node *n, uint32_t nodes[BUS_NODES_MAX]);
unsigned node_workers(const struct node *n, uint32_t node); /* of any node */
bool node_shares(const struct node *n, uint32_t node);      /* the database; with itself, too */

typedef void node_fn(struct worker *w, void *arg);
/* Runs fn on a worker, soon. From any thread; between workers there are messages. */
void node_call(struct node *n, unsigned worker, node_fn *fn, void *arg);
struct worker *node_worker(const struct node *n, unsigned index);
