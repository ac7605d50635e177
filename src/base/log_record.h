/* log_record: lines of the log that are records, such as commands: whatever else is logged, they
 * are neither held back (base/log_sample.h) nor dropped. For what nobody does often. */
#pragma once
#include "base/log.h"

void log_record_fields(struct log_area *area, enum log_level level, const struct log_field *fields);
#define log_record(area, lvl, ...)                                                                 \
    (atomic_load_explicit(&(area)->level, memory_order_relaxed) >= (int)(lvl)                      \
         ? log_record_fields((area), (lvl), (const struct log_field[]){ __VA_ARGS__, { 0 } })      \
         : (void)0)
