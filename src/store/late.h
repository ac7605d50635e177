/* late: rows held back to be inserted in sorted order later (architecture §7). A set gathers rows
 * of one statement, all integers, of which the first two are owner and id; it finds the rows of an
 * owner and gives all in the order (owner, id). One owner thread. The caller bounds the rows. */
#pragma once
#include <stdint.h>

#define LATE_NONE UINT32_MAX /* no row */

struct late_set {
    uint32_t width;      /* integers of a row */
    uint32_t count, cap; /* rows */
    uint32_t pending;    /* rows that are not marked as inserted */
    int64_t log_id_max;  /* of the rows added */
    int64_t *rows;       /* width integers each */
    uint32_t *chain;     /* by row: an older row of its bucket, or LATE_NONE; then the mark */
    uint32_t *heads;     /* buckets by owner: the newest row; as many as cap */
    uint32_t *order;     /* after late_sort(): rows by owner and id */
};

struct late_mark { /* a state to go back to */
    uint32_t count;
    int64_t log_id_max;
};

void late_init(struct late_set *set, uint32_t width);
void late_fini(struct late_set *set); /* may be used again, as after init */
void late_add(struct late_set *set, const int64_t *row, int64_t log_id);
void late_note(struct late_set *set, int64_t log_id); /* a row that went another way */
void late_sort(struct late_set *set);                 /* nothing is added afterwards */

static inline struct late_mark late_here(const struct late_set *set)
{
    return (struct late_mark){ set->count, set->log_id_max };
}
/* Takes back the rows added since; none of them was marked. */
void late_rewind(struct late_set *set, struct late_mark to);

static inline const int64_t *late_row(const struct late_set *set, uint32_t row)
{
    return set->rows + (uint64_t)row * set->width;
}
int late_inserted(const struct late_set *set, uint32_t row);
void late_set_inserted(struct late_set *set, uint32_t row);   /* again: fine */
void late_clear_inserted(struct late_set *set, uint32_t row); /* it was undone */
/* A row of this owner that is not inserted, older than `before`; LATE_NONE begins and ends. */
uint32_t late_find(const struct late_set *set, int64_t owner, uint32_t before);
