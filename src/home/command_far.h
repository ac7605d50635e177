/* command_far: a command that runs on another node (home/command_run.h): its name and arguments go
 * there as a question, its rows and its last words come back. Keys of rows and arguments travel as
 * names, so two releases understand each other; columns that this one does not know are left out.
 *
 * If the node is gone before it has answered, the command fails with E_DOWN; it may have run. */
#pragma once
#include "home/message.h"

struct command_call;

/* On the worker of the call; the call ends there. */
void command_far(struct command_call *call, uint32_t node, unsigned worker);

extern const struct message_row command_asked_message, command_answered_message;
