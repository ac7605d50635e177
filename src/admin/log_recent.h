/* log_recent: the newest lines of the log, for `log list` and for the events of the API: at most
 * LOG_RECENT_MAX lines and LOG_RECENT_BYTES. Each is a JSON object with the members of a row of
 * `log list`. Any thread. */
#pragma once

enum { LOG_RECENT_MAX = 4000, LOG_RECENT_BYTES = 1 << 20, LOG_RECENT_VALUE_MAX = 512 };

struct event_ring;
struct feature;

extern struct event_ring log_recent;
extern const struct feature log_recent_feature;
