#include "base/series.h"
#include "base/ensure.h"
#include "base/mem.h"
#include <string.h>

struct series {
    unsigned width, samples;
    unsigned begin, count;
    uint64_t *at_us;
    int64_t *numbers; /* rows of `width` */
};

struct series *series_create(unsigned width, unsigned samples)
{
    struct series *s = mem_new(struct series);
    ensure(width > 0 && samples > 0);
    s->width = width;
    s->samples = samples;
    s->at_us = mem_zalloc(samples * sizeof *s->at_us);
    s->numbers = mem_zalloc((size_t)samples * width * sizeof *s->numbers);
    return s;
}

void series_destroy(struct series **s)
{
    if (*s == NULL)
        return;
    mem_free(&(*s)->at_us);
    mem_free(&(*s)->numbers);
    mem_free(s);
}

static unsigned series_row(const struct series *s, unsigned i)
{
    return (s->begin + i) % s->samples;
}

void series_add(struct series *s, uint64_t at_us, const int64_t *numbers)
{
    while (s->count > 0 && s->at_us[series_row(s, s->count - 1)] >= at_us)
        s->count--;
    if (s->count == s->samples) {
        s->begin = series_row(s, 1);
        s->count--;
    }
    unsigned row = series_row(s, s->count++);
    s->at_us[row] = at_us;
    memcpy(&s->numbers[(size_t)row * s->width], numbers, s->width * sizeof *numbers);
}

static void point_add(struct series_point *p, int64_t n)
{
    p->min = p->count == 0 || n < p->min ? n : p->min;
    p->max = p->count == 0 || n > p->max ? n : p->max;
    p->last = n;
    p->sum += n;
    p->count++;
}

size_t series_read(const struct series *s, unsigned which, const struct series_range *range,
                   struct series_point *out, size_t max)
{
    size_t used = 0;
    ensure(which < s->width && range->step_us > 0);
    for (unsigned i = 0; i < s->count; i++) {
        unsigned row = series_row(s, i);
        uint64_t at_us = s->at_us[row], begin_us = at_us - at_us % range->step_us;
        if (at_us < range->from_us || at_us > range->to_us)
            continue;
        if (used == 0 || out[used - 1].at_us != begin_us) {
            if (used == max)
                break;
            out[used++] = (struct series_point){ .at_us = begin_us };
        }
        point_add(&out[used - 1], s->numbers[(size_t)row * s->width + which]);
    }
    return used;
}

size_t series_bytes(const struct series *s)
{
    return s->samples * (sizeof *s->at_us + s->width * sizeof *s->numbers);
}
