/* audit: the audit log: a table of who did what, from where, with which result. Entries are
 * appended only. Each has the SHA-256 of the entry before it and of itself, so an entry that was
 * changed, removed or put in between is found (`audit verify`). Old ones are cut off at the begin
 * (setting audit.keep); the rest stays a chain. Its two ends are sealed with the key of the node
 * and written with each batch; where they do not fit at a start, an entry says so.
 *
 * Entries are commands that change something, those that were refused, and reading commands whose
 * row says so (struct command.audited). What a user without any role tries is in the log of the
 * process only. Secrets are not, and of messages their length.
 *
 * The home of DUTY_AUDIT appends, in the order in which calls end. While the database is away,
 * PENDING_MAX entries wait; of more, an entry says how many were lost. An entry that waits when the
 * process is killed is in the log of the process only. An answer to a command that was done waits
 * until its entry is stored, but not while the database fails, and not longer than 2 s. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct feature;
struct store;

/* Adds what a tool does while no server runs: the entry is written when this returns. actor:
 * "musterd:root". */
NODISCARD enum err audit_of_tool(struct store *store, slice actor, const char *command, slice args);

/* Called at the home of the duty when entries were appended. Set at its start; one. */
void audit_on_stored(void (*stored)(void));

extern const struct feature audit_feature;
