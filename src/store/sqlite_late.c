#include "base/clock.h"
#include "base/ensure.h"
#include "store/store_sqlite.h"

enum { PAUSE_US = 1000000, GROUP_ROWS_BYTES_MAX = 64 << 20, REBUILD_ROWS = 65536 };

int sqlite_late_open(struct sqlite_db *db)
{
    struct sqlite_late *l = &db->writer.late;
    const struct store_late *late = db->store->late;
    l->conn = &db->writer.conn;
    buf_init(&l->in_group, GROUP_ROWS_BYTES_MAX);
    if (late == NULL)
        return SQLITE_OK;
    l->width = (uint32_t)strlen(late->insert->params);
    l->run_rows = late->run_rows;
    l->slot = db->info[late->insert->id].slot;
    late_init(&l->gather, l->width);
    late_init(&l->run, l->width);
    l->insert = sqlite_conn_stmt(l->conn, late->insert);
    if (l->insert == NULL)
        return sqlite3_extended_errcode(l->conn->db);
    int rc = sqlite_prepare(l->conn,
                            "INSERT INTO reader(name, position) VALUES($1, $2) "
                            "ON CONFLICT(name) DO UPDATE SET position = excluded.position",
                            &l->position);
    return rc == SQLITE_OK ? sqlite3_bind_text(l->position, 1, late->name, -1, SQLITE_STATIC) : rc;
}

void sqlite_late_close(struct sqlite_late *l)
{
    sqlite3_finalize(l->position);
    l->position = NULL;
    buf_fini(&l->in_group);
    if (l->width > 0) {
        late_fini(&l->gather);
        late_fini(&l->run);
    }
}

static int insert_row(struct sqlite_late *l, const int64_t *row)
{
    for (uint32_t i = 0; i < l->width; i++)
        sqlite3_bind_int64(l->insert, l->slot[i], row[i]);
    return sqlite_step(l->insert);
}

/* Twice a run is waiting when rows come faster than steps, or steps fail: then nothing is late. */
static bool is_direct(const struct sqlite_late *l) { return l->gather.count >= l->run_rows * 2; }

static int take_row(struct sqlite_late *l, const int64_t *row, int64_t log_id)
{
    if (is_direct(l)) {
        late_note(&l->gather, log_id);
        return insert_row(l, row);
    }
    late_add(&l->gather, row, log_id);
    return SQLITE_OK;
}

int sqlite_late_take(struct sqlite_late *l, struct store_batch *b, const struct store_part *part)
{
    struct store_val v;
    const char *at = b->data + part->at;
    if (b->last_id == 0) /* the log has no row that it could be rebuilt from */
        return SQLITE_CONSTRAINT;
    for (uint32_t i = 0; i < part->value_count; i++)
        at = batch_unpack(at, &v);
    int rc = SQLITE_OK;
    for (uint32_t n = 0; rc == SQLITE_OK && n < part->late_count; n++) {
        int64_t row[STORE_PARAMS_MAX];
        for (uint32_t i = 0; i < l->width; i++) {
            at = batch_unpack(at, &v);
            row[i] = v.type == STORE_LAST ? b->last_id : v.num;
        }
        rc = take_row(l, row, b->last_id);
    }
    return rc;
}

/* Marked at once: what follows in the same group may delete the row, and must not find it waiting
 * here. */
static int insert_marked(struct sqlite_late *l, struct late_set *set, uint32_t row)
{
    struct group_row done = { set, row };
    buf_append(&l->in_group, &done, sizeof done);
    if (l->in_group.overflow)
        return SQLITE_TOOBIG;
    late_set_inserted(set, row);
    return insert_row(l, late_row(set, row));
}

static int insert_owner(struct sqlite_late *l, struct late_set *set, int64_t owner)
{
    int rc = SQLITE_OK;
    for (uint32_t row = late_find(set, owner, LATE_NONE); rc == SQLITE_OK && row != LATE_NONE;
         row = late_find(set, owner, row))
        rc = insert_marked(l, set, row);
    return rc;
}

static int insert_all(struct sqlite_late *l, struct late_set *set)
{
    int rc = SQLITE_OK;
    for (uint32_t row = 0; rc == SQLITE_OK && row < set->count; row++)
        if (!late_inserted(set, row))
            rc = insert_marked(l, set, row);
    return rc;
}

