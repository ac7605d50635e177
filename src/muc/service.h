/* service: group chat (XEP-0045) at conference.<domain> of each of our domains: what comes to a
 * room reaches it here, and requests to the service itself are answered. */
#pragma once
#include "home/host.h"

struct room;

#define MUC_LABEL "conference" /* of the service: conference.<domain> */

extern const struct host muc_hosts[];
/* Whether group chat is on, and the domain of the room is one of ours. */
bool room_is_served(const struct room *r);
/* A stanza to the room, or to an occupant of it, when the room is loaded. Takes over st. */
enum routed room_receive(struct room *r, struct stanza *st, struct origin origin);
