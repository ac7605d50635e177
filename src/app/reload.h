/* reload: the command `server reload`, which waits until main's thread has read the node file
 * again, and its alarms: the reload was refused, or changed keys need a restart. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct feature;

extern const struct feature reload_feature;

/* The main thread calls it after it has read the files: answers the commands that wait and sets the
 * alarms. With OK, `text` names the keys that need a restart, or is empty. Otherwise it has the
 * mistakes. */
void reload_ended(enum err e, slice text);
/* The server ends: answers the commands that wait for a reload. */
void reload_given_up(void);
