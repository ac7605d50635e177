/* cert_domains: the domains that a certificate of ours may name beside those that the server
 * serves: those of components. A component has no certificate of its own: it shows one that names
 * it (io/tls.h). On a worker; everything is copied to the arena. */
#pragma once
#include "base/slice.h"

struct arena;
struct worker;

struct cert_component {
    slice domain;
    slice parent; /* the nearest domain of ours above it; empty: none */
};
struct cert_components {
    struct cert_component *item; /* sorted by their domains */
    size_t count;
};
void cert_components(struct cert_components *out, const struct worker *w, struct arena *arena);
