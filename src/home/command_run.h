/* command_run: takes a command to where it runs. The row says where (struct command.runs_at), so a
 * handler begins at the home of what it is about and has no way of its own to get there. Addresses
 * among the arguments are checked and prepared first. */
#pragma once
#include "base/command.h"

struct message_row;
struct worker;

/* Runs a call whose arguments are bound. On the worker of the call; `finished` may be called before
 * this returns. The call fails if an address is not what its row asks for. */
void command_run(struct command_call *call);
void command_run_here(struct worker *w, struct command_call *call); /* where it runs */
/* The same check for an address that is in no argument: of a file, or one of several. *prepared is
 * in the arena of the call. false: the call has failed. */
bool command_address_ok(struct command_call *call, enum param_type type, slice text,
                        slice *prepared);

/* On its way. */
extern const struct message_row command_message;
