/* log_recent: the newest lines of the log, for `log list` and for the events of the API: at most
 * LOG_RECENT_MAX lines and LOG_RECENT_BYTES. Each is a JSON object with the members of a row of
 * `log list`, but `node`. Lines with the text of messages have a place of their own, and longer
 * values: who asks for them states a reason (`trace texts`). Any thread. */
#pragma once
#include "base/command.h"
#include "base/log.h"

enum {
    LOG_RECENT_MAX = 4000,
    LOG_RECENT_BYTES = 1 << 20,
    LOG_RECENT_VALUE_MAX = 512,
    LOG_RECENT_TEXT_MAX = 4096,
    LOG_RECENT_LIST = 100
};

struct event_ring;
struct feature;

/* Which lines: ptr NULL: any. */
struct log_wanted {
    enum log_level level; /* and more important ones */
    slice area, event, word;
    slice plain, quoted; /* what their text begins with: one of the two */
};
/* Adds the newest lines to the call, at most its argument `limit`, as rows. */
void log_recent_rows(struct command_call *call, struct event_ring *ring,
                     const struct log_wanted *wanted);
extern const struct command_column log_recent_columns[];
/* COMMAND_EACH: parts, and what makes the answer from those of all nodes. A line of a process with
 * two nodes comes twice and is shown once. */
extern const struct command_column log_recent_parts[];
void log_recent_gathered(struct command_call *call);

extern struct event_ring log_recent, log_recent_texts;
extern const struct feature log_recent_feature;
