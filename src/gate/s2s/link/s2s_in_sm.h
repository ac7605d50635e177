/* s2s_in_sm: what a stream of another server has brought and is not handled yet, and stream
 * management on it (XEP-0198). `h` covers a stanza when it is handled in the sense of architecture
 * §6: a message that is kept is committed then.
 *
 * A stream that breaks is kept without a connection for s2s.resume-for, in memory, if its peer has
 * asked for that. The stream that resumes it may come to any worker of any node: all are asked, and
 * the one that has it answers when nothing is under way. What `h` does not cover then was not
 * received.
 *
 * Confined to the worker of the stream. Limits: FLOW_HIGH stanzas under way, then it is not read;
 * FLOWS_KEPT_MAX of a worker, and FLOWS_OF_ADDRESS from one address: the oldest goes;
 * RESUMPTIONS_MAX attempts of a stream. */
#pragma once
#include "gate/s2s/s2s_gate.h"

struct elem;
struct in_flow;
struct message_row;
struct s2s_in;
struct stanza;

enum {
    FLOW_HIGH = 256,
    FLOW_LOW = 128, /* it is read again */
    FLOWS_KEPT_MAX = 1000,
    FLOWS_OF_ADDRESS = 256,
    RESUMPTIONS_MAX = 3
};

/* A stanza is routed, and counted. Takes over st. */
void s2s_flow_route(struct in_flow *f, struct stanza *st);
void s2s_flow_route_in(struct s2s_in *s, struct stanza *st);
/* One that is refused or dropped: it is handled. NULL: nothing counts it. */
void s2s_flow_count(struct in_flow *f);

/* Of a stream that we have opened and that the other server sends back on (XEP-0288): the flow is
 * of our peer and outlives its streams, until it is dropped. */
struct in_flow *s2s_flow_new(struct s2s_gate *g, struct worker *w);
void s2s_flow_drop(struct in_flow **f); /* it is of no stream; NULL is fine */
/* rests: it is called when nothing is under way any more. */
typedef void s2s_flow_rests_fn(struct xstream *x);
void s2s_flow_join(struct in_flow *f, struct xstream *x, s2s_flow_rests_fn *rests);
void s2s_flow_part(struct in_flow *f);    /* the stream is closed */
void s2s_flow_enable(struct in_flow *f);  /* the other server counts from now on */
void s2s_flow_goes_on(struct in_flow *f); /* ... or goes on to */
void s2s_flow_tells(struct in_flow *f);   /* its peer hears the count, as after <r/> */
/* Whether nothing is under way or lost, so that h says all. */
bool s2s_flow_is_known(const struct in_flow *f);
/* Whether the other server is still to be told that something was handled; NULL is fine. */
bool s2s_flow_is_due(const struct in_flow *f);
uint32_t s2s_flow_h(const struct in_flow *f);
uint32_t s2s_flow_open(const struct s2s_in *s);   /* that came and are not acknowledged */
bool s2s_flow_is_enabled(const struct s2s_in *s); /* its peer counts acknowledgements */
/* Whether something of it is not handled yet that its peer counts. */
bool s2s_flow_waits(const struct s2s_in *s);
/* The last <a/> before the stream ends (XEP-0198 §4). */
void s2s_flow_last_ack(struct in_flow *f); /* NULL is fine */
/* The stream is closed. It is kept, if it has an id: to be resumed if it is `broken`. */
void s2s_flow_leave(struct s2s_in *s);

/* An element of XEP-0198 on a bound stream; early: on one that has proved nothing. */
void s2s_sm(struct s2s_in *s, const struct elem *e);
void s2s_sm_early(struct s2s_in *s);
extern const struct message_row s2s_resume_message, s2s_resumed_message;

void s2s_flows_init(struct s2s_worker *sw);
void s2s_flows_fini(struct s2s_worker *sw); /* memory only */
