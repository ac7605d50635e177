/* presence_in: presence comes in here: from clients, to accounts, to nobody, and by fans.
 * Subscriptions go on to presence/subscription.h, the rest to presence/presence.h. Confined to the
 * worker. */
#pragma once
#include "home/router.h"

struct account;
struct feature;
struct message_row;
struct session;

/* A presence stanza that a client sent (from is its full JID). Takes over the reference. Undirected
 * (`to` absent: to_len 0), directed, probe, or subscription management. */
enum routed presence_from_session(struct session *s, struct stanza *st, struct origin origin);
/* A presence stanza addressed to a local account that is READY (to is bare or full). Takes over. */
enum routed presence_to_account(struct account *a, struct stanza *st, struct origin origin);
/* The same where there is no such account. Takes over. */
void presence_to_nobody(struct worker *w, struct stanza *st);
/* A broadcast or a probe at the home of one it goes to (home/fan.h). Does not take over. */
void presence_arrive(struct worker *w, slice bare, struct stanza *st);

/* At start, on each worker: sends again the subscription stanzas of accounts whose home it is that
 * were committed but not received (architecture §3). */
void presence_replay(struct worker *w);
extern const struct message_row replay_message; /* the same, asked for by another worker */

extern const struct feature presence_feature;
