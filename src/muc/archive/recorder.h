/* recorder: what the files of muc/archive share of a worker. */
#pragma once
#include "base/list.h"
#include "io/timer.h"

struct log_area;
struct worker;

enum { RECORD_PREFIX_MAX = 64 };

/* Record of all rooms of a worker. */
struct recorder {
    struct worker *worker;
    struct list waiting; /* struct record: until the database is back, in their order */
    struct list written; /* struct record: with the store, in front of those */
    struct timer timer;  /* of the next attempt */
    uint32_t prefix;     /* so many at the begin are being stored; 0: none */
    uint32_t prefix_max;
    bool writing;      /* these are with the store */
    struct list ended; /* struct ended: rooms, the oldest first */
    uint32_t ended_count;
    struct list requests; /* struct request that are under way */
    uint32_t request_count;
    struct list burials; /* struct burial: of those that wait to be tried again */
    struct timer doomed; /* archives of destroyed rooms: the next step; at the home of DUTY_ROOMS */
    bool deleting, delete_more;
    int64_t delete_owner, delete_until;
};
extern unsigned recorder_slot; /* of workers */
struct recorder *recorder_of(struct worker *w);
struct recorder *recorder_here(const struct worker *w); /* NULL: it has none yet */
void recorder_free(struct worker *w);                   /* memory only: the worker has ended */
extern struct log_area muc_archive_log;
