/* reader: those that follow the log of messages (architecture §7), each a row: its name, what it
 * reads, what it does with that. Its position is in the table `reader` and moves in the transaction
 * of what it does, so nothing is done twice or left out, whichever worker takes the step.
 *
 * Only messages up to the horizon are read: those before which nothing can appear any more. Today
 * these are all that are committed, since ids rise in the order of commits.
 *
 * A step is a conflict, and does nothing, if another worker has taken it, or if a message was
 * changed or removed since it was read. */
#pragma once
#include "store/store.h"

struct log_reading;
struct worker;

/* The last id that is read, and the messages behind the position of a reader, as SQL. */
#define LOG_HORIZON "(SELECT coalesce(max(id), 0) FROM message)"
#define LOG_BEHIND(name)                                                                           \
    " id > coalesce((SELECT position FROM reader WHERE name = '" name "'), 0)"                     \
    " AND id <= " LOG_HORIZON

/* How a step has ended. */
enum log_step {
    LOG_STEPPED, /* committed */
    LOG_AGAIN,   /* a conflict */
    LOG_CURRENT, /* there is nothing behind the position */
    LOG_LEFT,    /* step() took nothing */
    LOG_FAILED   /* the database does not answer, or refuses */
};

struct log_reader {
    const char *name;
    /* LOG_BEHIND(name), ORDER BY id LIMIT $1. Its first column is the id. */
    const struct store_stmt *from;
    uint32_t rows; /* at most so many a step */
    /* Adds to `b` what follows from the first of the rows of statement LOG_ROWS, of which there is
     * at least one. Returns how many it took; 0: the step is left. */
    uint32_t (*step)(struct log_reading *l, const struct store_batch *rows, struct store_batch *b);
    /* Once for each log_read(), later. */
    void (*done)(struct log_reading *l, enum log_step how);
};
enum { LOG_STATE, LOG_ROWS }; /* statements of the read */

/* State of a reader, in its struct; zeros and the first two at first. */
struct log_reading {
    const struct log_reader *reader;
    struct worker *worker;
    uint64_t lane;             /* whose writes are waited for first; 0: nobody's */
    uint32_t rows;             /* of the next read: fewer where messages are long; 0: a few */
    int64_t position, horizon; /* of the last read */
};
void log_read(struct log_reading *l); /* one step */

extern struct store_stmt log_state, log_move; /* of archive_schema */
