/* send: messages of a room for one address, which are kept until they are there: private messages
 * (XEP-0045 §7.5), invitations and declines (§7.8.2), questions to administrators. An account of
 * this server keeps its own. One for another server is a row of the room until that server has
 * confirmed it (archive/pending.h). At the home of the room. */
#pragma once
#include "home/router.h"

struct room;
struct stanza;

/* Takes over st. As route(). */
enum routed room_send(struct room *r, struct stanza *st, struct origin origin);
