#include "base/log_sample.h"
#include "base/hash.h"
#include "base/metric.h"
#include "base/setting.h"
#include <pthread.h>
#include <string.h>

struct setting log_repeats = {
    .name = "log.repeats",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 200,
    .max = 1000,
    .unit = "lines",
    .doc = "Lines of one event and level that the log takes in a second. Of more each hundredth is "
           "written, and a line `event=log.repeated` says within 5 seconds, or when the server "
           "stops, how many were not. Errors, the log of commands, alarms and traces are always "
           "whole. 0: all are written, up to 1,000 a second of one area. Commands have no such "
           "bound.",
};
struct metric log_lines_held = {
    .name = "muster_log_lines_held",
    .kind = METRIC_COUNTER,
    .help = "Lines of the log that were not written because their event was repeated "
            "(log.repeats).",
};

enum { SAMPLE_TRIES = 8 }; /* places that an event may have, one behind the other */

/* A place is free when its event has no line that was held back and is none of this second. */
struct sample {
    struct log_held of;
    uint64_t second; /* that `lines` counts */
    uint32_t lines;
};
static struct {
    pthread_mutex_t lock;
    struct sample places[LOG_SAMPLES];
} samples = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool sample_is_of(const struct sample *s, const struct log_held *event)
{
    return s->of.area == event->area && s->of.level == event->level &&
           strcmp(s->of.event, event->event) == 0;
}

/* The place of the event, perhaps a new one. NULL: all that it may have are taken. */
static struct sample *sample_place(const struct log_held *event, uint64_t second)
{
    uint64_t hash = hash_keyed(slice_of(event->area->name)) ^
                    (hash_keyed(slice_of(event->event)) + (uint64_t)event->level) * 31;
    struct sample *unused = NULL;
    for (unsigned i = 0; i < SAMPLE_TRIES; i++) {
        struct sample *s = &samples.places[(hash + i) % LOG_SAMPLES];
        if (s->of.area != NULL && sample_is_of(s, event))
            return s;
        if (unused == NULL && (s->of.area == NULL || (s->of.lines == 0 && s->second != second)))
            unused = s;
    }
    if (unused != NULL)
        *unused = (struct sample){ .of = *event };
    return unused;
}

static bool sample_is_written(struct sample *s, uint64_t second, int64_t most)
{
    if (s->second != second) {
        s->second = second;
        s->lines = 0;
    }
    uint32_t line = s->lines++;
    if (line < most || (line - most) % LOG_SAMPLE_EACH == LOG_SAMPLE_EACH - 1)
        return true;
    s->of.lines++;
    return false;
}

bool log_sample(struct log_area *area, enum log_level level, const char *event, uint64_t second)
{
    int64_t most = setting_int(&log_repeats);
    if (most == 0 || level == LOG_ERROR || area->whole || event == NULL ||
        atomic_load_explicit(&area->traced, memory_order_relaxed))
        return true;
    const struct log_held of = { .area = area, .level = level, .event = event };
    pthread_mutex_lock(&samples.lock);
    struct sample *s = sample_place(&of, second);
    bool written = s == NULL || sample_is_written(s, second, most);
    pthread_mutex_unlock(&samples.lock);
    if (!written)
        metric_add(&log_lines_held, 1);
    return written;
}

bool log_sample_held(struct log_held *out)
{
    pthread_mutex_lock(&samples.lock);
    unsigned i = 0;
    while (i < LOG_SAMPLES && samples.places[i].of.lines == 0)
        i++;
    if (i < LOG_SAMPLES) {
        *out = samples.places[i].of;
        samples.places[i].of.lines = 0;
    }
    pthread_mutex_unlock(&samples.lock);
    return i < LOG_SAMPLES;
}
