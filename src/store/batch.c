#include "base/ensure.h"
#include "base/mem.h"
#include "store/store_driver.h"
#include <ctype.h>

static struct store_batch *batch_create(struct store *store, enum store_kind kind, uint64_t lane)
{
    struct store_batch *b = mem_alloc(sizeof *b);
    memset(b, 0,
           offsetof(struct store_batch, parts_first)); /* the rest is written before it is read */
    b->store = store;
    b->kind = kind;
    b->lane = lane;
    b->parts = b->parts_first;
    b->part_cap = BATCH_FIRST_PARTS;
    b->data = b->data_first;
    b->cap = BATCH_FIRST_BYTES;
    buf_init(&b->cells, STORE_RESULT_BYTES_MAX);
    buf_init(&b->result_bytes, STORE_RESULT_BYTES_MAX);
    return b;
}

struct store_batch *store_write(struct store *store, uint64_t lane)
{
    return batch_create(store, BATCH_WRITE, lane);
}

struct store_batch *store_read(struct store *store, uint64_t lane)
{
    return batch_create(store, BATCH_READ, lane);
}

void batch_free(struct store_batch *b)
{
    if (b->parts != b->parts_first)
        mem_free(&b->parts);
    if (b->data != b->data_first)
        mem_free(&b->data);
    buf_fini(&b->cells);
    buf_fini(&b->result_bytes);
    mem_free(&b);
}

void store_drop(struct store_batch **b)
{
    if (*b != NULL)
        batch_free(*b);
    *b = NULL;
}

size_t batch_footprint(const struct store_batch *b)
{
    size_t bytes = sizeof *b;
    if (b->parts != b->parts_first)
        bytes += b->part_cap * sizeof *b->parts;
    if (b->data != b->data_first)
        bytes += b->cap;
    return bytes;
}

void store_read_turn(struct store_batch *b, uint64_t user)
{
    ensure(b->kind == BATCH_READ && b->lane == 0);
    b->user = user;
}

void store_read_long(struct store_batch *b, uint64_t user, uint32_t run_ms)
{
    ensure(b->kind == BATCH_READ && run_ms > 0);
    b->user = user;
    b->run_ms = run_ms;
}

uint64_t batch_due_us(const struct store_batch *b, uint64_t began_us)
{
    uint64_t run_us = began_us + (uint64_t)b->run_ms * 1000, due_us = b->op.deadline_us;
    if (b->op.firm || due_us <= began_us)
        due_us = began_us + (uint64_t)STORE_DEADLINE_MS * 1000;
    return b->run_ms > 0 && run_us < due_us ? run_us : due_us;
}

void store_read_late(struct store_batch *b, int64_t owner)
{
    ensure(!b->reads_late || b->late_owner == owner);
    b->reads_late = true;
    b->late_owner = owner;
}

static char *reserve(struct store_batch *b, size_t bytes)
{
    if (bytes > STORE_BATCH_BYTES_MAX - b->len) {
        b->overflow = true;
        return NULL;
    }
    if (b->len + bytes > b->cap) {
        size_t cap = b->cap;
        while (cap < b->len + bytes)
            cap *= 2;
        if (b->data == b->data_first)
            b->data = memcpy(mem_alloc(cap), b->data_first, b->len);
        else
            b->data = mem_realloc(b->data, cap);
        b->cap = (uint32_t)cap;
    }
    char *room = b->data + b->len;
    b->len += (uint32_t)bytes;
    return room;
}

/* Packed: the type in a byte, then an integer of 8 bytes, or a length of 4 bytes and the bytes. */
static void batch_pack(struct store_batch *b, const struct store_val *v)
{
    bool has_bytes = v->type == STORE_TEXT || v->type == STORE_BLOB;
    size_t body = v->type == STORE_INT ? sizeof v->num : 0;
    if (has_bytes && v->bytes.len <= STORE_BATCH_BYTES_MAX)
        body = sizeof(uint32_t) + v->bytes.len;
    else if (has_bytes)
        body = STORE_BATCH_BYTES_MAX; /* will not fit */
    char *room = reserve(b, 1 + body);
    if (room == NULL)
        return;
    *room++ = (char)v->type;
    if (v->type == STORE_INT)
        memcpy(room, &v->num, sizeof v->num);
    if (has_bytes) {
        uint32_t len = (uint32_t)v->bytes.len;
        memcpy(room, &len, sizeof len);
        if (len > 0)
            memcpy(room + sizeof len, v->bytes.ptr, len);
    }
}

const char *batch_unpack(const char *at, struct store_val *out)
{
    *out = (struct store_val){ .type = (unsigned char)*at++ };
    if (out->type == STORE_INT) {
        memcpy(&out->num, at, sizeof out->num);
        at += sizeof out->num;
    } else if (out->type == STORE_TEXT || out->type == STORE_BLOB) {
        uint32_t len;
        memcpy(&len, at, sizeof len);
        at += sizeof len;
        out->bytes = (slice){ at, len };
        at += len;
    }
    return at;
}

