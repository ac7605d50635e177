/* node_found: a value of the node file as messages show it: bounded, printable, in quotes. Of what
 * may have a password, such as the URL of a database, even a mistaken one, only the first word is
 * shown. Pure. */
#pragma once
#include "base/slice.h"

struct arena;

enum { NODE_FOUND_MAX = 64 };
const char *node_found(struct arena *arena, slice text);
