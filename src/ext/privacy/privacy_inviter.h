/* privacy_inviter: invitations and their declines come from a room, so the rules are applied to
 * their real sender. Otherwise a blocked user could reach the account through a room. Rooms of this
 * server name the sender in an element that only the account sees. What other services say about
 * the sender can only lead to blocking. */
#pragma once
#include "base/slice.h"

struct account;
struct stanza;

/* The inviter, or the decliner, of an invitation that comes from a room (XEP-0045 §7.8.2): bare JID
 * in scratch; empty: it is no such message, or it is the owner. */
slice privacy_inviter(const struct account *a, const struct stanza *st);
