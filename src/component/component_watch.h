/* component_watch: what external components see of the users of a domain without being asked
 * (XEP-0356): their presence, as if each session sent it to the component too (§6), and changes of
 * their contact lists (§4.2). The right for it is in component/component_rights.h. Views, blocking
 * and capacity for presence do not apply: the component is trusted like the server. At the home of
 * each user.
 *
 * Presence goes to the component from each session; when the component comes, it is told of all
 * that are available (business rule 1).
 *
 * With `presence=roster` it also gets a copy of each available or unavailable presence that a user
 * gets from a contact, or would get with a client. The copy comes from the address of the contact,
 * and is made behind stage BLOCK. Presence of rooms is not copied, nor that of the component's own
 * users, nor that of users whom the component sees anyway. A worker does not copy the same presence
 * twice in a row, however many users get it. It remembers WATCH_CONTACTS contacts at a time; others
 * may be copied again. */
#pragma once
#include "base/slice.h"

struct account;
struct message_row;
struct session;
struct stanza;
struct worker;

enum { WATCH_CONTACTS = 4096 };

/* The component is connected, or its rights have changed: it is told what there is, by the homes of
 * all sessions. On any worker. */
void component_watch_begins(struct worker *w, slice component);
/* A change of the contact list of a user: an <iq type='set'/> without addresses. Borrows. */
void component_watch_roster(struct account *a, const struct stanza *push);
/* Presence of somebody else was accepted for the account. Borrows. */
void component_watch_contact(struct account *a, struct stanza *st);
/* Whether presence for this account of ours is wanted though the account is not loaded. */
bool component_watch_wants(const struct worker *w, slice bare, const struct stanza *st);

/* For the feature in component/privilege.c: presence of a session was broadcast. */
void component_watch_presence(struct session *s, struct stanza *st);
extern const struct message_row component_watches_message;
extern unsigned component_watch_slot;
void component_watch_forget(struct worker *w); /* which presence of contacts it has copied */
