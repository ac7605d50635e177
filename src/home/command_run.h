/* command_run: takes a command to where it runs. The row says where (struct command.runs_at), so a
 * handler begins at the home of what it is about and has no way of its own to get there. Addresses
 * among the arguments are checked and prepared first. */
#pragma once
#include "base/command.h"
#include "io/loop.h"

struct message_row;
struct worker;

/* Whether the principal may run the command: the row's permission (command_permission()) is in its
 * grants and scope, or it is a row for everybody's own account (COMMAND_OWN; the call must be about
 * that one). COMMAND_LOCAL is for the machine itself. Weak ones do not change administrators.
 * E_DENIED: `why` names the permission, and who gives it. */
NODISCARD enum err command_allowed(const struct command *c, const struct principal *p,
                                   struct why *why);
/* For a call that command_allowed() lets pass: who has no permission but for the own account names
 * no other one. */
NODISCARD enum err command_owner_allowed(const struct command_call *call, struct why *why);

/* Runs a call whose arguments are bound, if its principal may: else it fails with E_DENIED. On the
 * worker of the call; `finished` may be called before this returns. The call fails if an address is
 * not what its row asks for. */
void command_run(struct command_call *call);
void command_run_here(struct worker *w, struct command_call *call); /* where it runs */
/* The same check for an address that is in no argument: of a file, or one of several. *prepared is
 * in the arena of the call. false: the call has failed. */
bool command_address_ok(struct command_call *call, enum param_type type, slice text,
                        slice *prepared);
/* The name of a setting, or the first part of one, as it is registered: NAME@DOMAIN may have
 * another writing of the domain, such as A-labels. */
slice command_setting_name(slice text, struct arena *arena);
/* Whether the node serves that domain. false: the call has failed, with what to do. */
bool command_domain_served(struct command_call *call, slice domain);

/* For `finished`: the way back to the worker of the caller. `fn` runs there, later, when whoever
 * ended the call does not look at it any more. `r` stays where it is until then. Any worker. It
 * does not come to that if the loops end first. */
struct command_return {
    struct loop_defer defer;
    struct worker *to;
    void (*fn)(struct command_return *r);
};
void command_return(struct command_return *r, struct worker *to,
                    void (*fn)(struct command_return *r));

/* On its way, and back. */
extern const struct message_row command_message, command_ended_message;
