/* roster_out: words about subscriptions that have not arrived yet: the rows of table roster_out. A
 * word to an account of ours is stored in the transaction of the change that it tells of and
 * deleted in that of the change that it brings about. A contact on another server has a row only
 * when the account is deleted or gets another address (remote/remote_unsubscribe.h). Words that are
 * left over at a start, or that the other side could not store, are sent again.
 *
 * Of an account that is emptied and keeps its address, nothing is said for ten minutes, or until it
 * is enabled: an import may fill it again, with subscriptions that its contacts still have.
 *
 * Confined to the home worker of the account, where it is not said otherwise. Limit: one row for
 * each (sender, recipient, direction): a later word replaces an earlier one. */
#pragma once
#include "base/slice.h"
#include "store/store.h"
#include "xmpp/stanza.h"
#include "xmpp/subscription.h"

struct account;
struct message_row;
struct node;
struct worker;

/* What one account tells another about its roster. The server's own "forget" is a stanza from the
 * bare domain, which no client can send: the account that it names was deleted. */
#define NS_ROSTER_OUT "urn:muster:roster"

/* Directions of the words, in the database and between nodes. */
enum roster_axis {
    AXIS_FORGET = 0, /* who had the address was deleted; told before the words of who has it now */
    AXIS_WISH = 1,   /* subscribe, unsubscribe */
    AXIS_GRANT = 2   /* subscribed, unsubscribed */
};
enum roster_axis roster_out_axis(enum sub_verb verb);

extern const enum stanza_type roster_out_types[SUB_VERB_COUNT];
enum sub_verb roster_out_verb(const struct stanza *st); /* of one of these types */

/* An account of ours confirms by deleting the row; nobody else would. Any worker. */
bool roster_out_confirms(const struct node *n, slice bare);
/* Whether the row that `sender` wrote is in the database of this node. Any worker. */
bool roster_out_is_here(const struct node *n, slice sender);
/* Whether its account is in that database: nodes can share one. Any worker. */
bool roster_out_knows(const struct node *n, slice sender);

/* Adds the row, if its addressee is one of our accounts. */
void roster_out_put(struct store_batch *b, const struct worker *w, const struct stanza *st);
void roster_out_done(struct store_batch *b, const struct stanza *st); /* adds that it is done */
/* The same, and the batch fails with STORE_CONFLICT if there is no such row: another word has
 * replaced it, or its sender was deleted. So it does as long as `rcpt` has not committed that an
 * earlier account of the sender's address was deleted: it still has what that one was granted. */
void roster_out_take(struct store_batch *b, const struct stanza *st, slice rcpt);
/* The same of the word that `jid` was deleted. */
void roster_out_forgotten(struct store_batch *b, slice jid, slice rcpt);
/* The same of what is told of the end of an account to a contact on another server: these words. */
void roster_out_confirmed(struct worker *w, slice sender, slice rcpt, unsigned words);
/* The batch fails with STORE_CONFLICT if there is such an account, which may be disabled. */
void roster_out_add_absent(struct store_batch *b, slice bare);
/* The same if there is no such account, or as long as `rcpt` has not committed that an earlier
 * account of the address was deleted: what is granted now would be taken away by that. */
void roster_out_add_settled(struct store_batch *b, slice bare, slice rcpt);
/* Adds a statement that asks the same in a batch that reads, and why it is not so; NULL: it is. */
void roster_out_look(struct store_batch *b, slice bare, slice rcpt);
const char *roster_out_settled_text(const struct store_batch *b, unsigned stmt);

/* The word is committed here; where the row is on another node, that one is told. Any worker. */
void roster_out_settle(struct worker *w, const struct stanza *st);
void roster_out_settle_forgotten(struct worker *w, slice jid, slice rcpt);
/* The home of the recipient, on another node, has committed it (frames only). */
extern const struct message_row settled_message;

/* How it is sent. `send` takes over the stanza. `keep`: the account that was deleted has a
 * successor with a subscription with this contact, of which the contact keeps that direction; it
 * tells the contact that the other one has ended, in the place of the word that the account was
 * deleted. */
struct roster_out_ways {
    void (*send)(struct account *a, struct stanza *st);
    void (*keep)(struct account *a, slice contact);
    /* For a contact on another server, and when rows are left: im/remote_unsubscribe.h. */
    void (*ends)(struct account *a, slice contact, unsigned words, int64_t due);
    void (*later)(struct worker *w);
};
/* Sends again what the accounts said whose home the worker is; `about`: only of this one or to it;
 * ptr NULL: of all. The state machines ignore copies. */
void roster_out_replay(struct worker *w, slice about, const struct roster_out_ways *ways);
/* The same of one sender, whose home the worker is. */
void roster_out_replay_of(struct worker *w, slice sender, const struct roster_out_ways *ways);
/* Sends again what accounts that were deleted are to tell, of senders whose home the worker is. */
void roster_out_replay_ends(struct worker *w, const struct roster_out_ways *ways);
/* One side has committed and the other could not: all homes do so when the store is well. */
void roster_out_later(struct worker *w);

/* Of an account that is made with a roster: contacts of ours who have no subscription that fits,
 * such as those who were told that it is deleted, are asked anew; and it is asked by those who see
 * it by their own lists, or have asked. Those of accounts from `first_id` on, which the same import
 * has made, are not told that the one before it is gone. Adds to its transaction, behind its items;
 * roster_out_replay_of() then says the former, roster_out_later() all. Disabled accounts are left
 * out: an import may still fill them. */
void roster_out_ask_anew(struct store_batch *b, slice jid, int64_t id, int64_t first_id);
void roster_out_remove(struct account *a, struct store_batch *b); /* feature.remove */
extern const struct store_schema roster_out_schema;
