/* s2s_in: a stream that another server has opened to us (RFC 6120, XEP-0178 §3, XEP-0220). It
 * proves one or more pairs of a foreign domain and one of ours, by its certificate or by dialback;
 * only stanzas of such pairs are taken. Confined to the worker that accepted its connection. */
#pragma once
#include "gate/s2s/s2s_gate.h"
#include "io/peers.h"

struct s2s_in;

/* Takes over a connection that is not started, and its place among those of its address. */
void s2s_in_start(struct s2s_gate *g, struct worker *w, struct conn *c,
                  const struct peer_key *peer);
void s2s_in_map_init(struct map *m); /* of streams by their ids */
/* Ends it if one of its foreign domains may not connect any more. */
void s2s_in_policy_changed(struct s2s_in *s);
void s2s_in_show(const struct s2s_in *s, s2s_show_fn *show, void *arg); /* each of its pairs */
bool s2s_in_close(struct s2s_in *s, slice remote); /* if that is one of its domains */
bool s2s_in_is_pinned(const struct s2s_in *s);     /* its certificate counts as a pinned one */
/* The edge stops. What is under way is handled first, for at most a second: what is committed and
 * not acknowledged would come twice, because the next start has forgotten this stream. */
void s2s_in_stop(struct s2s_in *s);
static inline struct s2s_in *s2s_in_of(const struct xstream *x)
{
    return (struct s2s_in *)(uintptr_t)x; /* its first member */
}
