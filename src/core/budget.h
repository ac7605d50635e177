/* budget: the memory of the whole process that stanzas and output may take (node.memory, design
 * §4), and the share of it that one account may have (node.memory-share).
 *
 * An account that goes beyond its share loses the session that holds most. Above the budget the
 * sessions that hold most end on all workers, in rounds: those that hold a 64th of it, then half of
 * that, and so on, until a sixteenth is free. Their stored messages go back to the mailbox, as when
 * such a session ends otherwise (architecture §6). Only where nothing is left to end, so that
 * something else takes the memory, stanzas of clients are refused with resource-constraint and each
 * connection is read at most every 100 ms. The alarm node.memory tells, and the log names each
 * session.
 *
 * It is looked at when so much was read or delivered on a worker that it might matter: each 1,024th
 * part of it. Confined to the worker, but for budget_allows(). */
#pragma once
#include "core/core.h"
#include "session/session.h"
#include <stdbool.h>
#include <stdint.h>

void budget_init(struct worker *w); /* before its loop runs */
void budget_fini(struct worker *w);

/* Nothing is left to end: stanzas of clients are refused. */
bool budget_is_over(const struct worker *w);

void budget_look(struct worker *w);
/* So many bytes were read or delivered. */
static inline void budget_grew(struct worker *w, size_t bytes)
{
    core_of(w)->budget.grown += bytes;
    if (core_of(w)->budget.grown >= core_of(w)->budget.step)
        budget_look(w);
}
/* The account may have become too heavy: its sessions are weighed, output included. */
void budget_weigh(struct account *a);
/* The same without a look at output; for each stanza. */
static inline void budget_queued(struct account *a, struct worker *w, uint64_t queue_bytes)
{
    if (queue_bytes > core_of(w)->budget.share)
        budget_weigh(a);
}

/* For core/budget_shed.h: what is used of it; what a session holds; from how much on sessions end
 * in this round; why they do. */
int64_t budget_used(void);
uint64_t budget_weight(const struct session *s);
extern _Atomic int64_t budget_floor;
enum session_end budget_end_of(const struct session *s);
void budget_log(const struct session *s, uint64_t bytes, const char *why);

/* Whether so many bytes more would be within the budget. Any thread; sums the counters of all. */
bool budget_allows(uint64_t bytes);

extern struct setting node_memory, node_memory_share;
extern struct alarm node_memory_alarm;
extern struct metric sessions_shed;

extern const struct message_row shed_message; /* sessions that hold much are ended */
