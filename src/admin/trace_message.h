/* trace_message: the command `trace message`: the way of one message, or of those between two
 * addresses, from the steps that each worker has noted (home/trail.h). At most TRACE_ROWS_MAX
 * steps, the newest. */
#pragma once

struct feature;

enum { TRACE_ROWS_MAX = 500 };

extern const struct feature trace_feature;
