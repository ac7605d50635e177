/* mam_quota: how much an archive may hold: archive.user-bytes for an account, archive.room-bytes
 * for a room.
 *
 * A reader of the log (archive/size.h) counts messages some seconds after they were stored, so
 * storing costs nothing more. If an owner has too much, its longest conversation loses its oldest
 * messages, until a sixteenth is free. So the messages of one flooding sender are removed, and
 * other conversations stay. Messages that were not delivered yet are not removed.
 *
 * A round counts to the end of the log in steps; what is stored meanwhile is left to the next one.
 * Between steps it pauses for longer than they take, so a long log delays other writes little.
 * After each step it looks at the owners of these messages, but for those that are known to be far
 * below their limit. If a limit was changed, it looks at all owners at the end. An owner whose
 * messages were not delivered yet is looked at again with the next message.
 *
 * One round at a time, on a worker that stored a message or heard of another limit.
 *
 * Limits: STEP_ROWS messages and about STEP_BYTES a step; TRIES steps in a row that conflict with
 * other changes. */
#pragma once
#include "base/metric.h"
#include "base/setting.h"
#include "store/store.h"

struct worker;

extern struct setting mam_user_bytes, mam_room_bytes;
extern struct command mam_user_archive;
extern struct metric mam_trimmed;
extern struct store_stmt *const mam_quota_stmts[];
void mam_quota_stored(struct worker *w); /* messages are being stored: they are counted soon */
void mam_quota_stop(struct worker *w);   /* the worker has ended */
