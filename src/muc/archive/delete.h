/* delete: deletes archives of destroyed rooms in small steps (archive/leave.c), so that
 * other work is not delayed. A table lists the archives with the last id to delete. The transaction
 * that destroys a room adds it, so a restart continues. One archive after the other, at the home of
 * DUTY_ROOMS. room_archive_doom() is in muc/archive/archive.h. */
#pragma once
#include <stdint.h>

struct message_row;
struct recorder;
struct room_archive;
struct store_stmt;
struct worker;

extern struct store_stmt *const room_delete_stmts[];
extern const struct message_row archive_doomed_message; /* there is something to delete */
/* Starts, or continues after a restart. */
void doomed_start(struct recorder *r);
/* Lists the archive of this owner with all messages that it has so far. */
void recorder_doom(struct recorder *r, int64_t owner);
/* Lists the archive of a room that has ended outside a batch of its own. */
void archive_doom(const struct room_archive *a);
void doomed_tell(struct worker *w); /* something was listed */
