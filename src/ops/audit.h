/* audit: the audit log: a table of who did what, from where, with which result. Entries are
 * appended only. Each has the SHA-256 of the entry before it and of itself, so an entry that was
 * changed, removed or put in between is found (`audit verify`). Old ones are cut off at the begin
 * (setting audit.keep); the rest stays a chain.
 *
 * What is in it: commands that change something, those that were refused, and reading commands
 * whose row says so (struct command.audited). What a user
 * without any role tries is in the log of the process only. Secrets are not, and of messages their
 * length.
 *
 * The home of DUTY_AUDIT appends, in the order in which calls end. While the database is away,
 * PENDING_MAX entries wait; of more, an entry says how many were lost. An entry that waits when the
 * process is killed is in the log of the process only. */
#pragma once

struct command_call;
struct feature;
struct log_area;

/* For an ended call, on the worker where it was given: command_audit(), and the entry. */
void audit_command(const struct command_call *call, struct log_area *area);

/* Called at the home of the duty when entries were appended. Set at its start; one. */
void audit_on_stored(void (*stored)(void));

extern const struct feature audit_feature;
