/* s2s: streams with other servers (RFC 6120, XEP-0178, XEP-0220), in both directions.
 *
 * A pair of a domain of ours and a foreign one is a peer (gate/s2s/peer/s2s_peer.h), whose home is
 * that of the foreign domain. It has one outgoing stream (gate/s2s/link/s2s_out.c) and the stanzas
 * that wait for it. So there is one order for each pair of addresses. A stream that another server
 * opened (gate/s2s/link/s2s_in.c) stays on the worker that accepted it.
 *
 * Limits: S2S_LISTENERS_MAX addresses; those of the rows s2s.* (gate/s2s/s2s_rows.c). */
#pragma once
#include "base/err.h"
#include "core/stage.h"
#include "home/edge.h"

struct s2s_gate;
struct setting;
struct tls_ctx;
struct tls_trusted;
struct worker;

enum { S2S_LISTENERS_MAX = 16 };

struct s2s_listen {
    const char *address;
    bool tls;   /* from the first byte (XEP-0368) */
    bool proxy; /* a PROXY header comes first */
};

/* trusted: what is trusted when a connection begins; it outlives the gate. Takes a reference to
 * tls. */
NODISCARD enum err s2s_create(struct s2s_gate **out, const struct s2s_listen *listens, size_t count,
                              struct tls_ctx *tls, struct tls_trusted *trusted, struct why *why);
void s2s_destroy(struct s2s_gate **g);                     /* after the loops have ended */
void s2s_set_tls(struct s2s_gate *g, struct tls_ctx *tls); /* any thread */

extern const struct edge s2s_edge; /* `own` is a struct s2s_gate */
extern const struct feature s2s_feature;
/* Stage CHECK: what the policy does not let out is refused before anything is done with it. */
enum verdict s2s_check(struct session *s, struct stanza **st, struct refusal *why);
/* The rules about other servers are new: streams of pairs that may not exchange stanzas any more
 * end. feature.foreign.changed. */
void s2s_pairs_changed(struct worker *w);
void s2s_policy_changed(struct worker *w, const struct setting *s); /* `changed` of rows */
