/* series: numbers that were read at regular times, for plots. A ring of fixed size: the newest
 * `samples` rows, each with one number of every series; a longer time between rows makes the ring
 * reach back further, not larger. Times rise: where the clock was set back, what was later is
 * forgotten.
 *
 * Memory: 8 bytes a number and row, and 8 a row; pages of it are touched as it fills. Confined to
 * one thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct series;

/* Rows of one step: they are taken together. */
struct series_point {
    uint64_t at_us; /* begin of the step */
    int64_t last, min, max, sum;
    uint32_t count; /* rows */
};

struct series *series_create(unsigned width, unsigned samples);
void series_destroy(struct series **s);
void series_add(struct series *s, uint64_t at_us, const int64_t *numbers);
/* Of one of them, what was added in that time, by steps of the wall clock. Steps without rows are
 * left out. At most `max` points, the oldest first; returns how many. */
struct series_range {
    uint64_t from_us, to_us; /* both included */
    uint64_t step_us;
};
size_t series_read(const struct series *s, unsigned which, const struct series_range *range,
                   struct series_point *out, size_t max);
size_t series_bytes(const struct series *s); /* that it has, full or not */
