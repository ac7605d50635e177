/* ask: messages to the room that are not for all who are in it: invitations that it passes on and
 * their declines (XEP-0045 §7.8.2), requests for voice (§7.13, §8.6), and the answers of moderators
 * and administrators to these and to registrations (§9.9). */
#pragma once
#include "base/slice.h"
#include "home/router.h"

struct room;
struct seat;

/* Handles such a message, of this seat (NULL: its sender is not in the room). Takes over st. */
enum routed room_asked(struct room *r, struct seat *s, struct stanza *st, struct origin origin);
/* Invites a user who became a member and is not in the room. by: bare JID of the user who did it,
 * or empty. */
void room_invite_member(struct room *r, slice bare, slice by);
