/* access_pattern: checks patterns of permissions against the commands there are, so that a mistyped
 * one is refused: `!complience.*` would take nothing away. Patterns that are stored already are
 * left as they are. Any worker. */
#pragma once
#include "base/slice.h"

struct command_call;

/* Each pattern of this argument of the call must match a permission, and all together must give
 * one. false: the call has failed, and names the argument and the nearest pattern. */
bool access_patterns_known(struct command_call *call, const char *argument);
