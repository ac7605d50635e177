/* lifecycle: the commands that end the server, or start it again: they ask main's thread by
 * SIGTERM, which ends the process in order. */
#pragma once
#include "im/feature.h"

extern const struct feature lifecycle_feature;

/* Whether the end that is under way was asked for by `server restart`. Any thread. */
bool lifecycle_restarts(void);
