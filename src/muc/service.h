/* service: group chat (XEP-0045) at conference.<domain> of each of our domains: what comes to a
 * room reaches it here, and requests to the service itself are answered. */
#pragma once
#include "home/host.h"

extern const struct host muc_hosts[];
