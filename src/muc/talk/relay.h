/* relay: IQs between occupants (XEP-0045 §16.4 and "allow_query_users" of other servers). A request
 * to room/nick goes to the client behind it, and its answer comes back. Both are sent as from
 * occupants, by the nicknames at the time of the request. The id contains the asking session and
 * the asked occupant. If that occupant leaves without an answer, the room answers. Requests to
 * oneself are answered here: the self-ping of XEP-0410.
 *
 * Limit: RELAYS_MAX waiting requests of a room; the room does not answer for older ones. */
#pragma once
#include "home/router.h"

struct room;

/* Handles an IQ to an occupant of a READY room. Takes over st. */
enum routed room_iq_relay(struct room *r, struct stanza *st);
