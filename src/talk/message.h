/* message: messages (RFC 6121 §5, §8) at the home of their addressee, and what an acknowledgement
 * of them means. */
#pragma once
#include "base/setting.h"
#include "core/stage.h"
#include "home/origin.h"
#include "home/router.h"

struct account;
struct session;
struct stanza;
struct worker;

extern struct setting im_durable_ack, mailbox_unsettled_max, mailbox_unsettled_bytes,
    mailbox_stranger_share, mailbox_tell_strangers;

enum routed message_to_account(struct account *a, struct stanza *st, struct origin origin,
                               uint64_t sender_entry, int64_t sender_id);
/* The account is being removed or disabled: messages that wait at ARCHIVE, and those behind them,
 * are refused. */
void messages_refuse_waiting(struct account *a);
/* Sends a notification of a service of this node to all sessions of an account that accept it, but
 * not to those that `has` says have it from the service (its bare JID). It is not stored, copied or
 * answered. Then devices that are away are notified (stage PUSH). `to` is the account. Borrows. */
typedef bool message_has_fn(const struct session *s, slice service);
void message_pass(struct account *a, struct stanza *st, message_has_fn *has);
/* The same for devices that are away alone: it is delivered to nobody. */
void message_alert(struct account *a, struct stanza *st);
/* The same for devices whose sessions hibernate: those have it in their queues. */
void message_alert_dormant(struct account *a, struct stanza *st);
/* A message that another module has stored as an entry of the account, OPEN, is committed: delivers
 * it, unless somebody has it by now. Borrows. */
void message_kept(struct account *a, struct stanza *st, uint64_t archive_id);
/* A session ended with a message that its client did not acknowledge (architecture §6). Bounce: an
 * error to the sender, unless another session has it or will. Hand over: to the sessions that lack
 * it, or it waits in the mailbox. at_us: when it was delivered. */
void message_bounce(struct account *a, struct session *ended, struct stanza *st,
                    uint64_t archive_id, uint64_t at_us);
void message_copy_lost(struct account *a, struct session *ended, uint64_t archive_id);
/* A tombstone took the place of a message to the account in the archive, and that is committed:
 * from now on sessions are sent `st` in its place. Copies for other sessions (carbons) stay.
 * Borrows. */
void message_replaced(struct account *a, uint64_t archive_id, struct stanza *st);
void message_hand_over(struct account *a, struct session *ended, struct stanza *st,
                       uint64_t archive_id, uint64_t at_us);
/* Logs what becomes of a message, and writes it into its trail (home/trail.h). event: "message.…".
 */
void message_trace(const char *event, const struct stanza *st, const char *why, unsigned sessions);
void messages_forget(struct worker *w); /* memory only: their writes have ended, or never will */
