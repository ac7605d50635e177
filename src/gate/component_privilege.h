/* component_privilege: what a component does in the name of users (XEP-0356), where it comes in:
 * whether it may. Here the sender is certain, since it has proven its secret. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>

struct stanza;
struct worker;

/* A stanza of the component of this domain, with `to`. true: it is taken over, and answered or on
 * its way; false: it is like any other. */
bool component_privilege_takes(struct worker *w, slice component, struct stanza *st);
