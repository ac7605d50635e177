/* server: what the server's own JID and the accounts without sessions answer. Internal to im/. */
#pragma once
#include "im/iq.h"
#include "im/router.h"
#include "store/store.h"

struct account;
struct host;
struct session;

/* im/iq.c */
extern struct setting presence_stranger_requests;
/* im/message.c */
extern struct setting im_durable_ack, mailbox_unsettled_max, mailbox_unsettled_bytes,
    mailbox_stranger_share, mailbox_tell_strangers;
bool message_storable(const struct stanza *st);
/* Whether a message is worth a notification: a text, which may be encrypted, or a call (XEP-0353).
 * Messages of a room go to the client that is in the room, messages to the account to all clients.
 */
bool message_notifies(const struct stanza *st);
unsigned message_from_session(struct session *s, struct stanza *st, struct origin origin);
/* The sender's entry of a message that goes to another node; ticket_done(origin) when it is
 * committed. */
void message_keep_sent(struct worker *w, struct stanza *st, struct origin origin, uint64_t entry,
                       int64_t sender_id);
enum routed message_to_account(struct account *a, struct stanza *st, struct origin origin,
                               uint64_t sender_entry, int64_t sender_id);
/* Sends a notification of a service of this node to all sessions of an account that accept it. It
 * is not stored, copied or answered. Then devices that are away are notified (stage PUSH). `to` is
 * the account. Borrows. */
void message_pass(struct account *a, struct stanza *st);
/* The same for devices that are away alone: it is delivered to nobody. */
void message_alert(struct account *a, struct stanza *st);
/* A session ended with a message that its client did not acknowledge (architecture §6). Bounce: an
 * error to the sender, unless another session has it or will. Hand over: to the sessions that lack
 * it, or it waits in the mailbox. at_us: when it was delivered. */
void message_bounce(struct account *a, struct session *ended, struct stanza *st,
                    uint64_t archive_id, uint64_t at_us);
/* Whether another session than `but` has the entry in its queue; own: not as a copy of what went to
 * a third one. */
bool message_elsewhere(const struct account *a, const struct session *but, uint64_t archive_id,
                       bool own);
void message_copy_lost(struct account *a, struct session *ended, uint64_t archive_id);
/* A tombstone took the place of a message to the account in the archive, and that is committed:
 * from now on sessions are sent `st` in its place. Copies for other sessions (carbons) stay.
 * Borrows. */
void message_replaced(struct account *a, uint64_t archive_id, struct stanza *st);
void message_hand_over(struct account *a, struct session *ended, struct stanza *st,
                       uint64_t archive_id, uint64_t at_us);

/* im/iq.c */
enum routed iq_from_session(struct session *s, struct stanza *st, struct origin origin);
enum routed iq_to_account(struct account *a, struct stanza *st, struct origin origin);
enum routed iq_to_host(struct worker *w, const struct host *h, struct stanza *st,
                       struct origin origin);
/* A request to a bare JID below the domain of a service: rules with IQ_TO_ROOM. Takes over st. */
enum routed iq_to_room(struct worker *w, const struct host *h, struct stanza *st,
                       struct origin origin);
enum routed server_receive(struct worker *w, struct stanza *st, struct origin origin);

/* im/account.c: at the home. Takes over st. */
enum routed account_receive(struct worker *w, struct stanza *st, struct origin origin,
                            uint64_t sender_entry, int64_t sender_id);
void account_touch(struct account *a); /* something ended: unload when idle */
void accounts_stop(struct worker *w);  /* frees all, after the loops have ended */

/* im/offline.c */
void offline_again(struct session *s);
void offline_flush(struct session *s);    /* delivers what is unsettled */
void offline_continue(struct session *s); /* the client took some of it */
/* A message was stored for the session while `flushing`: a page brings it. */
void offline_owes(struct session *s, uint64_t archive_id);
/* Messages were replaced in the archive: a page that is being read may have the old ones. */
void offline_reread(struct session *s);
void offline_cancel(struct session *s);
