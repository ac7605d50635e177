/* log_listen: who else gets the lines of the log, beside standard error, and who writes them in its
 * place: one function each, called on the thread that logs, perhaps with locks held. It logs
 * nothing itself and waits for nothing. */
#pragma once
#include "base/log.h"

typedef void log_listen_fn(const struct log_area *area, enum log_level level, uint64_t wall_us,
                           const struct log_field *fields);

void log_listen(log_listen_fn *fn); /* at start, before threads; NULL: nobody */
const char *log_level_name(enum log_level level);

/* line: as standard error would have it, without its end. false: it could not be written, and
 * standard error has it. */
typedef bool log_write_fn(const struct log_area *area, enum log_level level, uint64_t wall_us,
                          const struct log_field *fields, slice line);
void log_write_by(log_write_fn *fn); /* at start, before threads; NULL: nobody */
