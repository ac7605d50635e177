/* lifecycle: the commands `server stop` and `server restart`. They send LIFECYCLE_SIGNAL to the
 * main thread, which stops the server in the regular way. */
#pragma once
#include "core/feature.h"
#include <signal.h>

extern const struct feature lifecycle_feature;

/* Writes the scheduled end of the server: "restart at TIME", "stop at TIME", or "no". Any thread.
 */
enum { LIFECYCLE_TEXT_MAX = 48 };
void lifecycle_scheduled(char out[LIFECYCLE_TEXT_MAX]);

/* Not SIGTERM: one from outside at the same time must not be lost in it. */
enum { LIFECYCLE_SIGNAL = SIGUSR1 };

/* The end that a command asked for and that is due; it is set before the signal is sent. Any
 * thread. */
enum lifecycle_end { LIFECYCLE_GOES_ON, LIFECYCLE_STOPS, LIFECYCLE_RESTARTS };
enum lifecycle_end lifecycle_end(void);
