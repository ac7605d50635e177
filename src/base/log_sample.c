#include "base/log_sample.h"
#include "base/hash.h"
#include "base/metric.h"
#include "base/setting.h"

struct setting log_repeats = {
    .name = "log.repeats",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 200,
    .max = 1000,
    .unit = "lines",
    .doc = "Lines of one event of the log that are written in a second. Of more each hundredth is "
           "written, and a line `event=log.repeated` says how many were not. Errors, the log of "
           "commands, alarms and traces are always whole. 0: all are written, up to 1,000 a second "
           "of one area.",
};
struct metric log_lines_held = {
    .name = "muster_log_lines_held",
    .kind = METRIC_COUNTER,
    .help = "Lines of the log that were not written because their event was repeated "
            "(log.repeats).",
};

static struct sample {
    _Atomic uint64_t second;
    _Atomic uint32_t lines, held; /* of that second */
} samples[LOG_SAMPLES];

bool log_sample(const struct log_area *area, enum log_level level, const char *event,
                uint64_t second, uint32_t *held)
{
    int64_t most = setting_int(&log_repeats);
    *held = 0;
    if (most == 0 || level == LOG_ERROR || area->whole || event == NULL ||
        atomic_load_explicit(&area->traced, memory_order_relaxed))
        return true;
    uint64_t hash = hash_keyed(slice_of(area->name)) ^ hash_keyed(slice_of(event)) * 31;
    struct sample *s = &samples[hash % LOG_SAMPLES];
    uint64_t counted = atomic_load(&s->second);
    if (second != counted && atomic_compare_exchange_strong(&s->second, &counted, second)) {
        atomic_store(&s->lines, 0);
        *held = atomic_exchange(&s->held, 0);
    }
    uint32_t line = atomic_fetch_add(&s->lines, 1);
    if (line < most || (line - most) % LOG_SAMPLE_EACH == LOG_SAMPLE_EACH - 1)
        return true;
    atomic_fetch_add(&s->held, 1);
    metric_add(&log_lines_held, 1);
    return false;
}
