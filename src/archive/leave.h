/* archive_leave, archive_clear: remove an owner. The words of the owner's messages are removed from
 * the full text message by message, so this is done in steps. Each step is complete in itself.
 *
 * Limits: STEP_ROWS messages and about STEP_BYTES a step; at most CONFLICTS_MAX conflicts with
 * other writers in a row. */
#pragma once
#include "archive/archive.h"
#include "base/err.h"

struct store_batch;
struct worker;

/* Takes one message from one owner: `was` is as it was read, `m` is without the owner's side, and
 * `entry` is the owner's. If no other owner has it, it is deleted. Call store_read_late() for the
 * owner before. The batch is a conflict if the message was changed meanwhile. The caller calls
 * archive_edit() once for each batch. */
void archive_take(struct store_batch *b, const struct archive_line *was,
                  const struct archive_line *m, int64_t owner, int64_t entry);
/* Removes all messages with ids up to `until` from an owner's archive, in steps, so that other work
 * is not delayed. Calls `done` once, later. After an error, the rest is still there. */
void archive_leave(struct worker *w, int64_t owner, int64_t until,
                   void (*done)(void *arg, enum err e), void *arg);
/* The same with all that it owns: of an account that is deleted, behind archive_disown(). *removed
 * rises by the messages that nobody has any more, until `done` is called; NULL: they are not
 * counted. */
void archive_clear(struct worker *w, int64_t owner, uint32_t *removed,
                   void (*done)(void *arg, enum err e), void *arg);
