/* subscription: the subscription handshakes of RFC 6121 §3 at the two homes that take part. A
 * change commits the roster item together with the stanza that announces it
 * (presence/roster_out.h); the home of the other side deletes that row in the transaction of its
 * own change. What could not be stored is sent again, and the state machines ignore repeats.
 * Confined to the home worker of the account. */
#pragma once
#include "home/router.h"
#include "store/store.h"
#include "xmpp/subscription.h"

struct account;
struct loop;
struct session;
struct timer;

/* A stanza of one of the four types from a client; `to` is set. Takes over. */
enum routed subscription_out(struct session *s, struct stanza *st, struct origin origin);
/* For a local account that is READY. Takes over. */
enum routed subscription_in(struct account *a, struct stanza *st, struct origin origin);
/* A presence error came to the bare JID of an account that is READY: if its sender was asked for a
 * subscription and is no account of ours, the request is no longer open, unless the error says to
 * wait. An account of ours answers in the order of requests instead. Does not take over. */
void subscription_bounced(struct account *a, const struct stanza *st);
/* For a local account that does not exist. Takes over. */
void subscription_to_nobody(struct worker *w, struct stanza *st);

/* The same for one that stage BLOCK dropped: it is settled and changes nothing. Does not take over.
 */
void subscription_dropped(struct worker *w, const struct stanza *st);

/* The stanza that tells a contact about a change by the account. */
struct stanza *subscription_stanza(const struct account *a, slice contact, enum sub_verb verb);
/* Routes it when it is committed; takes over the stanza. */
void subscription_send(struct account *a, struct stanza *st);
/* Repeats the request to a contact that has not answered: either server may have lost the request,
 * or the answer. A contact that has granted it already grants it again without asking its user (RFC
 * 6121 §3.1.3). Otherwise, and while a rule keeps the contact from the account, nothing happens: a
 * refusal would end the request. true: it was repeated. */
bool subscription_ask_again(const struct account *a, slice contact);
/* Adds it to the transaction of the change, if its addressee is one of our accounts. */
void subscription_announce(struct store_batch *b, const struct account *a, const struct stanza *st);

/* An account was deleted, emptied or made (struct account_events): the words of the one before it,
 * and what an import asks, are said. */
void subscription_account_changed(struct worker *w, slice bare);

/* Of core.unconfirmed: what accounts that were deleted are to tell (remote/remote_unsubscribe.h).
 */
void subscription_unconfirmed(struct timer *t, struct loop *loop);
/* What accounts whose home the worker is have said; `about`: only of this account or to it; ptr
 * NULL: of all. */
void subscription_replay(struct worker *w, slice about);
/* The account that it is for could not be loaded or took no more, or the change could not be
 * stored. A word of an account of ours, or a "forget", is sent again when the store works, and its
 * sender needs no error. false: it is something else. */
bool subscription_failed(struct worker *w, const struct stanza *st);

extern struct log_area *const subscription_logs[];
