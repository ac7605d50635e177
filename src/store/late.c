#include "store/late.h"
#include "base/ensure.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

/* The top bit of a chain says that the row is in the database. */
#define INSERTED  (UINT32_C(1) << 31)
#define CHAIN_END (INSERTED - 1)

enum { CAP_FIRST = 256 };

void late_init(struct late_set *set, uint32_t width)
{
    ensure(width >= 2);
    *set = (struct late_set){ .width = width };
}

void late_fini(struct late_set *set)
{
    mem_free(&set->rows);
    mem_free(&set->chain);
    mem_free(&set->heads);
    mem_free(&set->order);
    late_init(set, set->width);
}

static uint32_t *head_of(const struct late_set *set, int64_t owner)
{
    /* account ids are small and dense: multiplying spreads them over the upper bits */
    uint64_t hash = (uint64_t)owner * UINT64_C(0x9e3779b97f4a7c15);
    return &set->heads[(hash >> 32) & (set->cap - 1)];
}

static void late_grow(struct late_set *set)
{
    set->cap = set->cap > 0 ? set->cap * 2 : CAP_FIRST;
    ensure(set->cap < CHAIN_END);
    set->rows = mem_realloc(set->rows, (size_t)set->cap * set->width * sizeof *set->rows);
    set->chain = mem_realloc(set->chain, set->cap * sizeof *set->chain);
    mem_free(&set->heads);
    set->heads = mem_alloc(set->cap * sizeof *set->heads);
    memset(set->heads, 0xff, set->cap * sizeof *set->heads);
    for (uint32_t row = 0; row < set->count; row++) {
        uint32_t *head = head_of(set, late_row(set, row)[0]);
        set->chain[row] = (set->chain[row] & INSERTED) | (*head & CHAIN_END);
        *head = row;
    }
}

void late_note(struct late_set *set, int64_t log_id)
{
    if (log_id > set->log_id_max)
        set->log_id_max = log_id;
}

void late_add(struct late_set *set, const int64_t *row, int64_t log_id)
{
    ensure(set->order == NULL);
    if (set->count == set->cap)
        late_grow(set);
    uint32_t at = set->count++;
    uint32_t *head = head_of(set, row[0]);
    memcpy(set->rows + (size_t)at * set->width, row, set->width * sizeof *row);
    set->chain[at] = *head & CHAIN_END;
    *head = at;
    set->pending++;
    late_note(set, log_id);
}

void late_rewind(struct late_set *set, struct late_mark to)
{
    while (set->count > to.count) {
        uint32_t row = --set->count; /* the newest of its bucket */
        uint32_t older = set->chain[row];
        ensure((older & INSERTED) == 0);
        *head_of(set, late_row(set, row)[0]) = older == CHAIN_END ? LATE_NONE : older;
        set->pending--;
    }
    set->log_id_max = to.log_id_max;
}

static int late_compare(const void *a, const void *b, void *arg)
{
    const struct late_set *set = arg;
    const int64_t *x = late_row(set, *(const uint32_t *)a);
    const int64_t *y = late_row(set, *(const uint32_t *)b);
    if (x[0] != y[0])
        return x[0] < y[0] ? -1 : 1;
    return (x[1] > y[1]) - (x[1] < y[1]);
}

void late_sort(struct late_set *set)
{
    if (set->count == 0)
        return;
    if (set->order == NULL)
        set->order = mem_alloc(set->count * sizeof *set->order);
    for (uint32_t i = 0; i < set->count; i++)
        set->order[i] = i;
    qsort_r(set->order, set->count, sizeof *set->order, late_compare, set);
}

int late_inserted(const struct late_set *set, uint32_t row)
{
    return (set->chain[row] & INSERTED) != 0;
}

void late_set_inserted(struct late_set *set, uint32_t row)
{
    if (!late_inserted(set, row))
        set->pending--;
    set->chain[row] |= INSERTED;
}

void late_clear_inserted(struct late_set *set, uint32_t row)
{
    if (late_inserted(set, row))
        set->pending++;
    set->chain[row] &= ~INSERTED;
}

uint32_t late_find(const struct late_set *set, int64_t owner, uint32_t before)
{
    if (set->count == 0)
        return LATE_NONE;
    uint32_t row = before == LATE_NONE ? *head_of(set, owner) : set->chain[before];
    for (row &= CHAIN_END; row != CHAIN_END; row = set->chain[row] & CHAIN_END) {
        if (late_row(set, row)[0] == owner && !late_inserted(set, row))
            return row;
    }
    return LATE_NONE;
}
