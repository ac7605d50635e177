/* lost: the stage in which a link of ours has failed, and why, asked of its home: only that node
 * knows it.
 * Confined to the worker that asks. */
#pragma once
#include "ops/outside.h"

/* As outside_lost(). */
void lost_ask(struct worker *w, const struct outside_lost_ask *ask);

struct message_row;
extern const struct message_row lost_ask_message, lost_stage_message;
