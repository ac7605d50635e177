/* inviter: invitations and their declines come from a room (XEP-0045 §7.8.2), so rules about
 * addresses are applied to their real sender, too. Otherwise a blocked user could reach an account
 * through a room. Rooms of this server name the sender in an element that only the home of the
 * account sees. What other servers say about the sender may be made up. */
#pragma once
#include "base/slice.h"

struct stanza;
struct worker;

/* The inviter, or the decliner: bare JID in scratch; empty: it is no such message, or it is
 * `owner`, the account that the message is for or from. */
slice inviter_find(const struct worker *w, const struct stanza *st, slice owner);
