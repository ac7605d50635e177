/* worker: one loop and all that has its home there: accounts and sessions whose home it is.
 * Confined to its thread.
 */
#pragma once
#include "auth/credentials.h"
#include "base/list.h"
#include "base/map.h"
#include "home/actor.h"
#include "io/loop.h"
#include "io/timer.h"
#include "xmpp/stanza.h"

struct gate_ops;
struct mesh_port;
struct node;
struct store;
struct work_pool;
struct xml_work;

struct worker {
    struct node *node;
    unsigned index;
    struct loop *loop;
    struct mesh_port *port;
    struct store *store;
    struct work_pool *work;
    struct auth auth;     /* the same store, helpers and loop for auth/ */
    void *gate;           /* of the gate on this worker */
    struct xml_work *xml; /* scratch of the readers on this worker */
    struct actors accounts;
    struct map sessions;  /* struct session by id (8 bytes) */
    struct map asks;      /* of im/ask.c: requests of the server that wait for answers */
    struct map joins;     /* of im/ticket_join.c: by id */
    struct map questions; /* of home/question.c: by id (4 bytes) */
    uint32_t question;    /* the last id */
    uint64_t delivered;   /* messages of other workers of this process */
    struct map remotes;   /* of im/remote.c: domains of components */
    struct map streams;   /* of the gate: by stream id; for streams whose session lives elsewhere */
    uint64_t next_id;     /* ids of sessions and streams: counter << 16 | index */
    struct timer resend;  /* of im/subscription.c: what could not be stored is told again */
    uint32_t resend_ms;
    struct list acks; /* sessions that owe an <a/> at the end of the tick */
    struct loop_defer ack_defer;
    struct list endings; /* sessions that end when the delivery under way is over */
    struct loop_defer end_defer;
    void **state_of; /* of features: worker.slot of struct feature */
    bool pressure;   /* an outbox of the mesh is not empty: connections do not read */
    bool stopping;
    bool over_budget; /* stanzas of clients are refused, see im/budget.h */
    struct budget {
        uint64_t grown, step; /* bytes read and delivered since the last look; the next one */
        uint64_t share;       /* bytes that one account may hold */
        struct loop_defer defer;
        struct timer timer; /* looks again after the alarm */
    } budget;
};

struct worker *worker_here(void);       /* of this thread; NULL elsewhere */
void worker_here_set(struct worker *w); /* at the start of its thread */
