/* s2s_out: our stream to another server (RFC 6120, XEP-0178, XEP-0220) for one peer: STARTTLS,
 * its certificate, then ours or a key of dialback. Before that it can ask about keys. If the server
 * has XEP-0198, a session is resumed or begun, and what is written is asked about. Where
 * both servers have XEP-0288, stanzas of the other domain to ours come back on it, and of no other
 * pair. Else what comes are answers, or the stream ends. Confined to the worker of its
 * peer. */
#pragma once
#include "gate/s2s/s2s_gate.h"
#include "gate/s2s/s2s_stage.h"

struct in_flow;
struct s2s_peer;
struct s2s_found;
struct s2s_out;
struct stanza_note;

/* Takes over the connection that was found. */
struct s2s_out *s2s_out_start(struct s2s_peer *p, const struct s2s_found *found);
void s2s_out_go_on(struct s2s_out *o); /* there is something to ask or to authenticate for */
/* Writes a stanza to a stream that is up; borrows. */
void s2s_out_write(struct s2s_out *o, const struct stanza *st, const struct stanza_note *note);
/* Ends it: at once; or in order, when what was written is confirmed, at most a few seconds later.
 */
void s2s_out_close(struct s2s_out *o);
void s2s_out_end(struct s2s_out *o);
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
