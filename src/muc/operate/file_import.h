/* file_import: makes a persistent room from a file of lines (muc/room/room_line.h), with the
 * command `room import`. It reads the file twice: first the file is checked as a whole, then its
 * affiliations and messages are stored under the id of a room that does not exist yet, and at last
 * its home stores the room (muc/operate/file_home.h). Rows of an import that failed, or that the
 * end of the process interrupted, are removed.
 *
 * Limits: those of muc/operate/file_export.h; muc.affiliations-max; those of parts; ROOM_LINE_MAX.
 */
#pragma once

struct command;
struct store_stmt;
struct worker;

/* For the feature, which is in file_export.c. */
extern struct command room_import_command;
extern struct store_stmt *const room_import_stmts[];
/* Removes what an import in an earlier process left. */
void room_import_start(struct worker *w);
