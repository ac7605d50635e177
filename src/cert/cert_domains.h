/* cert_domains: the domains that a certificate of ours may be for: those that the server serves,
 * and those of components. On a worker; everything is copied to the arena. */
#pragma once
#include "base/slice.h"

struct arena;
struct command_call;
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
/* Whether a command about certificates takes this domain: one of either kind, or another one that
 * has a certificate, such as that of a component that was deleted. At the home of DUTY_CERTS.
 * false: the call has failed. */
bool cert_domain_ok(struct command_call *call, slice domain);
