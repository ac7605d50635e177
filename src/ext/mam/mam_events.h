/* mam_events: the command `archive events`: what was corrected, retracted or moderated, in the
 * order of the log (archive/event.h), with the words that stood there. For operators at the control
 * socket alone, since no user may read those words any more.
 *
 * What a message corrects is looked for when the event is read: the last version by the same author
 * among the LOOK_BACK messages before it in the conversation.
 *
 * Limits: ROWS_MAX events an answer; more are asked for with --after. */
#pragma once
#include "base/command.h"
#include "store/store.h"

extern struct command mam_events_command;
extern struct store_stmt *const mam_events_stmts[];
