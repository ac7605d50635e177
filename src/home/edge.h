/* edge: a way into the server from outside: clients, components, HTTP and so on. Each is a table of
 * what happens to it while the node lives; the program has one list of them (app/edges.c), and the
 * node walks it. Homes do not know edges.
 *
 * `own` is what the edge was made with, for all workers. Each function is called on the worker's
 * thread if it is not said otherwise, and may be NULL. */
#pragma once
#include "xmpp/stanza.h"
#include "xmpp/stanza_error.h"
#include <stdbool.h>
#include <stdint.h>

struct node;
struct stanza;
struct worker;

/* How the database has a message for a foreign domain until that has confirmed it (architecture
 * §7). */
struct edge_kept {
    uint64_t entry; /* of its sender; 0: it is not stored */
    int64_t sender; /* id of the account */
    bool unshown;   /* the sender does not archive it */
    bool bare;      /* as in struct edge_word */
};

/* The fate of a stanza for a domain that nobody has here. */
struct edge_word {
    enum stanza_error error; /* SE_NONE: it goes; else what its sender is to be told */
    bool silent;             /* it does not go, and its sender is told nothing */
    bool bare;               /* it goes without its content */
};
static inline bool edge_word_goes(const struct edge_word *word)
{
    return word->error == SE_NONE && !word->silent;
}

struct edge {
    const char *name;
    void (*start)(void *own, struct worker *w); /* before the loop of the worker runs */
    void (*open)(void *own, struct worker *w);  /* accepts: saved sessions are there */
    void (*stop)(void *own, struct worker *w);  /* accepts and reads no more; connections end */
    /* After stop, when the node is at rest but for the edges that have this, or later: then their
     * connections end, by which senders have heard what became of their stanzas meanwhile. NULL:
     * stop has ended all. */
    void (*part)(void *own, struct worker *w);
    /* After stop: nothing of it is left. NULL: always. On main's thread. */
    bool (*idle)(void *own, struct worker *w);
    /* The mesh has room again: reads on (w->pressure says when reading must stop). */
    void (*relieve)(void *own, struct worker *w);
    /* A stanza for a link of its on this worker (home/remote.h). Takes over st. NULL: it has no
     * links to other domains. */
    void (*remote)(void *own, struct worker *w, uint64_t link, struct stanza *st);
    /* A stanza for a domain that nobody has here, on the worker of its sender. It is asked once for
     * each, and counts. NULL: it reaches no such domain. */
    struct edge_word (*foreign_word)(void *own, struct worker *w, slice domain,
                                     const struct stanza *st);
    /* One that goes by that word. Takes over st. NULL where foreign_word is. */
    void (*foreign)(void *own, struct worker *w, slice domain, struct stanza *st,
                    const struct edge_kept *kept);
    /* Closes the streams of sessions whose home was that node. */
    void (*node_gone)(void *own, struct worker *w, uint32_t node);
    /* After the loops have ended: frees the worker's part, last made first. On main's thread, and
     * also where start was not called. */
    void (*end)(void *own, struct worker *w);
};

enum { EDGES_MAX = 16 }; /* of a node */

/* The list ends with an edge NULL. */
struct edge_made {
    const struct edge *edge;
    void *own;
};

/* NULL: the node has no such edge. */
void *edge_own(const struct node *n, const struct edge *edge);

/* Its place in the list of this node, of an edge that is in it; less than EDGES_MAX. Links are told
 * with it to other nodes, whose lists may be others. */
uint8_t edge_number(const struct node *n, const struct edge *edge);
/* Gives a stanza to the edge of that number: true, and takes over st. false: the node has no such
 * edge, or that has no links. */
bool edge_remote(struct worker *w, uint8_t number, uint64_t link, struct stanza *st);
/* By the first edge that reaches foreign domains, as struct edge says. */
struct edge_word edge_foreign_word(struct worker *w, slice domain, const struct stanza *st);
void edge_foreign(struct worker *w, slice domain, struct stanza *st, const struct edge_kept *kept);

/* For the node: all of them, in the order of the list. */
void edges_start(const struct node *n, struct worker *w);
void edges_open(const struct node *n, struct worker *w);
void edges_stop(const struct node *n, struct worker *w);
void edges_part(const struct node *n, struct worker *w);
bool edges_idle(const struct node *n, struct worker *w); /* those with `part`: once n->parts */
void edges_relieve(const struct node *n, struct worker *w);
void edges_node_gone(const struct node *n, struct worker *w, uint32_t node);
void edges_end(const struct node *n, struct worker *w); /* in the opposite order */
