/* s2s_out: our stream to another server (RFC 6120, XEP-0178, XEP-0220) for one partner: STARTTLS,
 * its certificate, then ours or a key of dialback. Before that it can ask about keys. If the server
 * has XEP-0198, a session is resumed or begun, and what is written is asked about. Where
 * both servers have XEP-0288, stanzas of the other domain to ours come back on it, and of no other
 * pair. Else what comes are answers, or the stream ends. Confined to the worker of its
 * partner. */
#pragma once
#include "gate/s2s/s2s_gate.h"
#include "gate/s2s/s2s_stage.h"

struct in_flow;
struct partner;
struct s2s_found;
struct s2s_out;
struct stanza_note;

/* Takes over the connection that was found. */
struct s2s_out *s2s_out_start(struct partner *p, const struct s2s_found *found);
void s2s_out_go_on(struct s2s_out *o); /* there is something to ask or to authenticate for */
/* Writes a stanza to a stream that is up; borrows. */
void s2s_out_write(struct s2s_out *o, const struct stanza *st, const struct stanza_note *note);
void s2s_out_is_full(struct s2s_out *o); /* tells the partner if it is */
void s2s_out_close(struct s2s_out *o);
/* The same when something is not confirmed: the server may still do that until its own end, which
 * is awaited for 2 s. Nothing may be written any more. What the server has sent is handled first
 * and acknowledged, for at most 2 s, or 1 s when the edge stops; if it counts, and is not silent,
 * it is read before that for at most 2 s, or 0.4 s. Again: nothing. */
void s2s_out_finish(struct s2s_out *o);
bool s2s_out_hears_nothing(const struct s2s_out *o); /* the server is silent, or counts nothing */
/* Of a stream that is to be resumed, the count of the answer is awaited for as long, and nothing
 * else of it. false: it is none. */
bool s2s_out_hears_count(struct s2s_out *o);
/* A pair of the stream may speak no more: nothing is read while it says goodbye. Then it is closed,
 * or finished; or it goes on. */
void s2s_out_parts(struct s2s_out *o, bool on);
/* Whether something that the server counts has come on it and is not handled yet. */
bool s2s_out_handles(const struct s2s_out *o);
/* Whether the system of the server has taken all that was written. */
bool s2s_out_has_arrived(const struct s2s_out *o);
/* Its server has ended it, and is asked what it has read: pings go on, for at most 2 s, until all
 * is confirmed. */
bool s2s_out_proves(const struct s2s_out *o);
void s2s_out_is_proved(struct s2s_out *o); /* a ping was answered */
/* What counts the stanzas that come on it; NULL: none may come. */
struct in_flow *s2s_out_flow(const struct xstream *x);
void s2s_out_flow_rests(struct xstream *x); /* of these, none is under way */
/* For an operator: "TLSv1.3", "certificate"; empty: none. */
void s2s_out_describe(const struct s2s_out *o, const char **tls, const char **auth);
/* What is going on. late: the server does not answer. */
enum s2s_stage s2s_out_stage(const struct s2s_out *o, bool late);
uint64_t s2s_out_id(const struct s2s_out *o); /* of its stream, on this node */
const struct conn *s2s_out_conn(const struct s2s_out *o);
slice s2s_out_host(const struct s2s_out *o); /* HOST:PORT, or ADDRESS:PORT, that was dialled */
uint32_t s2s_out_max_bytes(const struct s2s_out *o); /* of a stanza that it takes; 0: not said */
bool s2s_out_is_pinned(const struct s2s_out *o);     /* its certificate counts as a pinned one */
static inline const struct s2s_out *s2s_out_const(const struct xstream *x)
{
    return (const struct s2s_out *)x;
}
static inline struct s2s_out *s2s_out_of(const struct xstream *x)
{
    return (struct s2s_out *)(uintptr_t)x; /* its first member */
}
