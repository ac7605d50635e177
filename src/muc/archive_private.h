/* Between the files of muc/archive*.c. */
#pragma once
#include "base/list.h"
#include "base/log.h"
#include "im/iq.h"
#include "io/timer.h"
#include "muc/archive.h"

enum { RECORD_PREFIX_MAX = 64 };

/* What a worker has of all its rooms. */
struct recorder {
    struct worker *worker;
    struct list waiting; /* struct record: until the database is back, in their order */
    struct timer timer;  /* of the next attempt */
    uint32_t prefix;     /* so many at the begin are being stored; 0: none */
    uint32_t prefix_max;
    bool writing;      /* these are with the store */
    struct list ended; /* struct ended: rooms, the oldest first */
    uint32_t ended_count;
    struct list requests; /* struct request that are under way */
    uint32_t request_count;
    struct list burials; /* struct burial: of those that wait to be tried again */
    struct timer doomed; /* archives of destroyed rooms: the next step; on worker 0 */
    bool deleting, delete_more;
    int64_t delete_owner, delete_until;
};
struct recorder *recorder_of(struct worker *w);
extern struct log_area muc_archive_log;

/* archive_queue.c */
extern struct setting muc_recording_queue;
extern struct alarm muc_recording_alarm;
extern struct metric *const muc_recording_metrics[];
void recorder_end(struct recorder *r);
void recorder_drop(struct recorder *r, int64_t owner);  /* what waits of a room that is gone */
void recorder_begin(struct recorder *r, int64_t owner); /* it is recorded again */
/* A message that waits gives way to a tombstone. false: it does not wait, or is with the store. */
bool recorder_bury(struct recorder *r, int64_t owner, const struct room_burial *what, enum err *e);

/* archive_rules.c */
extern const struct iq_rule room_archive_rules[];

/* archive_delete.c */
extern struct store_stmt *const room_delete_stmts[];
void doomed_start(struct recorder *r);
void recorder_doom(struct recorder *r, int64_t owner); /* all that it has so far goes */

/* archive_bury.c */
void burials_end(struct recorder *r); /* memory only: the node ends */
extern struct store_stmt *const room_bury_stmts[];
/* The tombstone for a message: its addresses, id, and what the room said about who it was. */
struct stanza *room_tombstone(const struct stanza *st, slice xml);