int sqlite_late_owner(struct sqlite_late *l, int64_t owner)
{
    if (l->width == 0)
        return SQLITE_OK;
    bool all = owner == STORE_ALL_OWNERS;
    int rc = all ? insert_all(l, &l->run) : insert_owner(l, &l->run, owner);
    if (rc != SQLITE_OK)
        return rc;
    return all ? insert_all(l, &l->gather) : insert_owner(l, &l->gather, owner);
}

int sqlite_late_step(struct sqlite_late *l, uint32_t rows)
{
    uint32_t count = l->run.count;
    l->step_end = l->at;
    if (!l->flushing || (l->paused_until_us > 0 && clock_mono_us() < l->paused_until_us))
        return SQLITE_OK;
    l->paused_until_us = 0;
    uint32_t end = count - l->at < rows ? count : l->at + rows;
    for (uint32_t i = l->at; i < end; i++) {
        uint32_t row = l->run.order[i];
        int rc = late_inserted(&l->run, row) ? SQLITE_OK : insert_marked(l, &l->run, row);
        if (rc != SQLITE_OK)
            return rc;
    }
    l->step_end = end;
    if (end < count)
        return SQLITE_OK;
    l->finishing = true;
    sqlite3_bind_int64(l->position, 2, l->run.log_id_max);
    return sqlite_step(l->position);
}

void sqlite_late_commit(struct sqlite_late *l)
{
    buf_clear(&l->in_group);
    l->at = l->step_end;
    if (l->finishing) {
        metric_add(&store_late_rows, l->run.count);
        late_fini(&l->run);
        l->flushing = l->finishing = false;
        l->at = l->step_end = 0;
    }
}

void sqlite_late_rollback(struct sqlite_late *l, struct late_mark mark)
{
    for (size_t at = 0; at < l->in_group.len; at += sizeof(struct group_row)) {
        struct group_row undone;
        memcpy(&undone, l->in_group.ptr + at, sizeof undone);
        late_clear_inserted(undone.set, undone.row);
    }
    buf_clear(&l->in_group);
    late_rewind(&l->gather, mark);
    l->step_end = l->at;
    l->finishing = false;
    if (l->flushing)
        l->paused_until_us = clock_mono_us() + PAUSE_US;
}

void sqlite_late_flush(struct sqlite_late *l)
{
    if (l->flushing || l->gather.log_id_max == 0)
        return;
    struct late_set empty = l->run;
    l->run = l->gather;
    l->gather = empty;
    late_sort(&l->run);
    l->flushing = true;
    l->at = l->step_end = 0;
}

uint32_t sqlite_late_pending(const struct sqlite_late *l)
{
    return l->gather.pending + l->run.pending;
}

static int read_position(struct sqlite_late *l, const char *name, int64_t *out)
{
    sqlite3_stmt *st;
    int rc = sqlite_prepare(l->conn, "SELECT position FROM reader WHERE name = $1", &st);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
    *out = sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
    return sqlite3_finalize(st);
}

static int rebuild_row(struct sqlite_late *l, sqlite3_stmt *st)
{
    int64_t row[STORE_PARAMS_MAX];
    for (uint32_t i = 0; i < l->width; i++)
        row[i] = sqlite3_column_int64(st, (int)i + 1);
    int64_t log_id = sqlite3_column_int64(st, 0);
    /* a run ends between two ids of the log: its position covers whole ids */
    if (l->gather.count >= l->run_rows && l->gather.count >= REBUILD_ROWS &&
        log_id > l->gather.log_id_max) {
        int rc = sqlite_writer_flush(&l->conn->owner->writer);
        if (rc != SQLITE_OK)
            return rc;
    }
    late_add(&l->gather, row, log_id);
    return SQLITE_OK;
}

int sqlite_late_rebuild(struct sqlite_db *db)
{
    struct sqlite_late *l = &db->writer.late;
    sqlite3_stmt *st;
    int64_t position = 0;
    if (l->width == 0)
        return SQLITE_OK;
    int rc = read_position(l, db->store->late->name, &position);
    if (rc == SQLITE_OK)
        rc = sqlite_prepare(l->conn, db->store->late->rebuild, &st);
    if (rc != SQLITE_OK)
        return rc;
    if (sqlite3_column_count(st) != (int)l->width + 1)
        rc = SQLITE_MISMATCH;
    else
        rc = sqlite3_bind_int64(st, 1, position);
    while (rc == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        rc = rebuild_row(l, st);
    int end = sqlite3_finalize(st);
    if (rc == SQLITE_OK && end == SQLITE_OK && is_direct(l))
        rc = sqlite_writer_flush(&db->writer);
    return rc != SQLITE_OK ? rc : end;
}
