/* s2s_trace_links: the streams for stanzas of a pair of domains, for gate/s2s/s2s_trace.h. They are
 * on different workers (gate/s2s/s2s_connections.h), so each worker of this process is asked.
 * Confined to the worker that asks. */
#pragma once
#include "base/slice.h"

struct worker;
struct trace_links;

/* One of them. connection: which, if the pair has several; else -1. */
typedef void trace_link_fn(void *arg, int connection, slice text);

struct trace_links_want {
    slice local, remote;
    trace_link_fn *link;
    void (*done)(void *arg); /* it is gone then */
    void *arg;
};

/* The callbacks come later: each stream in the order of its number, then `done`. */
struct trace_links *trace_links_ask(struct worker *w, const struct trace_links_want *want);
void trace_links_cancel(struct trace_links **l); /* no callback comes any more */

struct message_row;
extern const struct message_row trace_links_message, trace_link_message;
