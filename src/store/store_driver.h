/* store_driver: what store.c and the drivers share; nobody else includes it.
 *
 * store.c owns batches until submit() and after store_finish(), and with them loops, deadlines and
 * callbacks. A driver owns a batch in between, on whatever thread it likes: it runs the parts,
 * fills results and `result`, and gives it back exactly once. */
#pragma once
#include "base/buf.h"
#include "base/list.h"
#include "base/metric.h"
#include "io/loop.h"
#include "io/timer.h"
#include "store/store.h"
#include <pthread.h>
#include <stdatomic.h>

enum store_kind { BATCH_WRITE, BATCH_READ };

enum { BATCH_FIRST_PARTS = 3, BATCH_FIRST_BYTES = 704 }; /* a message and its rows: one block */

/* The next $n of a statement's text, outside of quotes: where it ends, or NULL. */
const char *store_param_next(const char *at, const char **begin, unsigned *number);

/* A statement of a batch. */
struct store_part {
    const struct store_stmt *stmt;
    int32_t rows; /* expected, or STORE_ANY_ROWS */
    uint32_t at;  /* its packed values in data, its late rows behind them */
    uint32_t value_count, late_count;
    uint32_t cols;       /* of stmt->cols */
    uint32_t cell_first; /* results: the first cell of its rows */
    uint32_t row_count;
    int64_t changed;
};

/* One value of a result row. */
struct store_cell {
    int64_t num; /* an integer, or the offset of the bytes in result_bytes */
    uint32_t len;
    uint32_t type;
};

struct store_op {
    struct list node;     /* of the port: pending or overdue */
    uint64_t deadline_us; /* monotonic */
    uint64_t until_us;    /* when the loop gives it up: later, if the process stood still */
    bool firm;            /* ... it does not: STORE_UNTIL_DONE */
    bool late;            /* a write behind its deadline: the store counts it */
    store_done_fn *done;  /* NULL: cancelled or answered; the batch is just freed */
    void *arg;
};

struct store_batch {
    struct store_batch *next; /* of whoever has it */
    struct store *store;
    struct store_port *port; /* NULL: store_run() waits for it */
    struct store_op op;      /* of the loop's thread, but for deadline_us, which never changes */
    uint64_t lane, submitted_us;
    int64_t late_owner;
    uint64_t user;   /* of a read; 0: the server's own */
    uint32_t run_ms; /* 0: a short one */
    uint32_t turn;   /* of a long read that waits: how many of its user were in front */
    enum store_kind kind;
    enum store_result result;
    bool reads_late, overflow;
    atomic_bool finished; /* for store_run() */
    atomic_bool given_up; /* its loop has answered: whoever has it need not begin */

    struct store_part *parts; /* parts_first, or a block of its own when there are more */
    uint32_t part_count, part_cap;
    char *data; /* the same with data_first */
    uint32_t len, cap;

    int64_t last_id;
    struct buf cells, result_bytes;

    struct store_part parts_first[BATCH_FIRST_PARTS];
    char data_first[BATCH_FIRST_BYTES];
};

struct store_driver {
    const char *scheme; /* of the url: "sqlite", "postgresql" */
    enum err (*open)(struct store *store, const struct store_conf *conf, struct why *why);
    void (*submit)(struct store *store, struct store_batch *b);      /* any thread */
    void (*close)(struct store *store);                              /* ends every batch first */
    void (*info)(const struct store *store, struct store_info *out); /* any thread */
    /* A batch was not answered in time: looks whether the database is there. NULL: it need not.
     * Any thread. */
    void (*look)(struct store *store);
    /* NULL: it has tools of its own */
    enum err (*backup)(struct store *store, const char *path, const struct store_watch *watch,
                       struct why *why);
};
extern const struct store_driver store_sqlite, store_pgsql;

struct store {
    const struct store_driver *driver;
    void *db; /* the driver's */
    const struct store_late *late;
    const struct store_index *index; /* NULL: none */
    struct store_stmt **stmts;       /* by id */
    uint32_t stmt_count;
    _Atomic size_t queued_bytes;
    _Atomic uint32_t awaited;                  /* done() that are still to come */
    _Atomic uint32_t late_writes;              /* behind their deadline; the driver has them */
    struct store_port *ports[STORE_LOOPS_MAX]; /* by loop_index(); written by that loop's thread */
    pthread_mutex_t run_lock;                  /* store_run() */
    pthread_cond_t run_done;
};

/* Completes batches, linked by `next` in the order of completion. Any thread. One post a loop. */
void store_finish(struct store *store, struct store_batch *first);

/* For drivers: the next packed value; returns where the one after it begins. */
const char *batch_unpack(const char *at, struct store_val *out);
void batch_begin_rows(struct store_batch *b, struct store_part *part);
void batch_add_int(struct store_batch *b, int64_t num);
void batch_add_null(struct store_batch *b);
void batch_add_bytes(struct store_batch *b, int type, const void *ptr, size_t len);
bool batch_result_overflow(const struct store_batch *b);
void batch_clear_results(struct store_batch *b); /* before it is run again */
/* When a read that begins now is given up. One that its loop has not given up at its deadline was
 * held up with the whole process (store.c), and gets its time anew. */
uint64_t batch_due_us(const struct store_batch *b, uint64_t began_us);
size_t batch_footprint(const struct store_batch *b); /* bytes, results not counted */
void batch_free(struct store_batch *b);

extern struct metric store_commits, store_late_rows, store_commit_us, store_checkpoints;

/* A write found no room; a later one did. The alarm store.full follows. Any thread. */
void store_full_raise(slice detail);
void store_full_worked(void);
