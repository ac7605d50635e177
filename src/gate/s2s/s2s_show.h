/* s2s_show: the command `s2s show`: all that is known of one domain, as names and values. */
#pragma once
#include "base/slice.h"

struct arena;
struct s2s_shown;

/* The connection of a line, as operators read it; of one that has a connection. */
slice s2s_link_name(const struct s2s_shown *s, struct arena *arena);

extern struct command s2s_show_command;
