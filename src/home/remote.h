/* remote: domains that are not ours and the links that reach them: connected components (XEP-0114).
 * Every worker of every node knows all links, so a stanza goes from the sender's home to the worker
 * of its link in one step; several links of a domain are chosen by hash of (from, to), which keeps
 * the order of each pair (architecture §4). */
#pragma once
#include "home/node.h"
#include "xmpp/stanza.h"

struct edge;
struct message_row;

enum { REMOTE_LINKS_MAX = 16 /* of one domain */, REMOTE_EXPECTED_MAX = 10000 };

enum remote_change { REMOTE_UP = 0, REMOTE_DOWN = 1 };
/* Tells all workers of a link of this worker (its id: home/connection.h), which belongs to that
 * edge of this node; `done` is called here when all know it. With E_LIMIT (there are
 * REMOTE_LINKS_MAX already), E_DOWN (nobody can say whether all know) or any other error it is no
 * link. A link that is up must go down before it is forgotten. */
typedef void remote_done_fn(struct worker *w, slice domain, uint64_t link, enum err e);
/* done: NULL, of a link that goes down: nobody waits. */
void remote_announce(struct worker *w, slice domain, const struct edge *edge, uint64_t link,
                     enum remote_change change, remote_done_fn *done);

/* At the start of a node, by each of its workers: the links of the other nodes, soon. */
void remote_learn(struct worker *w);
void remote_node_gone(struct worker *w, uint32_t node); /* with its links */

bool remote_known(const struct worker *w, slice domain);
/* A domain that components may serve, whether one is connected or not: it is ours, and nobody looks
 * for it elsewhere. Each worker is told. At most REMOTE_EXPECTED_MAX; others are not known. */
void remote_expect(struct worker *w, slice domain, bool on);
bool remote_expected(const struct worker *w, slice domain);
/* Calls fn for each of them, in no order. */
typedef void remote_expected_fn(slice domain, void *arg);
void remote_each_expected(const struct worker *w, remote_expected_fn *fn, void *arg);
/* The link by which a stanza from this bare JID would go to that address; id 0: none. */
struct remote_link {
    uint64_t id; /* of the connection, on its node */
    uint32_t node;
    uint8_t edge; /* edge_number() on its node */
};
struct remote_link remote_link_for(const struct worker *w, slice from_bare, slice to);
/* To a domain that remote_known() knows. Takes over the reference. */
void remote_send(struct worker *w, slice domain, struct stanza *st);

/* Calls fn for each domain that is connected. */
typedef void remote_fn(slice domain, unsigned links, void *arg);
void remote_each(const struct worker *w, remote_fn *fn, void *arg);

void remote_init(struct worker *w);
void remote_fini(struct worker *w);

extern const struct message_row remote_message; /* a stanza, to the worker of its link */
extern const struct message_row link_message, link_known_message, link_told_message,
    links_asked_message;
