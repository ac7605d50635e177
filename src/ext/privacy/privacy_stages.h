/* privacy_stages: applies the rules of an account to stanzas (XEP-0016 §2.2, §2.14, XEP-0191 §3.3),
 * and sends presence when the rules change. An account without rules costs one look at its slot. */
#pragma once
#include "core/stage.h"
#include "xmpp/rules.h"

struct account;
struct buf;
struct privacy;
struct session;

/* The way of a stanza, core/stage.h. */
enum verdict privacy_check(struct session *s, struct stanza **st, struct refusal *why);
enum verdict privacy_block(struct account *a, const struct stanza *st, struct refusal *why);
bool privacy_sends(const struct account *a, const struct stanza *st);
bool privacy_takes(const struct session *s, const struct stanza *st);
bool privacy_view(const struct session *s, slice contact);
bool privacy_show(const struct account *a, slice contact);
/* The same as privacy_view() without the policy: the list in force allows presence to the contact.
 */
bool privacy_list_shows(const struct session *s, slice contact);

/* An IQ set of the server to one session, or (NULL) to all that asked for the block list. */
void privacy_push(struct session *s, const struct buf *payload); /* unless it overflowed */

/* Compares what the rules allow before and after a change, and sends the resulting presence to
 * contacts and to the sessions of the account. */
struct privacy_sight;
struct privacy_sight *privacy_look(struct account *a); /* NULL: nobody to tell */
void privacy_told(struct account *a, struct privacy_sight *before);

/* The setting presence.sharing was switched: contacts on other servers and of components are gone
 * for a session, or are asked for their presence. Accounts of ours tell their own presence. */
struct roster_at;
void privacy_sharing_told(struct session *s);
/* The next of these contacts; false: there are no more. */
bool privacy_hears_remote(const struct session *s, struct roster_at *at, slice *contact);

/* The list in force for a session, or (NULL) for the account. p may be NULL. */
const struct rules *privacy_in_force(const struct privacy *p, const struct session *s);
/* A party as the roster knows it; only its address where the rules do not ask for more. */
struct rule_peer privacy_peer(const struct account *a, const struct rules *r, slice jid);
