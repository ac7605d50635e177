/* file_download: a persistent room as the lines of a file (muc/room/room_line.h), in rows and with
 * pages, for clients that save them: the command `room download`. So nothing is written on the
 * server, and what is sent is bounded: DOWNLOAD_PAGE_BYTES of lines, or one line.
 *
 * What `after` says is where the next page begins: in the lines before those of messages, or behind
 * a message. It has what was counted so far, for the last line of the file. A client can change it,
 * and then only has a file that `room import` refuses. */
#pragma once

enum { DOWNLOAD_PAGE_BYTES = 4 << 20 };

struct command;
extern struct command room_download_command;
