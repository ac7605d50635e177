/* lifecycle: the commands `server stop` and `server restart`. They send SIGTERM to the main thread,
 * which stops the server in the regular way. */
#pragma once
#include "im/feature.h"

extern const struct feature lifecycle_feature;

/* Writes the scheduled end of the server: "restart at TIME", "stop at TIME", or "no". Any thread.
 */
enum { LIFECYCLE_TEXT_MAX = 48 };
void lifecycle_scheduled(char out[LIFECYCLE_TEXT_MAX]);

/* Whether the server ends because of `server restart`. Any thread. */
bool lifecycle_restarts(void);
