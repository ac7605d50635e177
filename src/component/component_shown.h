/* component_shown: which sessions the contacts and rooms of components see, in the database. If
 * this process is killed, no session says goodbye. Another server finds out by itself and asks; a
 * component takes the users for present for ever.
 *
 * Each address at the domain of a component that a session has sent its presence to has a row: a
 * room, another directed presence, or a contact that is subscribed. When the component comes
 * (worker.domain_back), each home reads the rows of its accounts. The component gets unavailable
 * presence from sessions that are not there any more, or no longer show themselves to the address.
 * So it does from those that have ended while it was not connected. A row goes when the component
 * has been told, or is deleted. So it hears of accounts that were deleted meanwhile, too.
 *
 * Confined to the worker of the session. Limits: SHOWN_CONTACTS_MAX contacts at the login of a
 * session; directed presence is bounded by presence.directed-max. A failed write is not repeated.
 */
#pragma once
#include "base/slice.h"

struct feature;
struct session;
struct store_stmt;
struct worker;

enum { SHOWN_CONTACTS_MAX = 1000 };

/* The session is sending the address presence that it was not sent before, or it has gone from
 * there: it is sent unavailable presence, or has refused the session. Nothing happens if it is not
 * at the domain of a component that is connected. */
void component_shown(struct session *s, slice to);
void component_unshown(struct session *s, slice to);
/* All have been sent unavailable presence: those of components that are connected have got it. */
void component_shown_ends(struct session *s);

/* The session is about to be gone for all who see it. */
void component_shown_leaves(struct session *s);

/* A component is added, perhaps after it was deleted, with all of its rows: sessions that are there
 * show themselves to it still. They get their rows in pages, with a pause; one that leaves this
 * worker before, then. On each worker. */
void component_shown_again(struct worker *w, slice component);
extern const struct feature component_shown_feature;
