/* moves: a slot of addresses moves to another node of the same database: its accounts with their
 * sessions, which keep their streams, their counts and the tickets that their h waits for. Clients
 * notice nothing but a pause.
 *
 * The old home asks the new one to hold what comes for the slot (home/slots.h), and holds it
 * itself, until nothing of its accounts is under way. Then it freezes them, sends them, says in the
 * registry of its node that the slot is at the new home, and passes on what it has held. It asks
 * all workers of all nodes to send there, too. When all have answered, nothing is on the old way
 * any more, nor from the old home to a stream, and it tells the new home, which loads the accounts,
 * thaws them, and runs what was held. So between two homes, and between a session and its stream,
 * the order stays.
 *
 * If an account cannot be loaded at the new home, or its bytes are not whole, the streams of its
 * sessions are closed. If the old home is gone, or silent for SLOT_LATE_MS, the new one goes on
 * with what has come.
 *
 * Clients that have said that they are in the background (XEP-0352) are taken for active, even if
 * the move is given up, until they say so again.
 *
 * What a restart cannot keep (account/restart.h), a move cannot either, but for the streams and
 * what they say. Only accounts move yet, not the rooms whose address is in the slot. */
#pragma once
#include "base/err.h"
#include <stdint.h>

struct message_row;
struct worker;

enum { SLOT_QUIET_MS = 5000, SLOT_LATE_MS = 60000 };

/* OK: all of it was sent, and what comes for it goes there. E_AGAIN: something of it was under way
 * for SLOT_QUIET_MS, or there is another move of it; E_DOWN: the other node did not answer. Then
 * all is as it was. */
typedef void slot_moved_fn(struct worker *w, enum err e, void *arg);
/* To another node that shares the database. At the home of the slot; `done` is called there,
 * perhaps from inside. */
void slot_move(struct worker *w, unsigned slot, uint32_t node, slot_moved_fn *done, void *arg);

void moves_node_gone(struct worker *w, uint32_t node); /* another one */
void moves_fini(struct worker *w);
extern const struct message_row slot_move_message;
