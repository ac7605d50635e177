/* queue: how the threads of a driver get their work. `group_queue` has one writer behind it, which
 * takes batches from a lock-free stack and commits groups of them (architecture §7); `read_queue`
 * has one thread or several, and a second line for long reads. Any thread submits; what else a
 * group_queue has is its writer's. */
#pragma once
#include "store/store_driver.h"

enum {
    GROUP_MAX = 256,           /* batches a commit */
    GROUP_BYTES_MAX = 8 << 20, /* of them, but for a single larger one */
    GROUP_GATHER_US = 2000,    /* how long the oldest batch waits for company */
};

enum group_mode { GROUP_AWAKE, GROUP_IDLE, GROUP_GATHERS };

struct group_queue {
    _Atomic(struct store_batch *) top; /* stack of submitted batches, the latest on top */
    _Atomic uint32_t queued;           /* submitted and not committed yet */
    _Atomic int mode;
    atomic_bool stop;
    atomic_bool look; /* whether the database is there: an idle writer wakes up for it */
    int wake_fd;      /* eventfd */

    struct store_batch *first, **tail; /* taken from the stack, in order */
    uint32_t taken;
    uint64_t group_us;     /* when the last group began */
    double batches_per_us; /* of late, smoothed */
    uint32_t alone;        /* groups that do not gather, since nobody else came */
};

void group_init(struct group_queue *q);
void group_fini(struct group_queue *q);
void group_submit(struct group_queue *q, struct store_batch *b);
void group_stop(struct group_queue *q); /* wakes the writer, which ends what is there */
/* Asks the writer to look whether the database is there; it takes q->look back. Any thread. */
void group_look(struct group_queue *q);
void group_take(struct group_queue *q); /* what was submitted, behind what was taken before */
/* The same for whoever gives it back unused: a list in order. Any thread. */
struct store_batch *group_steal(struct group_queue *q);
/* Sleeps until there is work, `fd` (-1: none) is readable, or the time is over; until_us 0: no
 * limit. */
enum group_woke { GROUP_WORK, GROUP_FD, GROUP_TIME };
enum group_woke group_nap(struct group_queue *q, enum group_mode mode, uint64_t until_us, int fd);
/* Waits for company if that is worth it. What was taken is not empty. */
void group_gather(struct group_queue *q);
/* The next group, out of what was taken: a list by next. */
struct store_batch *group_cut(struct group_queue *q, uint32_t *count);

/* Short reads take turns by lane, so that a thousand of one owner hold up those of another by one
 * only. Each lane has at most one read in a turn, but for the last one; those of no lane are in the
 * turn that is being served. Lanes of the same hash share their turns. */
enum { READ_TURNS = 256, READ_LANES = 1024 };

struct read_queue {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct read_turn {
        struct store_batch *first, *last;
    } turn[READ_TURNS];             /* a ring */
    uint32_t now, count;            /* the turn that is being served; reads in all of them */
    uint32_t last[READ_LANES];      /* the last turn of each lane */
    struct store_batch *first_long; /* by turn: users take turns */
    bool stop;
};
enum read_takes { READ_SHORT = 1, READ_LONG = 2 }; /* bits: what a thread is for */

void read_queue_init(struct read_queue *q);
void read_queue_fini(struct read_queue *q);
/* A list by next. Returns those, another list, that are refused: STORE_BUSY. */
NODISCARD struct store_batch *read_queue_put(struct read_queue *q, struct store_batch *first);
/* NULL: stopped, and nothing is left. takes: enum read_takes; short ones first. */
struct store_batch *read_queue_take(struct read_queue *q, unsigned takes);
void read_queue_stop(struct read_queue *q);

/* A thread that gets no signals. */
void store_thread_start(pthread_t *thread, const char *name, size_t stack_bytes,
                        void *(*run)(void *), void *arg);
