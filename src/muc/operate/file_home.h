/* file_home: what the home of a room does for `room export`, `room download` and `room import`.
 * They run where they were given, since their file is there (muc/operate/file_export.h,
 * file_import.h). The room goes between that worker and its home as lines of a file
 * (muc/room/room_line.h), in pieces; what is in the archive goes by the database. */
#pragma once
#include "base/err.h"
#include "home/question.h"

struct room_lines;
struct store_stmt;

enum { ROOM_LINES_BYTES_MAX = 32 << 20 }; /* bytes of lines in a message */

/* Asks for the lines before those of messages. */
struct room_lines_asked {
    slice room;
    bool numbers; /* only for the numbers of the last answer */
};
/* Gives the lines of a new room whose affiliations and messages are stored as those of `owner`, and
 * noted in room_import: this ends with the same commit. No lines: only asks whether there is none.
 */
struct room_lines_given {
    slice room, lines;
    int64_t owner;
};
/* To both. An export is answered in pieces, of which the last one has the numbers. */
struct room_lines_answer {
    uint8_t err;     /* enum err; E_EXISTS: there is such a room; E_UNSUPPORTED: it is ad hoc */
    slice why;       /* where err is not enough */
    slice lines;     /* whole ones */
    int64_t owner;   /* of its archive */
    uint64_t until;  /* the last id in its archive */
    uint64_t people; /* affiliations */
};
extern const struct message_row room_lines_asked_message, room_lines_given_message,
    room_lines_answer_message;

extern struct store_stmt room_there_stmt; /* a row if there is a room of this id */
extern struct store_stmt *const room_home_stmts[];
const struct room_lines *room_lines_of(int type); /* of a part; NULL: none has such lines */
