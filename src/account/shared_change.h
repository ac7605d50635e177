/* shared_change: how a worker goes from one table of groups (account/shared.h) to the next. All do
 * it in step, as ext/groups/groups.c asks: first each takes the table of its node and pushes what
 * is different in rosters to the sessions that know them (RFC 6121 §2.1.6); when all have it, each
 * tells those who see its accounts from now on, or no longer. So whoever asks for presence is
 * known where the answer is.
 *
 * Confined to the worker but for `next`, which the first worker of a node sets before the others
 * are told to take it. Limit: work of SHARED_TURN_PEOPLE people a turn of the loop. */
#pragma once
#include "home/message.h"
#include "io/loop.h"

struct shared;
struct worker;

enum shared_step { SHARED_TAKE = 0, SHARED_SHOW = 1 };

struct shared_state {
    struct shared *now;  /* what the accounts of the worker go by; NULL: no groups */
    struct shared *was;  /* before it, until the step SHARED_SHOW is done */
    struct shared *next; /* of the first worker of a node: for all of it */
    bool offered;        /* `next` was read, if only to find that there are no groups */
    bool telling;        /* sessions have yet to learn what is different */
    bool walking;
    uint8_t step;
    uint32_t at;
    struct message_from from; /* who waits for the end of the step */
    struct loop_defer defer;
};

/* The table for all workers of the node. Takes over. On its first worker, or before they run. */
void shared_offer(struct worker *w, struct shared *t);
/* Before the loop of the worker runs: nobody is there to be told. */
void shared_begin(struct worker *w);
void shared_fini(struct worker *w);

/* A step, on each worker of each node: home/question.h. */
struct shared_do {
    uint8_t step; /* enum shared_step */
};
extern const struct message_row shared_message;
