/* probe: commands that prove from outside that the server works: imtest and fedtest. What they
 * share with pushtest is in ops/outside.h. */
#pragma once
#include "base/slice.h"

struct command;
struct feature;

extern struct command imtest_command, fedtest_command;
extern const struct feature probe_feature;

/* Whether an error to a ping of a domain, by its condition, says that nothing has arrived there, or
 * may say so. With any other that domain has answered. */
bool probe_is_lost(slice condition);
