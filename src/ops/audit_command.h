/* audit_command: the entries of the audit log (ops/audit.h), made where a command ends and sent to
 * the home of DUTY_AUDIT. */
#pragma once
#include "base/slice.h"

struct command_call;
struct log_area;
struct message_row;
struct worker;

/* For an ended call, on the worker where it was given: command_audit(), and the entry. */
void audit_command(const struct command_call *call);

/* The same, and `then` on this worker: at once if the call has failed or has no entry, else when
 * the entry is stored. So what is acknowledged is in the audit log, also after a kill. */
typedef void audit_then_fn(struct worker *w, void *arg);
void audit_command_then(const struct command_call *call, audit_then_fn *then, void *arg);
/* The same of a login or what is like one: also if it has failed. */
void audit_attempt_then(const struct command_call *call, audit_then_fn *then, void *arg);

/* The call has not ended when the server does: its entry says `what` it has done. It has none
 * later. Any worker of the process; the caller holds back the end of the call meanwhile. */
void audit_cut_off(struct command_call *call, slice args, slice what);

/* Adds what the server does by itself; command: what would do that, too. On any worker. */
void audit_of_server(const char *command, slice args, slice before, slice after);

extern struct log_area audit_log_commands; /* its lines tell what the audit log tells */
/* An entry, to the home of DUTY_AUDIT. A question about it ends when it is stored, or at the latest
 * when the database fails or takes too long. */
extern const struct message_row audit_message;
