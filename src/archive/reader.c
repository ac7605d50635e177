#include "archive/reader.h"
#include "archive/archive.h"
#include "base/ensure.h"
#include "home/here.h"

struct store_stmt log_state = {
    .name = "log.state",
    .sql = "SELECT coalesce((SELECT position FROM reader WHERE name = $1), 0), " LOG_HORIZON
           ", " ARCHIVE_EDITS,
    .params = "t",
    .cols = "iii",
};
struct store_stmt log_move = {
    .name = "log.move",
    .sql = "INSERT INTO reader(name, position) VALUES($1, $3) ON CONFLICT(name)"
           " DO UPDATE SET position = excluded.position WHERE reader.position = $2",
    .params = "tii",
    .cols = "",
};

enum { LOG_STEP_BYTES = 4 << 20 }; /* aimed at, of a read in the line of the short ones */

/* For the next read: as many as the step took; or twice as many, but no more than have these bytes
 * if they are as long. */
static uint32_t log_next_rows(const struct log_reading *l, const struct store_batch *rows,
                              uint32_t taken)
{
    ensure(l->rows > 0 && taken > 0);
    uint64_t count = store_row_count(rows, LOG_ROWS), bytes = store_result_bytes(rows) + 1;
    uint64_t next = taken < count ? taken : (uint64_t)l->rows * 2;
    uint64_t fit = LOG_STEP_BYTES * count / bytes;
    if (next > l->reader->rows)
        next = l->reader->rows;
    if (next > fit)
        next = fit;
    return next > 0 ? (uint32_t)next : 1;
}

static void log_stepped(void *arg, enum store_result r, const struct store_batch *b)
{
    struct log_reading *l = arg;
    (void)b;
    l->reader->done(l, r == STORE_OK ? LOG_STEPPED : r == STORE_CONFLICT ? LOG_AGAIN : LOG_FAILED);
}

static void log_rows_read(void *arg, enum store_result r, const struct store_batch *rows)
{
    struct log_reading *l = arg;
    const struct log_reader *of = l->reader;
    if (r == STORE_CONFLICT && l->rows > 1) { /* too many bytes */
        l->rows = store_fewer(l->rows);
        log_read(l);
        return;
    }
    uint32_t count = r == STORE_OK ? store_row_count(rows, LOG_ROWS) : 0;
    if (r == STORE_OK) {
        l->position = store_int(rows, LOG_STATE, 0, 0);
        l->horizon = store_int(rows, LOG_STATE, 0, 1);
    }
    if (count == 0) {
        of->done(l, r == STORE_OK ? LOG_CURRENT : LOG_FAILED);
        return;
    }
    struct store_batch *b = store_write(worker_store(l->worker), 0);
    uint32_t taken = of->step(l, rows, b);
    ensure(taken <= count);
    if (taken == 0) {
        store_drop(&b);
        of->done(l, LOG_LEFT);
        return;
    }
    int64_t to = store_int(rows, LOG_ROWS, taken - 1, 0);
    ensure(l->position < to && to <= l->horizon);
    STORE_ADD(b, &log_move, 1, SV_T(slice_of(of->name)), SV_I(l->position), SV_I(to));
    archive_unedited(b, store_int(rows, LOG_STATE, 0, 2));
    l->rows = log_next_rows(l, rows, taken);
    store_submit(b, worker_loop(l->worker), 0, log_stepped, l);
}

void log_read(struct log_reading *l)
{
    struct store_batch *b = store_read(worker_store(l->worker), l->lane);
    ensure(l->reader->rows > 0 && l->rows <= l->reader->rows);
    l->lane = 0;
    if (l->rows == 0)
        l->rows = l->reader->rows / 8 + 1; /* nobody knows how long they are */
    STORE_ADD(b, &log_state, 1, SV_T(slice_of(l->reader->name)));
    STORE_ADD(b, l->reader->from, STORE_ANY_ROWS, SV_I(l->rows));
    store_submit(b, worker_loop(l->worker), 0, log_rows_read, l);
}
