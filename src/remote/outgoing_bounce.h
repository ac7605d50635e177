/* outgoing_bounce: a stored message of ours for a foreign domain goes back to its sender, who is
 * told for sure. At the home of the sender, in one transaction, the message waits no longer and the
 * error is an entry of the sender's mailbox (talk/mailbox.h): it is told once, to the client that
 * sent it, to the others if that is gone, or at the next login. If the message is in the archive,
 * so is the error. A room that is the sender gets the error as any stanza.
 *
 * The mailbox takes the error also when it is full: s2s.kept-max bounds how many there can be.
 * Nobody is told if the account is deleted meanwhile. */
#pragma once
#include "remote/outgoing.h"

/* Says it of one message. `error`: what its sender is told, from the foreign address; takes over
 * the reference. NULL: nobody is told. `done` is called once, later, unless the worker ends before;
 * E_NOTFOUND: the message did not wait, and nobody is told; else, if not OK, it waits as before. */
void outgoing_bounce(const struct outgoing_pair *pair, const struct outgoing_id *id,
                     struct stanza *error, outgoing_fn *done, void *arg);

extern const struct message_row outgoing_bounce_message;
