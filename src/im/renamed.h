/* renamed: sessions that a planned restart has kept, and whose address was changed meanwhile
 * (`musterd --rename`). Those that a session had sent directed presence know its old address, and
 * nobody else tells them that it has gone: contacts have other means (im/farewell.h), components
 * rows (im/component_shown.h), and our own rooms have changed the address themselves.
 *
 * They are told when all sessions are back, and the new address owes them nothing any more. In the
 * name of a domain that is not served any more, other servers are told nothing: they would not
 * believe it. Confined to the home of the session. Limit: presence.directed-max of a session. */
#pragma once
#include "base/slice.h"

struct session;
struct worker;

/* Of a session that is thawed; was: its old full JID. */
void renamed_session(struct session *s, slice was);
void renamed_say(struct worker *w); /* when all are back */
void renamed_fini(struct worker *w);
