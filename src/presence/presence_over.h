/* presence_over: whether an address may still take a session for available. Who says late that a
 * session has gone asks this first. At the home of the account. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>

struct account;

/* Whether this address must see nothing of a resource of the account: its session has ended, or is
 * shown to it neither by directed presence nor by what it says to all. If the address has been
 * unavailable since, what was directed to it is not known any more. */
bool presence_is_over(const struct account *a, slice resource, slice jid);
