/* queue: the queue of room messages that are not in the database yet. They are written in
 * order, in runs of one room, and tried again every RETRY_MS while the database is away. Before a
 * run is written, the database is searched for it, because an earlier write with an unknown outcome
 * may have stored a part. Senders get their acknowledgement after the commit, however long that
 * takes (architecture §6). room_archive_put() and room_archive_full() are in muc/archive/archive.h.
 */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct alarm;
struct metric;
struct recorder;
struct room_burial;
struct setting;

extern struct setting muc_recording_queue;
extern struct alarm muc_recording_alarm;
extern struct metric *const muc_recording_metrics[];
void recorder_end(struct recorder *r); /* memory only: the worker ends */
/* The room with this archive has ended: its waiting messages are dropped, and those with the store
 * are not tried again. */
void recorder_drop(struct recorder *r, int64_t owner);
void recorder_begin(struct recorder *r, int64_t owner); /* it has an archive again */
/* Replaces a waiting message by a tombstone. false: the message does not wait, or is with the
 * store. true: *e is OK, or E_DENIED: the message has another author. */
bool recorder_bury(struct recorder *r, int64_t owner, const struct room_burial *what, enum err *e);
