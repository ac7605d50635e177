/* slots: messages for a slot of JIDs that is not here, or only coming. A slot moves to another node
 * while others still send to the old one, and the registries of two nodes may disagree for a while
 * (docs/architecture.md §12).
 *
 * A message whose row has a slot is passed on to where the slot is, at most PASSES_MAX times; then
 * nobody has the slot, and its row says so to whoever waits (message_row.unplaced). The count
 * travels with the message (message_from.passed).
 *
 * The worker to which a slot comes holds what is for it until slot_came(): then it runs first what
 * the old home sent or passed on, then the rest. So what one worker has sent is run in the order in
 * which it was sent, by whichever way it came. Which worker moves what, and when: account/moves.h.
 *
 * Confined to the worker. Limits: SLOT_HELD_MAX messages, beyond which they are unplaced. */
#pragma once
#include "home/message.h"

struct worker;

enum { PASSES_MAX = 4, SLOT_HELD_MAX = 100000 };

/* Whether this message is not to be run here, now: it is passed on, held or unplaced, and its
 * references are given away. By home/message.c, for messages of other nodes, and while slots come
 * to this worker or leave it for all. */
bool slots_divert(struct worker *w, const struct message_row *row, void *message,
                  const struct message_from *from);
/* Whether calls between two homes of this worker have to be messages: some slot comes or goes. */
bool slots_are_moving(const struct worker *w);
/* What is for the slot is to be held, or is at another home. */
bool slot_is_away(const struct worker *w, unsigned slot);

/* The slot comes from that worker: begins to hold. If it does already, it goes on, and the slot
 * comes from there. Whoever says so sees to it that slot_came() is called. */
void slot_comes(struct worker *w, unsigned slot, uint32_t node, unsigned worker);
bool slot_is_coming(const struct worker *w, unsigned slot); /* it is held for */
/* All of it is here, or it does not come: runs what was held. Nothing if nothing is. */
void slot_came(struct worker *w, unsigned slot);

/* The slot goes from here: until slot_went(), messages of this process are looked at, too. */
void slot_goes(struct worker *w, unsigned slot);
void slot_went(struct worker *w, unsigned slot);

void slots_fini(struct worker *w);
