/* lifecycle: the commands `server stop` and `server restart`. They send SIGTERM to the main thread,
 * which stops the server in the regular way. */
#pragma once
#include "im/feature.h"

extern const struct feature lifecycle_feature;

/* Whether the server ends because of `server restart`. Any thread. */
bool lifecycle_restarts(void);
