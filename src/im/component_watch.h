/* component_watch: what external components see of the users of a domain without being asked
 * (XEP-0356): their presence, as if each session sent it to the component too (§6), and changes of
 * their contact lists (§4.2). Who may is in im/component_rights.h. Views, blocking and capacity for
 * presence do not apply: the component is trusted like the server. At the home of each user.
 *
 * Presence goes to the component from each session; when the component comes, it is told of all
 * that are available (business rule 1). Presence of contacts elsewhere is not sent (`roster`). */
#pragma once
#include "base/slice.h"

struct account;
struct message_row;
struct session;
struct stanza;
struct worker;

/* The component is connected, or its rights have changed: it is told what there is, by the homes of
 * all sessions. On any worker. */
void component_watch_begins(struct worker *w, slice component);
/* A change of the contact list of a user: an <iq type='set'/> without addresses. Borrows. */
void component_watch_roster(struct account *a, const struct stanza *push);

/* For the feature in im/privilege.c: presence of a session was broadcast. */
void component_watch_presence(struct session *s, struct stanza *st);
extern const struct message_row component_watches_message;
