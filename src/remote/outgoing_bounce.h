/* outgoing_bounce: a stored message of ours for a foreign domain goes back to its sender
 * (remote/outgoing.h). At the home of the sender, in one transaction, the message waits no longer
 * and the error is an entry of the sender's mailbox (talk/mailbox.h). So a crash loses neither, and
 * the sender is told once: by the client that sent the message, by the others if that is gone, or
 * at the next login. RFC 6121 §8.5.2.2 and XEP-0160 §3 let a server drop errors for absent users;
 * but this one says that an acknowledged message is lost, and nobody else says it.
 *
 * If the message is in the archive of its sender, so is the error. A room that is the sender gets
 * the error as any stanza.
 *
 * Limits: the mailbox takes the error also when it is full: s2s.kept-max bounds how many there can
 * be. Nobody is told if the account is deleted or disabled meanwhile, or if it refuses what comes
 * from that address now. */
#pragma once
#include "remote/outgoing.h"

/* Says it of one message. `error`: what its sender is told, from the foreign address; takes over
 * the reference. NULL: nobody is told. `done` is called once, later, unless the worker ends before;
 * E_NOTFOUND: the message did not wait, and nobody is told; else, if not OK, it waits as before. */
void outgoing_bounce(const struct outgoing_pair *pair, const struct outgoing_id *id,
                     struct stanza *error, outgoing_fn *done, void *arg);

extern const struct message_row outgoing_bounce_message;
