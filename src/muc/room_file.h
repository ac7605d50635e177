/* room_file: moves persistent rooms by files of lines (muc/room_line.h): commands `room export` and
 * `room import`. Files are read and written by helper threads in steps, so that nobody waits for a
 * big archive; the log tells how far it is.
 *
 * An import reads its file twice: first it is checked as a whole, then its affiliations and
 * messages are stored under the id of a room that does not exist yet, and at last, in one
 * transaction, the room. What an import that failed, or the end of the process, left behind goes.
 *
 * Limits: ROOM_FILES_MAX at a time; muc.affiliations-max; ROOM_HATS_MAX; ROOM_LINE_MAX. */
#pragma once
#include "base/command.h"
#include "store/store.h"

enum {
    ROOM_FILES_MAX = 4,
    ROOM_FILE_STEP_ROWS = 128,
    ROOM_FILE_STEP_BYTES = 1 << 20,
    ROOM_FILE_TELL_MS = 5000 /* between lines of the log */
};

struct worker;

/* Whether one more may be under way, with the argument `file` as its path; false: the call has
 * failed. */
bool room_file_begin(struct command_call *call, const char **path);
void room_file_end(void);

/* room_export.c, room_import.c: for the feature. */
extern struct command room_import_command;
extern struct store_stmt *const room_import_stmts[];
void room_import_start(struct worker *w); /* what an earlier process left */
