/* register: registration with a room (XEP-0045 §7.10, jabber:iq:register): a user becomes a member
 * and gets a nickname that nobody else may use. This happens at once where the room lets users add
 * themselves, else when somebody who edits the member list approves it (§9.9). Members may have the
 * messages sent while they are not in the room; the form field for it has the name that clients
 * know from servers which had that first. */
#pragma once
#include "home/router.h"

struct form;
struct room;

/* The form by which somebody approved or refused a registration. Takes over st. */
enum routed room_registration_answered(struct room *r, struct stanza *st, struct form *f,
                                       struct origin origin);
