/* import: accounts of another server, with all that features know of them. Every source is read as
 * elements of the portable format (ext/import/import_source.h), and each feature takes its own
 * elements (im/portable.h). Each account gets its id first, and then is one transaction.
 * Accounts that are there already are left alone, so an import that was interrupted is run again.
 * The commands are in ext/import/import_commands.c.
 *
 * Limits: one import at a time; STEP_USERS accounts under way; IMPORT_USERS_MAX in a source;
 * REPORT_ROWS_MAX lines of the report, of which the rest is counted. */
#pragma once
#include "base/slice.h"

struct command_call;
struct source_kind;
struct worker;

struct import_from {
    const struct source_kind *kind;
    slice path;
    slice groups; /* a file of groups of Prosody; empty: there is none */
    slice domain; /* of users whose source names none; empty: they are refused */
};

/* By a command with the flags dry-run and replace; it ends the call. */
void import_run(struct command_call *call, const struct import_from *from);

/* What an import in an earlier process left. */
void import_worker_start(struct worker *w);

extern const struct store_schema import_schema;
extern struct log_area log_import;
