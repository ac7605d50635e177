/* command_far: a command that runs on another node, or on every worker of every node
 * (home/command_run.h): its name and arguments go there as a question, its rows and its last words
 * come back. Keys of rows and arguments travel as names, so two releases understand each other;
 * columns that this one does not know are left out. Values have the type of their column.
 *
 * If the node is gone before it has answered, a command for one home fails with E_DOWN; it may have
 * run. One for all goes on without that node, also after QUESTION_MS, and its last words say so. */
#pragma once
#include "home/message.h"

struct command_call;

/* On the worker of the call; the call ends there. */
void command_far(struct command_call *call, uint32_t node, unsigned worker);
/* On the worker of the call, where `gathered` is called later. */
void command_everywhere(struct command_call *call);

extern const struct message_row command_asked_message, command_answered_message,
    command_each_message;