static bool batch_fits(const struct store_val *v, char letter)
{
    switch (v->type) {
    case STORE_NULL:
        return isupper((unsigned char)letter);
    case STORE_INT:
        return letter == 'i' || letter == 'I';
    case STORE_TEXT:
        return letter == 't' || letter == 'T';
    case STORE_BLOB:
        return letter == 'b' || letter == 'B';
    case STORE_LAST:
        return letter == 'i' || letter == 'I';
    }
    return false;
}

static void pack_all(struct store_batch *b, const char *params, const struct store_val *vals,
                     unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        ensure(batch_fits(&vals[i], params[i])); /* also ends at the NUL: too many values */
        batch_pack(b, &vals[i]);
    }
    ensure(params[count] == '\0');
}

static struct store_part *part_add(struct store_batch *b)
{
    if (b->part_count == b->part_cap) {
        uint32_t cap = b->part_cap * 4;
        size_t bytes = cap * sizeof *b->parts;
        if (b->parts == b->parts_first)
            b->parts = memcpy(mem_alloc(bytes), b->parts_first, sizeof b->parts_first);
        else
            b->parts = mem_realloc(b->parts, bytes);
        b->part_cap = cap;
    }
    return &b->parts[b->part_count++];
}

void store_add(struct store_batch *b, const struct store_stmt *stmt, int rows,
               const struct store_val *vals, unsigned count)
{
    ensure(stmt->id < b->store->stmt_count);
    ensure(b->store->stmts[stmt->id] == stmt); /* it was given to store_open() */
    if (b->part_count == STORE_PARTS_MAX) {
        b->overflow = true;
        return;
    }
    *part_add(b) = (struct store_part){ .stmt = stmt,
                                        .rows = rows,
                                        .at = b->len,
                                        .value_count = count,
                                        .cols = (uint32_t)strlen(stmt->cols) };
    pack_all(b, stmt->params, vals, count);
}

void store_add_late(struct store_batch *b, const struct store_val *vals, unsigned count)
{
    ensure(b->kind == BATCH_WRITE);
    ensure(b->store->late != NULL);
    ensure(b->part_count > 0); /* behind the log's INSERT */
    pack_all(b, b->store->late->insert->params, vals, count);
    b->parts[b->part_count - 1].late_count++;
}

void batch_begin_rows(struct store_batch *b, struct store_part *part)
{
    part->cell_first = (uint32_t)(b->cells.len / sizeof(struct store_cell));
    part->row_count = 0;
}

static void add_cell(struct store_batch *b, struct store_cell cell)
{
    buf_append(&b->cells, &cell, sizeof cell);
}

void batch_add_int(struct store_batch *b, int64_t num)
{
    add_cell(b, (struct store_cell){ num, 0, STORE_INT });
}

void batch_add_null(struct store_batch *b) { add_cell(b, (struct store_cell){ 0, 0, STORE_NULL }); }

void batch_add_bytes(struct store_batch *b, int type, const void *ptr, size_t len)
{
    add_cell(b, (struct store_cell){ (int64_t)b->result_bytes.len, (uint32_t)len, (uint32_t)type });
    buf_append(&b->result_bytes, ptr, len);
}

size_t store_result_bytes(const struct store_batch *b)
{
    return b == NULL ? 0 : b->result_bytes.len;
}

bool batch_result_overflow(const struct store_batch *b)
{
    return b->cells.overflow || b->result_bytes.overflow;
}

void batch_clear_results(struct store_batch *b)
{
    buf_clear(&b->cells);
    buf_clear(&b->result_bytes);
    b->last_id = 0;
    for (uint32_t i = 0; i < b->part_count; i++) {
        b->parts[i].row_count = 0;
        b->parts[i].changed = 0;
    }
}

static const struct store_part *part_get(const struct store_batch *b, unsigned stmt)
{
    ensure(stmt < b->part_count);
    return &b->parts[stmt];
}

const struct store *store_of(const struct store_batch *b) { return b->store; }

unsigned store_stmt_count(const struct store_batch *b) { return b->part_count; }

uint32_t store_row_count(const struct store_batch *b, unsigned stmt)
{
    return b == NULL ? 0 : part_get(b, stmt)->row_count;
}

int64_t store_changed(const struct store_batch *b, unsigned stmt)
{
    return b == NULL ? 0 : part_get(b, stmt)->changed;
}

static struct store_cell cell_get(const struct store_batch *b, unsigned stmt, uint32_t row,
                                  unsigned col)
{
    ensure(b != NULL);
    const struct store_part *part = part_get(b, stmt);
    ensure(row < part->row_count);
    ensure(col < part->cols);
    size_t at = part->cell_first + (size_t)row * part->cols + col;
    struct store_cell cell;
    memcpy(&cell, b->cells.ptr + at * sizeof cell, sizeof cell);
    return cell;
}

int64_t store_int(const struct store_batch *b, unsigned stmt, uint32_t row, unsigned col)
{
    struct store_cell cell = cell_get(b, stmt, row, col);
    return cell.type == STORE_INT ? cell.num : 0;
}

slice store_text(const struct store_batch *b, unsigned stmt, uint32_t row, unsigned col)
{
    struct store_cell cell = cell_get(b, stmt, row, col);
    if (cell.type != STORE_TEXT && cell.type != STORE_BLOB)
        return (slice){ NULL, 0 };
    return cell.len == 0 ? SLICE("") : (slice){ b->result_bytes.ptr + cell.num, cell.len };
}
