/* outside_endpoint: a push service (XEP-0357) for one notification: that of a pushtest which names
 * no service of somebody else. It is at pushtest.D for each domain D of ours, at an address whose
 * home is the worker of the test, and knows the notification by a random node. Everybody else, and
 * every other request, gets the same answer: there is no such node.
 *
 * Confined to the home of DUTY_TESTS. One test at a time. */
#pragma once
#include "base/slice.h"

struct arena;
struct feature;
struct worker;

struct outside_endpoint {
    slice service, node; /* the address, and what a notification must name; of the arena */
};
/* Where it is for that domain of ours. If that is a domain of ours, too, it gets what is sent
 * there.
 */
slice outside_endpoint_domain(slice domain, struct arena *arena);
/* The domain of ours that the notification comes from. false: no address has its home here. */
bool outside_endpoint_open(struct worker *w, slice domain, struct arena *arena,
                           struct outside_endpoint *out);
void outside_endpoint_close(struct worker *w); /* it may be closed */

extern const struct feature outside_endpoint_feature;
