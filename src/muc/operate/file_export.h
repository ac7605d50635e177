/* file_export: writes a persistent room to a file of lines (muc/room/room_line.h), with the
 * command `room export`, and counts files under way with muc/operate/file_import.h. Files are read
 * and written by helper threads in steps, so that nobody waits for a big archive; the log tells how
 * far it is.
 *
 * Limits: ROOM_FILES_MAX at a time, exports and imports together. */
#pragma once
#include "base/slice.h"

struct command_call;

enum {
    ROOM_FILES_MAX = 4,
    ROOM_FILE_STEP_ROWS = 128,
    ROOM_FILE_STEP_BYTES = 1 << 20,
    ROOM_FILE_TELL_MS = 5000 /* between lines of the log */
};

/* Whether one more may be under way, with the argument `file` as its path; false: the call has
 * failed. */
bool room_file_begin(struct command_call *call, const char **path);
void room_file_end(void);
/* Messages of the room's archive, behind one id and up to another: id, time, stanza. Also for
 * muc/operate/file_download.h. */
struct store_stmt;
extern struct store_stmt room_export_page_stmt;
