/* import: accounts of another server, with all that features know of them, in the portable format
 * (ext/import/import_source.h); each feature takes its own elements (core/portable.h). Other
 * formats are converted by muster-convert before. Each account gets its id first, and then is one
 * transaction. Accounts that are there already are left alone, so an import that was interrupted is
 * run again. The commands are in ext/import/import_commands.c.
 *
 * Limits: one import at a time; STEP_USERS accounts under way; IMPORT_USERS_MAX in a source;
 * REPORT_ROWS_MAX lines of the report about users, and as many about the source as a whole; the
 * rest is counted. */
#pragma once
#include "base/slice.h"

struct command_call;
struct worker;

struct import_from {
    slice path;
    slice domain; /* of users whose source names none; empty: they are refused */
    bool once;    /* if the path is a folder, it was made for this import, and goes with it */
};

/* By a command with the flags dry-run and replace; it ends the call. */
void import_run(struct command_call *call, const struct import_from *from);

/* Removes the remains of an import in an earlier process. */
void import_worker_start(struct worker *w);

extern const struct store_schema import_schema;
extern struct log_area log_import;
