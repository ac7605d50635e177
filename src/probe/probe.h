/* probe: commands that prove from outside that the server works: imtest and fedtest. What they
 * share with pushtest is in ops/outside.h. */
#pragma once

struct command;
struct feature;

extern struct command imtest_command, fedtest_command;
extern const struct feature probe_feature;
