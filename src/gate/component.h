/* component: external components (XEP-0114): services such as gateways and push app servers that
 * connect to a listener of their own, prove a secret and then serve a domain. Several connections
 * may serve one domain.
 *
 * A connection stays on the worker that accepted it. Its states are those of xmpp/stream.h; while
 * it is BINDING, the workers are told.
 *
 * Wrong secrets are throttled like wrong passwords (auth/throttle.h): by domain and address.
 *
 * Limits: REMOTE_LINKS_MAX connections a domain, COMPONENT_LISTENERS_MAX listeners, the output that
 * may wait for a component (component.output-max). */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include "home/edge.h"
#include "home/here.h"

struct component_gate;

enum { COMPONENT_LISTENERS_MAX = 16 };

struct component_listen {
    const char *address;
    bool proxy; /* a PROXY header comes first */
};

NODISCARD enum err component_create(struct component_gate **out,
                                    const struct component_listen *listens, size_t count,
                                    struct why *why);
void component_destroy(struct component_gate **g); /* after the loops have ended */

/* Ends the connections of a domain that are on this worker, whatever their state: its secret counts
 * no more. why: the text of the stream error. Nothing where there are no listeners. */
void component_end(struct worker *w, slice domain, slice why);

extern const struct edge component_edge; /* `own` is a struct component_gate */
extern const struct feature component_feature;
