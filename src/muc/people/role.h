/* role: what another affiliation, role or configuration does to those in the room (XEP-0045 §9,
 * §10). */
#pragma once
#include "base/slice.h"
#include "xmpp/muc.h"

struct occupant;
struct room;
struct show;

/* Apply what changed to those in the room (§9, §10): new affiliation, role or both, with the
 * presence that tells. Occupants who may not stay are removed. */
void room_set_role(struct room *r, struct occupant *o, enum room_role role, const struct show *how);
/* true: somebody with this address is in the room. */
bool room_affiliation_changed(struct room *r, slice jid, const struct show *how);
/* The configuration has changed: bits of enum room_diff. */
void room_config_applied(struct room *r, unsigned diff);
