/* renamed: sessions that a planned restart has kept, and addresses that were changed meanwhile
 * (`musterd --rename`).
 *
 * A session whose contact was renamed is resumed by a client that lists the old address: it gets
 * the change as roster pushes (RFC 6121 §2.1.6), and the presence of the new address.
 *
 * Of a session that was renamed itself: those that a session had sent directed presence know its
 * old address, and nobody else tells them that it has gone: contacts have other means
 * (remote/remote_unsubscribe.h), components rows (component/component_shown.h), and our own rooms
 * have changed the address themselves.
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
/* Of a session that is thawed; names: packed (home/texts.h), old and new addresses of accounts. */
void renamed_contacts(const struct session *s, slice names);
void renamed_say(struct worker *w); /* when all are back */
void renamed_fini(struct worker *w);
