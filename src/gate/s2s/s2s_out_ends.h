/* s2s_out_ends: how our stream to another server ends (RFC 6120 §4.4): what has come on it is
 * handled and acknowledged, what was written is confirmed as far as the server can, and nobody
 * waits for ever. Confined to the worker of its partner. */
#pragma once
#include "gate/s2s/s2s_gate.h"

struct s2s_out;

void s2s_out_ends_init(struct s2s_out *o);
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
/* For gate/s2s/s2s_out.c: nothing of what came is under way any more, of a stream that drains; and
 * the server has ended its half (drains of struct xstream_ops). */
void s2s_out_has_drained(struct s2s_out *o);
bool s2s_out_drains(struct xstream *x);
